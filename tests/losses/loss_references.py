"""The formulae again, in plain float64 loops that share no code with fixhead."""

import math

import torch

CLASSES, SIZE, ROWS = 5, 7, 12
COUNTS = torch.tensor([200, 90, 31, 12, 4])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch(seed=0, rows=ROWS, classes=CLASSES):
    """Logits (N, K), and labels (N,) in which every class and no order appears."""
    labels = (torch.arange(rows) * 3 + seed) % classes
    return 3 * draw(rows, classes, seed=seed), labels


def directions(seed=0, rows=ROWS, classes=CLASSES, size=SIZE):
    """Features (N, d) of various lengths, and unit vectors (K, d)."""
    vectors = draw(classes, size, seed=seed + 1)
    return 2 * draw(rows, size, seed=seed), vectors / vectors.norm(dim=1, keepdim=True)


def mixed(seed=0, rows=ROWS, classes=CLASSES):
    """Probabilities (N, K)."""
    targets = draw(rows, classes, seed=seed + 7).exp()
    return targets / targets.sum(dim=1, keepdim=True)


def log_softmax(row):
    top = max(row)
    total = top + math.log(math.fsum(math.exp(value - top) for value in row))
    return [value - total for value in row]


def entropies(logits, targets, weight=None):
    """−Σ_k a_k t_k log p_k per row, targets (N, K)."""
    weight = [1.0] * logits.shape[1] if weight is None else weight.tolist()
    rows = zip(logits.tolist(), targets.tolist(), strict=True)
    return torch.tensor(
        [
            -math.fsum(a * t * s for a, t, s in zip(weight, target, log_softmax(row), strict=True))
            for row, target in rows
        ],
        dtype=torch.float64,
    )


def one_hot(labels, classes=CLASSES):
    return torch.tensor([[float(k == y) for k in range(classes)] for y in labels.tolist()]).double()


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def target_lengths(labels, classes):
    """√((B / #classes in the batch) / count_k), 1 for classes that are not there."""
    counts = [labels.tolist().count(k) for k in range(classes)]
    share = len(labels) / sum(n > 0 for n in counts)
    return [math.sqrt(share / n) if n else 1.0 for n in counts]


def published_dot_regression(features, vectors, labels, lengths, regularisation=0.0):
    """½ mean( (h·m − |m||h|)² / |h| ) + λ mean |h|, as the released code spells it."""
    total = 0.0
    for h, y in zip(features.tolist(), labels.tolist(), strict=True):
        m = [lengths[y] * value for value in vectors[y].tolist()]
        size, length = math.sqrt(dot(m, m)), max(math.sqrt(dot(h, h)), 1e-8)
        total += 0.5 * (dot(h, m) - size * length) ** 2 / length
        total += regularisation * math.sqrt(dot(h, h))
    return total / len(labels)
