"""AUPRO of a folder's maps by adeval: python aupro_adeval.py FOLDER ROUNDS -> one JSON line a round

FOLDER holds maps.npy and gt.npy. The arrays are in memory before the clock starts; adeval computes AUPRO (limit 0.3)
and pixel AUROC together, from histograms of the scores: an approximation.
"""
import json
import resource
import sys
import time

import numpy as np

if not hasattr(np, "trapz"):
    np.trapz = np.trapezoid  # adeval 1.1.0 asks for the old name
from adeval import EvalAccumulator

folder, rounds = sys.argv[1], int(sys.argv[2])
maps, masks = np.load(f"{folder}/maps.npy"), np.load(f"{folder}/gt.npy")
for _ in range(rounds):
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    accumulator = EvalAccumulator(float(maps.min()), float(maps.max()))
    for scores, mask in zip(maps, masks):
        accumulator.add_anomap(scores, mask)
        accumulator.add_image(float(scores.max()), int(mask.any()))
    values = accumulator.summary()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "values": {k: float(v) for k, v in values.items()},
                      "maxrss_mb": after.ru_maxrss // 1024}), flush=True)
