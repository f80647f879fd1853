"""Checks the closing JSON object of `zal demo --json`: FILE SCANS ENGINE."""

import json
import sys

path, scans, engine = sys.argv[1], int(sys.argv[2]), sys.argv[3]
closing = json.loads(open(path).read().strip().splitlines()[-1])
expected = {"scans": scans, "results": scans, "received": scans, "lost": 0, "engine": engine}
wrong = {key: closing.get(key) for key, value in expected.items() if closing.get(key) != value}
print(json.dumps(closing, indent=1))
if wrong:
    sys.exit(f"the demo reports {wrong}, expected {expected}")
