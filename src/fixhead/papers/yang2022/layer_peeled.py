"""``layer-peeled``, the theory's own model: features that are free to move, and an ETF that is not.

    min  Σ_k π_k (1/m) Σ_i ℓ(h_{k,i}),   ‖h_{k,i}‖² ≤ E_H,   π_k = n_k / N

With a frozen ETF W the optimum is h_{k,i} = √E_H w_k, whatever the counts n_k. With learned rows
(‖W‖²/K ≤ E_W) the rows of rare classes run together once one side has enough more images ("minority
collapse", Fang et al. 2021). m free features stand for the n_k images of a class, which at the
optimum are one point.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..._seeds import stream
from ...logits import unit
from ...losses.regression import dot_regression
from ...runs.records import Record
from ...vectors.polytopes import simplex
from ..item import (
    Claim,
    Content,
    Item,
    LoadContext,
    Printed,
    TableEntry,
    computed,
    computed_cells,
    only,
)
from ..recipe import PaperRequest
from .recipe import NAME

CLASSES, FEATURES, EACH = 10, 16, 5
LENGTH = 5.0
"""√E_H; E_W = 1. Logits then lie within ±5."""
STEPS = 2_000
RECORDED_AS = "fixhead.papers.yang2022.peeled.peeled"
HEADS = ("learned rows, cross-entropy", "frozen ETF, cross-entropy", "frozen ETF, dot regression")


def peeled(load: LoadContext, seed: int, *, head: str, ratio: int, steps: int = STEPS) -> Record:
    """Projected gradient descent; the first half of the classes has ``ratio`` times the images.

    cosine: of features to their own row, mean and smallest; gap: loss less its minimum (frozen
    rows); nc1: tr Σ_W / tr Σ_B; angles: largest |cos(m_i, m_j) + 1/(K−1)| of class means;
    rare: mean cosine between the rows of the rarer half.
    """
    draws = stream(seed, "layer-peeled")
    learned = head == HEADS[0]
    W = unit(torch.randn(CLASSES, FEATURES, generator=draws, dtype=torch.float64))
    if not learned:
        W = simplex(CLASSES, FEATURES, generator=draws, dtype=torch.float64)
    H = torch.randn(CLASSES * EACH, FEATURES, generator=draws, dtype=torch.float64)
    H, labels = _ball(H, LENGTH), torch.arange(CLASSES).repeat_interleave(EACH)
    counts = torch.ones(CLASSES, dtype=torch.float64)
    counts[: CLASSES // 2] = ratio
    weights = (counts / counts.sum() / EACH)[labels]
    regress = head == HEADS[2]
    for step in range(steps):
        rate = 0.5 * (1 + math.cos(math.pi * step / steps))
        H, W = H.requires_grad_(), W.requires_grad_(learned)
        losses = _losses(H, W, labels, regress)
        # An image's own gradient has the factor 1/N for every class: its step is the loss's.
        (pull,) = torch.autograd.grad(losses.sum(), H, retain_graph=learned)
        if learned:
            (turn,) = torch.autograd.grad((weights * losses).sum(), W)
            W = _frobenius((W - rate * CLASSES * turn).detach())
        H = _ball((H - rate * pull).detach(), LENGTH)
    with torch.no_grad():
        loss = float((weights * _losses(H, W, labels, regress)).sum())
    return {"loss": loss, "gap": None if learned else loss - _least(regress)} | _shape(H, W, labels)


def _losses(H: Tensor, W: Tensor, labels: Tensor, regress: bool) -> Tensor:
    if regress:
        return dot_regression(
            H, W, labels, form="paper", lengths="none", E_H=LENGTH**2, reduction="none"
        )
    return cross_entropy(H @ W.T, labels, reduction="none")


def _least(regress: bool) -> float:
    """The loss at h = √E_H w_y: log(1 + (K−1) exp(−√E_H K/(K−1))), or 0."""
    if regress:
        return 0.0
    K = CLASSES
    return math.log1p((K - 1) * math.exp(-LENGTH * K / (K - 1)))


def _ball(H: Tensor, radius: float) -> Tensor:
    shrunk: Tensor = H * (radius / torch.linalg.vector_norm(H, dim=1, keepdim=True)).clamp(max=1)
    return shrunk


def _frobenius(W: Tensor) -> Tensor:
    """‖W‖² ≤ K E_W: the rows' mean square is bounded, as in Fang et al."""
    shrunk: Tensor = W * (math.sqrt(len(W)) / torch.linalg.vector_norm(W)).clamp(max=1)
    return shrunk


