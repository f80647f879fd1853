"""faiss.IndexFlatL2 on the bank benchmark's descriptors: bank_faiss.py FOLDER, milliseconds as JSON."""

import json
import sys
import time

import faiss
import numpy as np

faiss.omp_set_num_threads(1)
folder = sys.argv[1]
dims = json.load(open(f"{folder}/shape.json"))["dims"]
rows = np.fromfile(f"{folder}/rows.f32", "<f4").reshape(-1, dims)
queries = np.fromfile(f"{folder}/queries.f32", "<f4").reshape(-1, dims)
result = {}
for name, count, columns in (
    ("all", 20000, slice(0, dims)),
    ("all_2k", 2000, slice(0, dims)),
    ("rgb", 20000, slice(0, 1536)),
    ("fpfh", 20000, slice(1536, dims)),
):
    part = np.ascontiguousarray(queries[:, columns])
    index = faiss.IndexFlatL2(part.shape[1])
    index.add(np.ascontiguousarray(rows[:count, columns]))
    for k in (1, 3):
        times = []
        for _ in range(8):
            start = time.perf_counter()
            index.search(part, k)
            times.append(1e3 * (time.perf_counter() - start))
        result[f"{name}_k{k}"] = min(times)
print(json.dumps(result))
