"""Checks zal-export's residual networks against torchvision's own, weight for weight.

    cargo build -p zal-export
    python3 export/dev/check_torchvision.py target/debug/zal-export

Needs torch, torchvision and numpy for this interpreter, and a second one with onnxruntime when the first has
none: ONNX_PYTHON=v/bin/python. (Debian's python3-torch and python3-torchvision are enough.) The networks get
random weights and random batch-normalisation statistics, so nothing is downloaded; they are saved as .pth,
nested .pth and .safetensors, exported, and run side by side.
"""

import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torchvision

RUN = """
import sys, numpy, onnxruntime
folder = sys.argv[1]
session = onnxruntime.InferenceSession(folder + "/rgb.onnx", providers=["CPUExecutionProvider"])
outputs = session.run(["stride8", "stride16"], {"image": numpy.load(folder + "/image.npy")})
for name, output in zip(("stride8", "stride16"), outputs):
    numpy.save(folder + "/" + name + ".npy", output)
"""


def random_network(arch):
    """torchvision's network with statistics that a wrong fold would show."""
    torch.manual_seed(1)
    network = getattr(torchvision.models, arch)(weights=None).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.2, 0.6)
            module.bias.data.normal_(0, 0.3)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 3)
    return network


def features(network, image):
    """layer2 and layer3 in double precision."""
    n = network.double()
    with torch.no_grad():
        x = n.maxpool(n.relu(n.bn1(n.conv1(torch.from_numpy(image).double()))))
        stride8 = n.layer2(n.layer1(x))
        stride16 = n.layer3(stride8)
    network.float()
    return stride8.numpy(), stride16.numpy()


def save_safetensors(path, state):
    """The format needs no package: a length, a JSON header, the bytes."""
    header, chunks, offset = {}, [], 0
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        data = tensor.contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def check(binary, folder, arch, network, weights_file):
    out = folder / "rgb.onnx"
    command = [binary, "backbone", "--arch", arch, "--weights-file", weights_file, "--out", out]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    image = np.random.default_rng(2).normal(size=(1, 3, 224, 224)).astype(np.float32)
    np.save(folder / "image.npy", image)
    subprocess.run([os.environ.get("ONNX_PYTHON", sys.executable), "-c", RUN, folder], check=True, env=plain_env())
    for name, expected in zip(("stride8", "stride16"), features(network, image)):
        found = np.load(folder / f"{name}.npy")
        assert found.shape == expected.shape, (name, found.shape, expected.shape)
        error = np.abs(found - expected).max() / np.abs(expected).max()
        assert error < 1e-4, f"{arch} {weights_file.name} {name}: off by {error:.2e} of max"
        print(f"{arch} {weights_file.name} {name}: {error:.1e} of max, within 1e-4: ok", flush=True)


def plain_env():
    """The environment without what points this interpreter to its torch."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH")}


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    for arch in sys.argv[2:] or ("resnet18", "resnet50", "wide_resnet50_2"):
        network = random_network(arch)
        state = network.state_dict()
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            torch.save(state, folder / "plain.pth")
            torch.save({"epoch": 3, "state_dict": {"module.encoder." + k: v for k, v in state.items()}}, folder / "nested.pth")
            save_safetensors(folder / "backbone.safetensors", {"backbone." + k: v for k, v in state.items()})
            for file in sorted(folder.iterdir()):
                check(binary, folder, arch, network, file)


if __name__ == "__main__":
    main()
