"""de la Calle et al. 2019, "Geometric interpretation of a CNN's last layer": Figures 2 to 4.

MNIST thinned to a geometric long tail (p = 1/2), features of two dimensions, learned class vectors
that start at random or guided by the class counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ..runs.records import Record
from .item import (
    Claim,
    ComputedCell,
    Content,
    Item,
    LoadContext,
    Paper,
    PaperFigure,
    Printed,
    Read,
    TableEntry,
    TrainingCell,
    only,
    percent,
    training_cells,
)
from .recipe import PaperRecipe, PaperRequest, Reduction, stated, what_differs

NAME = "delacalle2019"
ARMS = {
    # For K = 10 and d = 2 nn.Linear's own bound, 1/√2, is Xavier's: √(6 / (2 + 10)).
    "random": "vectors=linear,logits=dot,scale=1,bias=no,learn=yes",
    "guided": "guided",
    "guided, valley order": "vectors=guided:valley,logits=dot,scale=1,bias=no,learn=yes",
    # The same circle, spacing and lengths; only the order is no order.
    "circle, random order": "vectors=guided:shuffled,logits=dot,scale=1,bias=no,learn=yes",
}
SEEDS = 10
"""The paper has three runs of an arm; three cannot tell a range from another."""
GONE = "classes without an area"
SPREAD = "largest minus smallest of three runs"
TOLERANCES = {
    "percent": "our choice: the paper prints whole per cents",
    "number": "half a class; the paper shows one drawing",
}
UNKNOWN = (
    "The paper does not say how many epochs it trained in all, which digit has which rank in the "
    "tail (here digit c has rank c), at which angles and lengths guided vectors start (here the "
    "unit circle, largest class at angle 0), or how large the images were that ResNet-101 got.",
    "Guided order: sorted round the ring, which puts the largest class beside the smallest; the "
    "valley order (1, 3, 5, …, 6, 4, 2) has no such seam. The paper's text does not say which.",
)

FULL = stated(
    paper={
        "data": "mnist",
        "imbalance": "geometric:0.5",
        "backbone": "timm:resnet101",
        "features": 2,
        "initial": "xavier",
        "choose": "last",
        "batch_size": 512,
        "optimizer": "adam",
        "lr": 5e-4,
        "weight_decay": 5e-3,
        "schedule": "step",
        "milestones": (15, 80),
        "gamma": 0.2,
    },
    ours={"neck": "linear", "augmentation": "none", "epochs": 100, "warmup_epochs": 0.0},
    fixed_milestones=True,
)
"""Section 3 of the paper, with ResNet-101 in ImageNet's layout as in its reference.

fixhead paper delacalle2019 variability --scale full --data-dir DIR
One H200: a minute a run beside eight others. One CPU core: about an hour and a half a run;
--epochs shortens it.
"""
SMALL = Reduction(100, {"backbone": "small-cnn"}, ("a smaller net: small-cnn, not ResNet-101",))
"""The same with the small network.

