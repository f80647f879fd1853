"""Checks zal-export's ONNX files from outside: ONNX's own checker, shape inference, and ONNX Runtime against
independent NumPy versions.

    python3 -m venv v && v/bin/pip install onnx onnxruntime numpy
    cargo build -p zal-export
    v/bin/python export/dev/check_onnx.py target/debug/zal-export [EXISTING_BACKBONE.onnx STRIDE8 STRIDE16]

Every line ends in ok; the first difference stops the script. Needs no network once the packages are there.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper


def export(binary, *arguments):
    """Runs zal-export and returns its JSON."""
    done = subprocess.run([binary, *map(str, arguments), "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def checked(path):
    """The model, after ONNX's checker and strict shape inference agreed with it."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(strip_types(model), strict_mode=True, data_prop=True)
    theirs = {v.name: v for v in [*inferred.graph.value_info, *inferred.graph.output]}
    compared = 0
    for ours in [*model.graph.value_info, *model.graph.output]:
        if ours.name in theirs and theirs[ours.name].type.tensor_type.HasField("shape"):
            compare_types(ours, theirs[ours.name])
            compared += 1
    assert compared > len(model.graph.node) // 2, (compared, len(model.graph.node))
    return model


def strip_types(model):
    """A copy without the types that zal-export inferred."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    return bare


def compare_types(ours, theirs):
    a, b = ours.type.tensor_type, theirs.type.tensor_type
    assert a.elem_type == b.elem_type, ours.name
    assert len(a.shape.dim) == len(b.shape.dim), (ours.name, a.shape, b.shape)
    for x, y in zip(a.shape.dim, b.shape.dim):
        if x.HasField("dim_value") and y.HasField("dim_value"):
            assert x.dim_value == y.dim_value, (ours.name, a.shape, b.shape)


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def constants(model):
    """Initialisers by name, 16-bit ones widened under the name that the graph reads."""
    return {
        t.name.removesuffix(".f16"): numpy_helper.to_array(t).astype(np.float64)
        if t.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
        else numpy_helper.to_array(t)
        for t in model.graph.initializer
    }


def agree(name, found, expected, tolerance):
    scale = np.abs(expected).max()
    error = np.abs(found - expected).max() / scale
    assert found.shape == expected.shape, (name, found.shape, expected.shape)
    assert error < tolerance, f"{name}: off by {error:.2e} of max"
    print(f"{name}: {error:.1e} of max, within {tolerance:.0e}: ok")


def linear(c, name, x):
    return x @ c[f"{name}.weight"] + c[f"{name}.bias"]


def relu(x):
    return np.maximum(x, 0)


def pointnet(c, g1, g2, i2):
    x = g1.astype(np.float64)
    for i in range(3):
        x = relu(linear(c, f"sa1.{i}", x))
    rows = x.max(axis=2).reshape(-1, 64)
    x = np.concatenate([g2.astype(np.float64), rows[i2]], axis=3)
    for i in range(3):
        x = relu(linear(c, f"sa2.{i}", x))
    x = relu(linear(c, "global", x.max(axis=2))).max(axis=1)
    return linear(c, "head.1", relu(linear(c, "head.0", x)))


def classify(c, x):
    for i in range(4):
        x = relu(linear(c, f"points.{i}", x))
    return linear(c, "head.1", relu(linear(c, "head.0", x.max(axis=1))))[:, 0]


def numeric_gradient(c, x, step=1e-6):
    """Gradient of BCE(C(x), 0) by central differences: knows nothing of the written-out backward pass."""
    gradient = np.zeros_like(x)
    for point in range(x.shape[1]):
        for axis in range(3):
            up, down = x.copy(), x.copy()
            up[:, point, axis] += step
            down[:, point, axis] -= step
            losses = [np.logaddexp(0, classify(c, moved)) for moved in (up, down)]
            gradient[:, point, axis] = (losses[0] - losses[1]) / (2 * step)
    return gradient


def check_points(binary, folder, storage):
    for epsilon in (0.0, 0.01, -0.02):
        export(binary, "point-graphs", "--seed", 5, "--out", folder, "--epsilon", epsilon, "--weights", storage)
        model = checked(folder / "normalcy.onnx")
        c = constants(model)
        points = np.random.default_rng(1).normal(size=(6, 64, 3)).astype(np.float32)
        points[3, 32:] = points[3, :32]  # repeated points: ties
        moved = points.astype(np.float64)
        gradient = numeric_gradient(c, moved)
        moved = moved + epsilon * np.where(np.abs(gradient) < 1e-9, 0, np.sign(gradient))
        found = session(folder / "normalcy.onnx").run(None, {"points": points})[0]
        agree(f"normalcy {storage} eps {epsilon}", found, classify(c, moved), 1e-4)
    model = checked(folder / "pointnet.onnx")
    rng = np.random.default_rng(2)
    g1, g2 = (rng.normal(size=(5, n, 16, 3)).astype(np.float32) for n in (32, 8))
    i2 = rng.integers(0, 32, size=(5, 8, 16)) + 32 * np.arange(5)[:, None, None]
    found = session(folder / "pointnet.onnx").run(None, {"g1": g1, "g2": g2, "i2": i2})[0]
    agree(f"pointnet {storage}", found, pointnet(constants(model), g1, g2, i2), 1e-4)


def check_backbone(name, path, channels):
    checked(path)
    image = np.random.default_rng(3).normal(size=(2, 3, 224, 224)).astype(np.float32)
    outputs = session(path).run(["stride8", "stride16"], {"image": image})
    assert [o.shape for o in outputs] == [(2, channels[0], 28, 28), (2, channels[1], 14, 14)], name
    assert all(np.isfinite(o).all() for o in outputs), name
    print(f"{name}: {path.stat().st_size} bytes, outputs as in the contract: ok")
    return image, outputs


def check_import(binary, folder, source, stride8, stride16):
    out = folder / "imported.onnx"
    arguments = ["--from-onnx", source, "--stride8", stride8, "--stride16", stride16, "--out", out]
    export(binary, "backbone", *arguments)
    declared = onnx.load(out).graph.output
    channels = [o.type.tensor_type.shape.dim[1].dim_value for o in declared]
    image, found = check_backbone("imported", out, channels)
    original = session(source)
    expected = original.run([stride8, stride16], {original.get_inputs()[0].name: image})
    for tensor, a, b in zip(("stride8", "stride16"), found, expected):
        agree(f"imported {tensor}", a, b, 1e-6)
    export(binary, "backbone", *arguments, "--weights", "f16")
    _, half = check_backbone("imported f16", out, channels)
    for tensor, a, b in zip(("stride8", "stride16"), half, expected):
        agree(f"imported f16 {tensor}", a, b, 1e-2)


def relative_l2(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def check_int8(binary, folder, data, source):
    """The kernels are the float ones within half a step, ONNX Runtime recognises the pattern (integer
    convolutions), and its integers give what the graph says as written, computed with floats."""
    float_path, path = folder / "float.onnx", folder / "int8.onnx"
    export(binary, "backbone", *source, "--out", float_path)
    report = export(binary, "backbone", *source, "--out", path, "--int8", "--calibrate", data)["int8"]
    assert report["quantized_count"] == report["matrix_count"] - 1, report  # all but the first convolution
    model = checked(path)
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kernels = [name for name in tensors if name.endswith(".kernel.i8")]
    assert len(kernels) == report["quantized_count"]
    for name in kernels:
        scale = tensors[name.replace(".i8", ".scale")]
        assert np.abs(tensors[name]).max() <= 64 and (scale > 0).all(), name
        original = constants(onnx.load(float_path)).get(name.replace(".kernel.i8", ".weight"))
        if original is not None:  # the names of a network written here
            step = scale.reshape(-1, 1, 1, 1)
            assert (np.abs(tensors[name] * step - original) <= step * 0.5001).all(), name
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    quantised = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ops = [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]
    integer = sum(op in ("QLinearConv", "ConvInteger") for op in ops)
    assert integer > 0.8 * len(kernels), f"{integer} integer convolutions of {len(kernels)}"
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    written = onnxruntime.InferenceSession(str(path), plain, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(3).normal(size=(1, 3, 224, 224)).astype(np.float32)
    found, expected = (s.run(["stride8", "stride16"], {"image": image}) for s in (quantised, written))
    apart = [float(relative_l2(a, b)) for a, b in zip(found, expected)]
    # A value between two codes may fall to either side, and each that does moves others across: after 42 layers
    # two sums in different order differ by half of what quantising itself changed.
    assert max(apart) < 0.05, apart
    sizes = [p.stat().st_size for p in (float_path, path)]
    print(f"int8 {source[1]}: {integer} of {len(kernels)} convolutions in integers, {sizes[1]} of {sizes[0]} bytes,",
          f"integers against floats: relative L2 {max(apart):.1e}: ok")


def main():
    binary = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for storage in ("f32", "f16"):
            check_points(binary, folder, storage)
            for arch, channels in (
                ("resnet18", (128, 256)),
                ("resnet50", (512, 1024)),
                ("wide_resnet50_2", (512, 1024)),
            ):
                out = folder / f"{arch}.onnx"
                export(binary, "backbone", "--arch", arch, "--seed", 1, "--out", out, "--weights", storage)
                check_backbone(f"{arch} {storage}", out, channels)
        data = folder / "data"
        made = [binary, "synth", "--out", data, "--families", "ring,tuber,gland", "--train", "3", "--test", "0"]
        subprocess.run(list(map(str, made)), check=True, capture_output=True)
        check_int8(binary, folder, data, ["--arch", "resnet18", "--seed", 1])
        if len(sys.argv) > 2:
            check_import(binary, folder, *sys.argv[2:5])
            imported = ["--from-onnx", sys.argv[2], "--stride8", sys.argv[3], "--stride16", sys.argv[4]]
            check_int8(binary, folder, data, imported)


if __name__ == "__main__":
    main()
