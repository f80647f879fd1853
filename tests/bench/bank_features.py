"""Descriptors of real kind for the bank benchmark: bank_features.py SCANS BACKBONE OUT

SCANS is a set in the MVTec 3D-AD layout, BACKBONE an ONNX graph with the outputs stage2 and
stage3. Writes rows.f32 (training patches) and queries.f32 (patches of one held-out test scan a
class, good and defective), each `[n, 1569]` little-endian f32, and shape.json. A row is 1536
ResNet columns (average pooled 3x3, on the 28x28 grid), then 33 FPFH columns, each block divided
by its mean norm over the training patches. Only patches on the object count, as in the product.
"""

import glob
import json
import sys

import numpy as np
import onnxruntime
import open3d
import tifffile
from PIL import Image

SIZE, GRID = 224, 28
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def object_mask(xyz):
    """Measured points more than 2 mm before the plane of the image border."""
    valid = (xyz != 0).all(2)
    border = np.zeros_like(valid)
    border[:16], border[-16:], border[:, :16], border[:, -16:] = True, True, True, True
    p = xyz[border & valid]
    plane = np.linalg.lstsq(np.c_[p[:, :2], np.ones(len(p))], p[:, 2], rcond=None)[0]
    return valid & (xyz[..., 0] * plane[0] + xyz[..., 1] * plane[1] + plane[2] - xyz[..., 2] > 0.002)


def windows(mask, rng, count):
    """Square windows around the object, at least 224 wide, jittered."""
    y, x = np.nonzero(mask)
    side = max(SIZE, int(1.1 * max(np.ptp(y), np.ptp(x))))
    for turn in range(count):
        shift = rng.integers(-24, 25, 2)
        top = int(np.clip((y.min() + y.max() - side) // 2 + shift[0], 0, max(0, mask.shape[0] - side)))
        left = int(np.clip((x.min() + x.max() - side) // 2 + shift[1], 0, max(0, mask.shape[1] - side)))
        yield slice(top, top + side), slice(left, left + side), turn


def rgb_features(session, rgb):
    image = np.asarray(Image.fromarray(rgb).resize((SIZE, SIZE), Image.BICUBIC)) / 255.0
    tensor = ((image - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
    maps = session.run(["stage2", "stage3"], {session.get_inputs()[0].name: tensor})
    grids = []
    for m in maps:
        matrix = pool_and_resize(m.shape[2])
        grids.append(np.einsum("yi,xj,cij->yxc", matrix, matrix, m[0], optimize=True))
    return np.concatenate(grids, 2).reshape(GRID * GRID, -1)


def pool_and_resize(size):
    """Average pooling by 3, then bilinear interpolation to the grid, along one axis."""
    pool = sum(np.eye(size, k=k) for k in (-1, 0, 1)) / 3
    centre = np.clip((np.arange(GRID) + 0.5) * size / GRID - 0.5, 0, size - 1)
    low = np.minimum(centre.astype(int), size - 2)
    resize = np.zeros((GRID, size))
    resize[np.arange(GRID), low] = 1 - (centre - low)
    resize[np.arange(GRID), low + 1] += centre - low
    return resize @ pool


def fpfh_features(xyz, mask):
    pick = np.arange(SIZE) * xyz.shape[0] // SIZE
    xyz, mask = xyz[pick][:, pick].astype(np.float64), mask[pick][:, pick]
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(xyz[mask]))
    cloud.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(30))
    cloud.orient_normals_towards_camera_location(np.zeros(3))
    knn = open3d.geometry.KDTreeSearchParamKNN(100)
    fpfh = open3d.pipelines.registration.compute_fpfh_feature(cloud, knn)
    sums, counts = np.zeros((GRID * GRID, 33)), np.zeros(GRID * GRID)
    y, x = np.nonzero(mask)
    patch = (y // 8) * GRID + x // 8
    np.add.at(sums, patch, np.asarray(fpfh.data).T)
    np.add.at(counts, patch, 1)
    return sums / np.maximum(counts, 1)[:, None], counts >= 16


def patches(session, path, rng, count):
    xyz = tifffile.imread(path)
    rgb = np.asarray(Image.open(path.replace("/xyz/", "/rgb/").replace(".tiff", ".png")).convert("RGB"))
    mask = object_mask(xyz)
    for rows, columns, turn in windows(mask, rng, count):
        views = [np.ascontiguousarray(np.rot90(a[rows, columns], turn)) for a in (rgb, xyz, mask)]
        fpfh, valid = fpfh_features(views[1], views[2])
        yield np.concatenate([rgb_features(session, views[0]), fpfh], 1)[valid].astype(np.float32)


def main():
    scans, backbone, out = sys.argv[1:4]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(backbone, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    train = sorted(glob.glob(f"{scans}/*/train/good/xyz/*.tiff"))
    tests = sorted(glob.glob(f"{scans}/*/test/*/xyz/000.tiff"))
    rows = np.concatenate([p for path in train for p in patches(session, path, rng, 4)])
    queries = np.concatenate([p for path in tests for p in patches(session, path, rng, 1)])
    print("train patches", rows.shape, "test patches", queries.shape, flush=True)
    for columns in (slice(0, 1536), slice(1536, 1569)):
        norm = np.linalg.norm(rows[:, columns], axis=1).mean()
        rows[:, columns] /= norm
        queries[:, columns] /= norm
    rows = rng.permutation(rows)
    queries = rng.permutation(queries)[:784]
    rows.tofile(f"{out}/rows.f32")
    queries.tofile(f"{out}/queries.f32")
    json.dump({"rows": len(rows), "queries": len(queries), "dims": rows.shape[1]}, open(f"{out}/shape.json", "w"))


main()
