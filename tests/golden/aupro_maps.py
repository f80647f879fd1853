"""Makes the score maps of tests/metrics.rs: python aupro_maps.py FOLDER

Needs numpy and scipy, and ZAL_SHARED for the generator and the hashes of its result. The masks are
stored as floats, which is what the reader takes.
"""
import hashlib
import json
import os
import sys

import numpy as np

shared = os.environ["ZAL_SHARED"]
sys.path.insert(0, os.path.join(shared, "peers", "bench"))
from gen_maps import maps  # noqa: E402

scores, masks = maps(224)
with open(os.path.join(shared, "vectors", "aupro", "maps_224.json")) as file:
    expected = json.load(file)
for name, array in [("maps_sha256", scores), ("gt_sha256", masks)]:
    found = hashlib.sha256(array.tobytes()).hexdigest()
    if found != expected[name]:
        print(f"warning: {name} is {found}, expected {expected[name]}: another SciPy rounds differently")
os.makedirs(sys.argv[1], exist_ok=True)
np.save(os.path.join(sys.argv[1], "maps_224.npy"), scores)
np.save(os.path.join(sys.argv[1], "gt_224.npy"), masks.astype(np.float32))