fixhead paper delacalle2019 variability --scale small --data-dir DIR
One CPU core: two to three minutes a run, forty runs.
"""


def recipe(request: PaperRequest) -> PaperRecipe:
    chosen = FULL if request.scale == "full" else SMALL.of(FULL)
    return chosen.as_asked(request)


def cells(request: PaperRequest, arm: str) -> tuple[TrainingCell, ...]:
    return training_cells(request, recipe(request), ARMS[arm], ("embedding",), SEEDS)


# --- reading records ------------------------------------------------------------------------------


def last_accuracy(row: Record) -> float:
    """On the test images, of the last epoch."""
    return float(row["last_epoch_accuracy"])


def train_accuracy(row: Record) -> float:
    """Of the last epoch, while it was trained."""
    return float(row["history"][-1]["train_accuracy"])


def without_area(row: Record) -> float:
    """Classes that no direction of a feature is given to."""
    return float(len(row["geometry"]["areas"]["vanished"]))


def turned_deg(row: Record) -> float:
    """Mean angle between a class vector after the first and after the last epoch, in degrees."""
    first, last = (
        torch.tensor(row["history"][at]["collapse"]["vectors"], dtype=torch.float64)
        for at in (0, -1)
    )
    cosines = torch.nn.functional.cosine_similarity(first, last, dim=1).clamp(-1, 1)
    return float(cosines.arccos().mean()) * 180 / math.pi


def class_counts(load: LoadContext, seed: int) -> Record:
    """Training and test images per class, before and after thinning."""
    thinned = load(FULL.comparison("guided", 0)).dataset
    whole = load(FULL.changed(imbalance=None).comparison("guided", 0)).dataset
    K = len(whole.classes)
    return {
        "classes": list(whole.classes),
        "balanced": whole.train.counts(K).tolist(),
        "thinned": thinned.train.counts(K).tolist(),
        "test": whole.test.counts(K).tolist(),
    }


# --- drawings -------------------------------------------------------------------------------------


def draw_planes(records: Mapping[str, Record]) -> dict[str, Any] | None:
    panels = [
        {
            "title": f"seed {row['seed']}: {100 * row['last_epoch_accuracy']:.1f} % test accuracy, "
            f"{len(row['geometry']['areas']['vanished'])} classes without an area",
            **row["measures"]["embedding"],
            "sectors": row["geometry"]["areas"]["sectors"],
        }
        for row in records.values()
        if "embedding" in row["measures"]
    ]
    return {"panels": panels, "classes": _classes(records)} if panels else None


def draw_paths(records: Mapping[str, Record]) -> dict[str, Any] | None:
    panels = []
    for row in records.values():
        steps = [epoch["collapse"]["vectors"] for epoch in _thinned(row["history"])]
        paths = [
            [[round(step[c][axis], 3) for step in steps] for axis in (0, 1)]
            for c in range(len(steps[0]))
        ]
        title = f"seed {row['seed']}: turned by {turned_deg(row):.0f}° on average"
        panels.append({"title": title, "paths": paths})
    return {"panels": panels, "classes": _classes(records)} if panels else None


def _thinned(history: list[Record]) -> list[Record]:
    """About 25 epochs, the first and the last among them: more than a drawing can show."""
    step = max(1, len(history) // 25)
    return [*history[:-1:step], history[-1]]


def draw_strip(records: Mapping[str, Record]) -> dict[str, Any] | None:
    arm_of = {head: arm for arm, head in ARMS.items()}
    series: dict[str, list[float]] = {}
    for row in records.values():
        series.setdefault(arm_of[row["head"]], []).append(last_accuracy(row))
    shown = [{"name": name, "values": values} for name, values in series.items()]
    return {"series": shown, "x": "test accuracy", "unit": "percent"} if shown else None


def _classes(records: Mapping[str, Record]) -> list[str]:
    return next((row["classes"] for row in records.values()), [])


# --- items ----------------------------------------------------------------------------------------


def figure2(request: PaperRequest) -> Content:
    """Instances per class. Seconds; no training."""
    cell = ComputedCell(
        class_counts, recorded_as="fixhead.papers.delacalle2019.readings.class_counts"
    )

    def draw(records: Mapping[str, Record]) -> dict[str, Any] | None:
        row = records.get(cell.name)
        if row is None:
            return None
        counts = row["found"]
        return {
            "names": counts["classes"],
            "series": [
                {"name": "balanced", "values": counts["balanced"]},
                {"name": "thinned, p = 1/2", "values": counts["thinned"]},
            ],
            "y": "training images",
        }

    entries = [
        TableEntry(
            f"class {c}",
            "thinned",
            only((cell,)),
            _count_of(c),
            unit="number",
            metric="training images",
        )
        for c in range(10)
    ]
    figure = PaperFigure(
        "bars",
        "Figure 2: training images per class",
        "Counted here after thinning by y · p (1 − p)^c, c = 1 … 10, rounded; the test set stays.",
        "The paper prints the same two bar charts, without numbers.",
        (cell,),
        draw,
    )
    return Content(entries, figures=[figure], notes=UNKNOWN[:1])


def _count_of(label: int) -> Read:
    return lambda row: float(row["found"]["thinned"][label])


def figure3(request: PaperRequest) -> Content:
    """Embedding and areas at the end, random and guided starts."""
    printed = {
        "random": Printed(4.0, note="one drawing: classes 1, 5, 7 and 9 have no area"),
        "guided": Printed(0.0, note="one drawing: every class has an area"),
    }
    entries = [
        _entry(request, arm, GONE, without_area, printed.get(arm), "number", 0.5) for arm in ARMS
    ]
    by_arm = dict(zip(ARMS, entries, strict=True))
    claims = [
        Claim(
            "Random starts leave more classes without an area than guided starts",
            by_arm["random"],
            by_arm["guided"],
        )
    ]
    drawings = [
        PaperFigure(
            "plane",
            f"Figure 3, {arm} starts: embedding and areas",
            "Measured here: 30 test images of each class after the last epoch, the class vectors, "
            "and the ring of directions that go to each class; the first three seeds.",
            printed[arm].note if arm in printed else "The paper does not mention this order.",
            cells(request, arm)[:3],
            draw_planes,
        )
        for arm in ARMS
    ]
    return Content(entries, claims, drawings, UNKNOWN)


def figure4(request: PaperRequest) -> Content:
    """The class vectors' paths over the epochs."""
    little = Printed(None, note="“withstand little variation”; no figure")
    entries = [
        _entry(request, arm, "degrees turned, epoch 1 to last", turned_deg, little, "number", 0.0)
        for arm in ARMS
    ]
    drawings = [
        PaperFigure(
            "paths",
            f"Figure 4, {arm} starts: class vectors over the epochs",
            "Measured here: a line from each class vector after the first epoch to where it is "
            "after the last; the first three seeds.",
            "The paper draws one training and says that directions “withstand little variation”.",
            cells(request, arm)[:3],
            draw_paths,
        )
        for arm in ARMS
    ]
    return Content(entries, (), drawings, UNKNOWN)


