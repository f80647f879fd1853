"""One training step of the same networks, losses and shapes in PyTorch: prints JSON with the step's time.

512 patches of 64 points: PointNet++ (set abstraction over 32 x 16 and 8 x 16, group-all) with contrastive and
disentanglement loss, PointNet classifier with cross-entropy, Adam. Sampling and grouping are included on both sides
only as far as zal's step includes them: the grouped tensors are made from the points in every step (farthest points,
ball query), written here with batched tensor operations.
"""

import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


def mlp(*sizes):
    return nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))


def run(layers, x):
    for layer in layers:
        x = F.relu(layer(x))
    return x


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.sa1, self.sa2 = mlp(3, 32, 32, 64), mlp(67, 64, 64, 128)
        self.group, self.head = mlp(128, 256), mlp(256, 128, 33)

    def forward(self, g1, g2, i2):
        local = run(self.sa1, g1).amax(2)
        picked = local.flatten(0, 1)[i2.flatten()].view(*i2.shape, -1)
        middle = run(self.sa2, torch.cat([g2, picked], -1)).amax(2)
        pooled = run(self.group, middle).amax(1)
        return self.head[1](F.relu(self.head[0](pooled)))


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.points, self.head = mlp(3, 64, 64, 128, 256), mlp(256, 128, 1)

    def forward(self, x):
        return self.head[1](F.relu(self.head[0](run(self.points, x).amax(1))))[:, 0]


def group(points):
    """Farthest-point sampling and ball query, as zal::features::pointnet::group."""
    count = points.shape[0]
    rows = torch.arange(count)
    index = (points - points.mean(1, keepdim=True)).square().sum(2).argmin(1)
    nearest = torch.full(points.shape[:2], float("inf"))
    centres = []
    for _ in range(32):
        centres.append(index)
        nearest = torch.minimum(nearest, (points - points[rows, index][:, None]).square().sum(2))
        index = nearest.argmax(1)
    first = points[rows[:, None], torch.stack(centres, 1)]

    def ball(centre, candidates, radius):
        distances = (centre[:, :, None] - candidates[:, None]).square().sum(3)
        order = distances.argsort(dim=2, stable=True)[:, :, :16]
        inside = distances.gather(2, order) <= radius * radius
        order = torch.where(inside, order, order[:, :, :1])
        picked = candidates[rows[:, None, None], order]
        return picked - centre[:, :, None], order

    g1, _ = ball(first, points, 2.5 / 4)
    g2, order = ball(first[:, :8], first, 1.0)
    return g1, g2, order + 32 * rows[:, None, None]


def losses(embedding, fpfh, normal):
    g = F.normalize(embedding, dim=1)
    n, s = g[:normal], g[normal:]
    negatives = (n @ s.T / 0.1).logsumexp(1, keepdim=True)
    pairs = F.softplus(negatives - n @ n.T / 0.1)
    contrastive = (pairs.sum() - pairs.diagonal().sum()) / (normal * (normal - 1))
    apart = F.cosine_similarity(embedding[:normal], fpfh, dim=1).square().mean()
    return contrastive + 0.1 * apart


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    normal = 256
    torch.manual_seed(1)
    points, fpfh = torch.rand(2 * normal, 64, 3) * 2 - 1, torch.rand(normal, 33)
    labels = torch.cat([torch.zeros(normal), torch.ones(normal)])
    pointnet, classifier = PointNet(), Classifier()
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-3) for m in (pointnet, classifier)]
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        loss = losses(pointnet(*group(points)), fpfh, normal)
        loss = loss + F.binary_cross_entropy_with_logits(classifier(points), labels)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        times.append((time.perf_counter() - start) * 1e3)
    times = sorted(times[1:])
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "min_ms": round(times[0], 1),
                      "median_ms": round(times[len(times) // 2], 1)}))


main()
