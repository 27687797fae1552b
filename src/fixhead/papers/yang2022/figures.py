"""The paper's accuracies in per cent: learned with cross-entropy, then ETF with dot regression.

Only its abstract is at hand. The ResNets' figures are recalled, unverified; DenseNet's are those
that issue 5 of the released code quotes from the paper.
"""

from __future__ import annotations

from ..printed import Printed, percent, recalled

Pair = tuple[float, float]

RESNET: dict[str, dict[float, Pair]] = {
    "cifar10": {0.005: (67.3, 71.9), 0.01: (72.8, 76.5), 0.02: (78.6, 81.0)},
    "cifar100": {0.005: (38.7, 40.9), 0.01: (43.0, 45.3), 0.02: (48.1, 50.5)},
    "svhn-extra": {0.005: (40.5, 42.8), 0.01: (40.9, 45.7), 0.02: (49.3, 49.8)},
    "stl10": {0.005: (33.1, 33.5), 0.01: (37.9, 37.2), 0.02: (38.8, 37.9)},
}
DENSENET: dict[float, Pair] = {0.01: (43.08, 44.0), 0.02: (49.07, 49.8)}
OUTSIDE: dict[float, tuple[str, str]] = {
    0.01: ("44.66 ± 0.24", "43.02 ± 0.56"),
    0.02: ("50.57 ± 0.46", "48.45 ± 0.10"),
}
"""Issue 5's own three seeds with DenseNet on CIFAR-100, where the baseline is really learned."""

IMAGENET: Pair = (44.3, 44.7)
ABSTRACT_ONLY = Printed(None, "missing", "not at hand: we have the abstract only")
BESIDE = {"cifar10-jpeg": "cifar10"}
"""Whose figure stands beside a data set that the paper does not have."""


def printed(data: str, net: str, factor: float, arm: int) -> Printed | None:
    """``arm`` 0: learned (or what the paper calls so); 1: ETF with dot regression."""
    if data == "imagenet":
        return recalled(IMAGENET[arm])
    if net.startswith("densenet"):
        if data != "cifar100" or factor not in DENSENET:
            return ABSTRACT_ONLY
        outside = f"quoted in an issue, which itself got {OUTSIDE[factor][arm]}"
        return percent(DENSENET[factor][arm], outside)
    known = RESNET.get(BESIDE.get(data, data), {}).get(factor)
    if known is None:
        return None
    return recalled(known[arm], "CIFAR-10, ResNet-32" if data in BESIDE else "")
