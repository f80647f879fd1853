"""Makes export/tests/golden/tiny.pth with the real torch.save, for the checkpoint reader's test.

    python3 export/dev/make_tiny_pth.py export/tests/golden/tiny.pth

Made with torch 1.13.0. Element i of a tensor of n elements is i / 4 - 1, except where said.
"""

import sys

import torch


def ramp(*shape):
    count = torch.Size(shape).numel()
    return (torch.arange(count, dtype=torch.float64) / 4 - 1).reshape(shape)


torch.save(
    {
        "epoch": 7,
        "state_dict": {
            "module.model.layer1.0.conv1.weight": ramp(2, 3, 1, 1).float(),
            "module.model.double": ramp(5),
            "module.model.half": ramp(4).half(),
            "module.model.bfloat": ramp(4).bfloat16(),
            "module.model.turned": ramp(3, 2).float().t(),  # strided: stored column by column
            "module.model.steps": torch.tensor([3]),
            "module.model.broken": torch.tensor([0.5, float("nan")]),
        },
    },
    sys.argv[1],
)
