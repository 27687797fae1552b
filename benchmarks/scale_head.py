"""A head's step over very many classes by every path: time, memory, and against plain.

The reference ``plain`` is F.linear + F.cross_entropy with the same frozen matrix stored.
``fixhead bench head`` times single cells in the same way.

Run: python benchmarks/scale_head.py        (about 20 minutes on 2 cores, 12 GB)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor
from torch.nn import functional as F

import measure
from fixhead import scale
from fixhead.scale.contest import Sizes, contest

RIVALS = ("plain", "linear_cross_entropy", "partial-fc", "adaptive-softmax")
CELLS: list[tuple[Sizes, tuple[str, ...]]] = [
    (Sizes(100, 512, 256), ("plain",)),
    (Sizes(1_000, 512, 256), ("plain",)),
    (Sizes(10_000, 512, 256), RIVALS),
    (Sizes(100_000, 512, 256), RIVALS),
    (Sizes(100_000, 1024, 256), ("plain",)),
    (Sizes(1_000_000, 512, 256), ("plain", "partial-fc", "adaptive-softmax")),
    (Sizes(10_000_000, 512, 64), ()),
]


def step_rows(rounds: int, quick: bool) -> list[dict[str, object]]:
    """The training step, in ``contest``'s own records."""
    rows = []
    for sizes, against in CELLS[:3] if quick else CELLS:
        for timing in contest(sizes, against, rounds=rounds):
            rows.append({"what": "step", **asdict(timing)})
            _say(rows[-1])
    return rows


def other_rows(rounds: int, quick: bool) -> list[dict[str, object]]:
    """The largest logit of every row, and the squared error, against their plain forms."""
    rows = []
    for classes in (10_000,) if quick else (100_000, 1_000_000):
        vectors = scale.implicit(classes, 512)
        W = vectors.dense()
        for count in (1, 256):
            x = torch.randn(count, 512, generator=torch.Generator().manual_seed(0))
            y = torch.arange(count)
            pairs = {"top-1": _top(vectors, W, x)}
            if count > 1:
                pairs["squared error"] = _squared(vectors, W, x, y)
            for what, contestants in pairs.items():
                samples = measure.interleaved(contestants, rounds=rounds)
                for path, times in samples.items():
                    row = {"what": what, "path": path, "classes": classes, "features": 512}
                    row |= {"rows": count, **measure.summary(times)}
                    ratios = measure.summary(samples["plain"], times)
                    rows.append(row | {"ratio_to_plain": ratios["ratio_median"]})
                    _say(rows[-1])
    return rows


def _top(vectors: scale.ClassVectors, W: Tensor, x: Tensor) -> dict[str, Callable[[], object]]:
    return {
        "plain": lambda: F.linear(x, W).max(dim=1),
        "code": lambda: scale.topk(x, vectors, 1),
        "stored": lambda: scale.topk(x, W, 1),
    }


def _squared(
    vectors: scale.ClassVectors, W: Tensor, x: Tensor, y: Tensor
) -> dict[str, Callable[[], object]]:
    leaf = x.clone().requires_grad_()
    lines = torch.arange(len(x))

    def plain() -> None:
        z = F.linear(leaf, W)
        (z.square().sum() - 2 * z[lines, y].sum()).div(len(x)).add(1).backward()

    return {
        "plain": plain,
        "code": lambda: scale.squared_error(leaf, vectors, y).backward(),
    }


def _say(row: dict[str, object]) -> None:
    print(
        f"{row['what']:14} K={row['classes']:>10,} d={row['features']} N={row['rows']:<4} "
        f"{row['path']:22} {row['median_ms']:12.3f} ms  x plain {row['ratio_to_plain']}  "
        f"peak {row.get('peak_bytes')}",
        flush=True,
    )


def main() -> None:
    options = measure.arguments(__doc__, rounds=7)
    rows = other_rows(options.rounds, options.quick) + step_rows(options.rounds, options.quick)
    if not options.quick:
        print(measure.write("scale_head", rows, threads=torch.get_num_threads()))


if __name__ == "__main__":
    main()
