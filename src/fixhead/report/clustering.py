"""An order of classes in which like ones stand together: average linkage, read from left to right.

Nearest-neighbour chains find the tree in O(K²) steps (Murtagh 1983): from any cluster go to its
nearest one, on and on, until two are each other's nearest; those are merged.
"""

from __future__ import annotations

from collections.abc import Sequence

Matrix = Sequence[Sequence[float]]


def cluster_order(likeness: Matrix) -> list[int]:
    """The leaves of the average-linkage tree of a symmetric ``likeness`` (K, K).

    Where two clusters join, the one that holds the lowest class stands first.
    """
    size = len(likeness)
    far = [[-float(value) for value in row] for row in likeness]
    leaves = {place: [place] for place in range(size)}
    chain: list[int] = []
    while len(leaves) > 1:
        if not chain:
            chain.append(min(leaves))
        own = chain[-1]
        before = chain[-2] if len(chain) > 1 else None
        near = _nearest(far[own], leaves, own, before)
        if near != before:
            chain.append(near)
            continue
        del chain[-2:]
        _merge(far, leaves, own, near)
    return next(iter(leaves.values()), [])


def _nearest(
    row: Sequence[float], leaves: dict[int, list[int]], own: int, first: int | None
) -> int:
    """The nearest other cluster; of equals the one before in the chain, so that it ends."""
    best, least = first, row[first] if first is not None else float("inf")
    for other in leaves:
        if other != own and row[other] < least:
            best, least = other, row[other]
    assert best is not None
    return best


def _merge(far: list[list[float]], leaves: dict[int, list[int]], one: int, two: int) -> None:
    low, high = sorted((one, two), key=lambda place: min(leaves[place]))
    a, b = len(leaves[low]), len(leaves[high])
    for other in leaves:
        mean = (a * far[low][other] + b * far[high][other]) / (a + b)
        far[low][other] = far[other][low] = mean
    leaves[low] += leaves.pop(high)


def mean_likeness(matrices: Sequence[Matrix]) -> list[list[float]]:
    """The mean of symmetric matrices, entry by entry."""
    size, number = len(matrices[0]), len(matrices)
    return [[sum(M[i][j] for M in matrices) / number for j in range(size)] for i in range(size)]


def confusion_likeness(counts: Matrix) -> list[list[float]]:
    """(C + Cᵀ) over the images of both classes: how often two classes are taken for one another."""
    images = [max(sum(row), 1) for row in counts]
    size = len(counts)
    return [
        [(counts[i][j] + counts[j][i]) / (images[i] + images[j]) for j in range(size)]
        for i in range(size)
    ]
