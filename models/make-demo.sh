#!/usr/bin/env bash
# Makes models/demo.zalb from nothing: procedural scans, a seeded backbone, trained point networks, banks, signature.
# The same commands give the same manifest and payload on the same machine; minisign's signature is randomised.
set -euo pipefail
cd "$(dirname "$0")/.."
export_bin=${ZAL_EXPORT:-target/release/zal-export}
work=${1:-target/demo-bundle}
families=ring,gland,cone,disc,rod,block,ball,rope,tyre
rm -rf "$work" && mkdir -p "$work"
"$export_bin" synth --out "$work/data" --families $families --train 12 --test 0 --seed 1
"$export_bin" backbone --arch resnet18 --seed 7 --weights f16 --out "$work/rgb.onnx"
"$export_bin" train --data "$work/data" --class $families --params models/demo-training.toml --out "$work"
for mode in line paper; do
  rows=3000; [ $mode = line ] || rows=1000
  "$export_bin" bank --data "$work/data" --mode $mode --rgb "$work/rgb.onnx" --pointnet "$work/pointnet.onnx" \
    --normalcy "$work/normalcy.onnx" --rows-max $rows --f16 --out "$work/$mode.bank"
done
"$export_bin" pack --name demo --version 0.2.0 --rgb "$work/rgb.onnx" --pointnet "$work/pointnet.onnx" \
  --normalcy "$work/normalcy.onnx" --bank "$work/line.bank" --bank "$work/paper.bank" \
  --training "$work/training.json" --golden "$work/data/ring/train/good/xyz/011.tiff" --out models/demo.zalb
sha256sum models/demo.zalb