def _shape(H: Tensor, W: Tensor, labels: Tensor) -> Record:
    to_own_row = (unit(H) * unit(W)[labels]).sum(dim=1)
    groups = H.view(CLASSES, EACH, FEATURES)
    means = groups.mean(dim=1)
    within = (groups - means.unsqueeze(1)).square().sum() / len(H)
    between = (means - means.mean(dim=0)).square().sum() / CLASSES
    rows, directions = unit(W), unit(means - means.mean(dim=0))
    off = ~torch.eye(CLASSES, dtype=torch.bool)
    half = CLASSES // 2
    rare = (rows @ rows.T)[half:, half:][off[half:, half:]]
    return {
        "cosine": float(to_own_row.mean()),
        "smallest_cosine": float(to_own_row.min()),
        "nc1": float(within / between),
        "angles": float(((directions @ directions.T)[off] + 1 / (CLASSES - 1)).abs().max()),
        "rare": float(rare.mean()),
    }


# --- the item -------------------------------------------------------------------------------------

RATIOS = (1, 10, 100, 1_000)
TOLERANCE = 0.001
SAME_AS = (
    "the computation of 1 : 1 again: with frozen rows an image's own problem does not know of the "
    "other images, so that counts cannot matter"
)
UNDER_WAY = "dot regression is still under way when the steps end: its pull fades with 1 − cos θ"
LEARNED, FROZEN, REGRESSED = HEADS
OPTIMUM = Printed(1.0, note="the abstract: collapse, even when imbalanced")


def layer_peeled(request: PaperRequest) -> Content:
    """Free features, frozen ETF or learned rows, more and more unequal classes.

    fixhead paper yang2022 layer-peeled --scale small
    One CPU core: a minute or two; no data. Both scales are the same.
    """
    columns = {
        "cosine of features to their row": ("cosine", TOLERANCE),
        "smallest such cosine": ("smallest_cosine", TOLERANCE),
        "NC1, tr Σ_W / tr Σ_B": ("nc1", 0.0),
        "largest deviation of class means from −1/(K−1)": ("angles", 0.0),
        "mean cosine between the rarer half's rows": ("rare", 0.0),
    }
    entries: dict[tuple[str, int, str], TableEntry] = {}
    for ratio in RATIOS:
        for words, (key, tolerance) in columns.items():
            for head in HEADS:
                runs = only(
                    computed_cells(
                        request, peeled, RECORDED_AS,
                        head=head, ratio=ratio, steps=_steps(request),
                    )
                )  # fmt: skip
                stated = key in ("cosine", "smallest_cosine") and head != LEARNED
                entries[head, ratio, key] = TableEntry(
                    f"images {ratio} : 1; {words}", head, runs, computed(key),
                    OPTIMUM if stated else None, "number", tolerance=tolerance,
                    tolerance_reason="2.6°, set before the first run",
                    same_as=SAME_AS if stated and ratio > 1 else "",
                    remark=UNDER_WAY if stated and head == REGRESSED else "",
                    where=f"images {ratio} : 1", metric=words,
                )  # fmt: skip
    claims = [
        Claim(
            f"images {ratio} : 1: learned rows of rare classes lie closer together than an ETF's",
            entries[LEARNED, ratio, "rare"],
            entries[FROZEN, ratio, "rare"],
        )
        for ratio in RATIOS[1:]
    ]
    claims += [
        Claim(
            f"images {ratio} : 1: features come nearer to frozen rows than to learned ones",
            entries[FROZEN, ratio, "cosine"],
            entries[LEARNED, ratio, "cosine"],
        )
        for ratio in RATIOS[1:]
    ]
    claims.append(
        Claim(
            "after the same steps, cross-entropy's features lie nearer to the ETF than dot "
            "regression's (our claim: near the end dot regression's pull fades with 1 − cos θ)",
            entries[FROZEN, 1, "cosine"],
            entries[REGRESSED, 1, "cosine"],
        )
    )
    note = (
        f"Ten classes, d = 16, {EACH} free features a class, ‖h‖ ≤ {LENGTH:g}, {_steps(request):,} "
        "steps of projected gradient descent in float64. A cosine's tolerance is 0.001, as it was "
        "set before the first run; after it, it had been widened to 0.005, which is taken back."
    )
    return Content(list(entries.values()), claims, notes=(note,))


def _steps(request: PaperRequest) -> int:
    return STEPS if request.epochs is None else min(STEPS, 20 * request.epochs)


ITEMS = (Item(NAME, "layer-peeled", "Free features before a frozen ETF", layer_peeled),)
