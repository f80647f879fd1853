#!/bin/bash
# Makes the device's Debian package in target/debian: daemon and tool without the demo, units, user, folders, example
# configuration, manual pages, completions. Needs cargo-deb (cargo install cargo-deb) and dpkg-dev.
#
#   systemd/deb/build.sh                  # zal
#   systemd/deb/build.sh --with-runtime   # zal-with-runtime: with ONNX Runtime, for devices without a network
set -euo pipefail
cd "$(dirname "$0")/../.."
variant=()
cargo build --release -p zal --no-default-features --features daemon
zal=target/release/zal
rm -rf target/package && mkdir -p target/package/completions
"$zal" man --out target/package/man
"$zal" completions bash >target/package/completions/zal.bash
"$zal" completions fish >target/package/completions/zal.fish
"$zal" completions zsh >target/package/completions/_zal
if [ "${1:-}" = --with-runtime ]; then
  ZAL_STATE_DIR=$PWD/target/package/state "$zal" setup-runtime
  mkdir target/package/runtime
  cp -L target/package/state/runtime/onnxruntime-*/* target/package/runtime/
  variant=(--variant with-runtime)
fi
cargo deb -p zal --no-build "${variant[@]}"
