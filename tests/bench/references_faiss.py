"""faiss.IndexFlatL2 as a reference set: references_faiss.py FOLDER, milliseconds as JSON.

FOLDER is that of bank_features.py. N scans of 430 patches are N indexes for each of three branches (512 colour
columns, twice 33 others), and one more scan asks each of them for its nearest row: what `References::look` does.
"""
import json
import sys
import time

import faiss
import numpy as np

PATCHES = 430
faiss.omp_set_num_threads(1)
folder = sys.argv[1]
dims = json.load(open(f"{folder}/shape.json"))["dims"]
rows = np.fromfile(f"{folder}/rows.f32", "<f4").reshape(-1, dims)
branches = (slice(0, 512), slice(dims - 33, dims), slice(dims - 66, dims - 33))


def scan(index, columns):
    start = index * PATCHES % (len(rows) - PATCHES)
    return np.ascontiguousarray(rows[start:start + PATCHES, columns])


result = {}
for count in (32, 128):
    indexes = []
    for columns in branches:
        of_branch = []
        for number in range(count):
            index = faiss.IndexFlatL2(scan(number, columns).shape[1])
            index.add(scan(number, columns))
            of_branch.append(index)
        indexes.append((scan(count, columns), of_branch))
    times = []
    for _ in range(8):
        start = time.perf_counter()
        for queries, of_branch in indexes:
            for index in of_branch:
                index.search(queries, 1)
        times.append(1e3 * (time.perf_counter() - start))
    result[f"look_{count}"] = min(times)
print(json.dumps(result))
