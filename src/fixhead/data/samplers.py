"""The order of an epoch: every image once, or classes drawn more evenly than they come.

A class c of n_c images is drawn with probability ``n_c^q / Σ_j n_j^q`` and then one of its images:
q = 1 is what the data have, q = 0 is class-balanced, q = 1/2 is square-root sampling. An epoch has
N draws with replacement.

Source: Kang et al. 2020, "Decoupling representation and classifier", eq. 1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .._errors import RequestError
from .dataset import Labels

POWERS = {"class-balanced": 0.0, "square-root": 0.5}
SAMPLINGS = ("each", *POWERS)


def draw_order(labels: Labels, sampling: str, generator: torch.Generator) -> Tensor:
    """The images of one epoch: (N,). ``"each"`` is a permutation of them all.

    Raises:
        RequestError: an unknown sampling.
    """
    if sampling == "each":
        return torch.randperm(len(labels), generator=generator)
    if sampling not in POWERS:
        raise RequestError(f"sampling needs one of {', '.join(SAMPLINGS)}, got {sampling!r}")
    counts = np.bincount(labels)
    present = np.flatnonzero(counts)
    weights = counts[present] ** POWERS[sampling]
    classes = _drawn(weights / weights.sum(), len(labels), generator)
    # A uniform number per draw picks one of the class's images, which lie together once sorted.
    by_class = torch.from_numpy(np.argsort(labels, kind="stable"))
    sizes = torch.from_numpy(counts[present])
    first = torch.cumsum(sizes, 0) - sizes
    within = torch.rand(len(labels), generator=generator, dtype=torch.float64) * sizes[classes]
    return by_class[first[classes] + within.long()]


def _drawn(probabilities: Labels, number: int, generator: torch.Generator) -> Tensor:
    # By the cumulative sum: torch.multinomial takes at most 2²⁴ categories, and single precision.
    ends = torch.from_numpy(np.cumsum(probabilities))
    uniform = torch.rand(number, generator=generator, dtype=torch.float64)
    return torch.searchsorted(ends, uniform).clamp_(max=len(ends) - 1)