def variability(request: PaperRequest) -> Content:
    """Accuracy from run to run: section 3.1's numbers."""
    test = {arm: _entry(request, arm, "test accuracy", last_accuracy, None) for arm in ARMS}
    spread = {
        "random": Printed(0.17, note="three runs, 33 to 50 %", ends=(0.33, 0.50)),
        "guided": percent(4.0),
    }
    train = {"random": Printed(0.31, note="three runs, 64 to 95 %", ends=(0.64, 0.95))}
    entries = list(test.values())
    entries += [
        replace(
            _entry(request, arm, f"test accuracy, {SPREAD}", last_accuracy,
                   spread.get(arm)),
            over="range",
        )
        for arm in ARMS
    ]  # fmt: skip
    entries += [
        replace(
            _entry(request, arm, f"training accuracy, {SPREAD}", train_accuracy,
                   train.get(arm)),
            over="range",
        )
        for arm in ARMS
    ]  # fmt: skip
    gone = {arm: _entry(request, arm, GONE, without_area, None, "number", 0.5) for arm in ARMS}
    claims = [
        Claim("Guided starts reach a higher test accuracy", test["guided"], test["random"], 0.18),
        Claim("So do guided starts in valley order", test["guided, valley order"], test["random"]),
        Claim(
            "Is it the order? Guided starts above a random order on the same circle",
            test["guided"],
            test["circle, random order"],
        ),
        Claim(
            "Or spacing and length? A random order on the circle above random starts",
            test["circle, random order"],
            test["random"],
        ),
        Claim(
            "Random starts leave more classes without an area than guided starts",
            gone["random"],
            gone["guided"],
        ),
    ]
    drawing = PaperFigure(
        "strip",
        "Test accuracy of every run",
        "Measured here: a dot for every run, a line at the mean.",
        "The paper: 33 to 50 % for three random starts; guided ones 4 points apart and 18 points "
        "higher on average (its abstract says 12 % less variability).",
        tuple(cell for arm in ARMS for cell in cells(request, arm)),
        draw_strip,
    )
    return Content(
        [*entries, *gone.values()],
        claims,
        [drawing],
        UNKNOWN,
    )


def _entry(
    request: PaperRequest,
    arm: str,
    column: str,
    read: Read,
    printed: Printed | None,
    unit: Any = "percent",
    tolerance: float = 0.02,
) -> TableEntry:
    return TableEntry(
        arm,
        column,
        only(cells(request, arm)),
        read,
        printed,
        unit,
        tolerance=tolerance,
        tolerance_reason=TOLERANCES[unit],
        differs=what_differs(request, "mnist", {"small": SMALL}),
        where="MNIST",
        arm=arm,
        metric=column,
    )


PAPER = Paper(
    NAME,
    "de la Calle et al. 2019",
    (
        Item(NAME, "figure2", "Training images per class, balanced and thinned", figure2),
        Item(NAME, "figure3", "Embedding and decision areas, random and guided starts", figure3),
        Item(NAME, "figure4", "Class vectors during training", figure4),
        Item(
            NAME, "variability", "Accuracy from run to run, random and guided starts", variability
        ),
    ),
)
