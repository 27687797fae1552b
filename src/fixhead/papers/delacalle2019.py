"""de la Calle et al. 2019, "Geometric interpretation of a CNN's last layer": Figures 2 to 4.

MNIST thinned to a geometric long tail (p = 1/2), features of two dimensions, learned class vectors
that start at random or guided by the class counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..backbones import NeckName
from ..experiments.config import Choose, Initial
from ..experiments.records import Record
from ..training.recipe import Optimizer, ScheduleName
from .cells import ComputedCell, LoadSetting, TrainingCell
from .item import Claim, Content, Entry, Figure, Item, Option, Request
from .printed import Printed, percent
from .recipe import PaperRecipe, ours, paper

NAME = "delacalle2019"

ARMS = {
    # For K = 10 and d = 2 nn.Linear's own bound, 1/√2, is Xavier's: √(6 / (2 + 10)).
    "random": "vectors=linear,logits=dot,scale=1,bias=no,learn=yes",
    "guided": "guided",
    "guided, valley order": "vectors=guided:valley,logits=dot,scale=1,bias=no,learn=yes",
}
GONE = "classes without an area"
UNKNOWN = (
    "The paper does not say how many epochs it trained in all, which digit has which rank in the "
    "tail (here digit c has rank c), at which angles and lengths guided vectors start (here the "
    "unit circle, largest class at angle 0), or how large the images were that ResNet-101 got.",
    "Guided order: sorted round the ring, which puts the largest class beside the smallest; the "
    "valley order (1, 3, 5, …, 6, 4, 2) has no such seam. The paper's text does not say which.",
)


@dataclass(frozen=True)
class Recipe2019(PaperRecipe):
    """Section 3 of the paper, with ResNet-101 in ImageNet's layout as in its reference."""

    data: str = paper("mnist")
    imbalance: str | None = paper("geometric:0.5")
    backbone: str = paper("timm:resnet101")
    features: int | None = paper(2)
    neck: NeckName = ours("linear")
    initial: Initial = paper("xavier")
    augmentation: str = ours("none")
    choose: Choose = paper("last")
    epochs: int = ours(100)
    batch_size: int = paper(512)
    optimizer: Optimizer = paper("adam")
    lr: float = paper(5e-4)
    weight_decay: float = paper(5e-3)
    schedule: ScheduleName = paper("step")
    milestones: tuple[int, ...] = paper((15, 80))
    gamma: float = paper(0.2)


def full() -> Recipe2019:
    """ResNet-101, as the paper.

    fixhead paper delacalle2019 variability --scale full --data-dir DIR
    One GPU: some minutes a run. One CPU core: about an hour and a half a run; --epochs shortens it.
    """
    return Recipe2019()


def small() -> Recipe2019:
    """The same with the small network.

    fixhead paper delacalle2019 variability --scale small --data-dir DIR
    One CPU core: two to three minutes a run, fifteen runs.
    """
    return replace(Recipe2019(), backbone="small-cnn")


def _recipe(request: Request) -> Recipe2019:
    chosen = full() if request.scale == "full" else small()
    return chosen if request.epochs is None else replace(chosen, epochs=request.epochs)


def _cells(request: Request, arm: str) -> tuple[TrainingCell, ...]:
    seeds = request.seeds or (3 if request.scale == "full" else 5)
    recipe = _recipe(request)
    return tuple(TrainingCell(recipe, ARMS[arm], seed, ("embedding",)) for seed in range(seeds))


def _differs(request: Request) -> tuple[str, ...]:
    found = [] if request.scale == "full" else ["a smaller net: small-cnn, not ResNet-101"]
    if request.epochs is not None:
        found.append(f"a shorter schedule: {request.epochs} epochs")
    return tuple(found)


# --- reading records ------------------------------------------------------------------------------


def test_accuracy(row: Record) -> float:
    """Of the last epoch."""
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


def class_counts(load: LoadSetting, seed: int) -> Record:
    """Training and test images per class, before and after thinning."""
    whole = replace(Recipe2019(), imbalance=None).comparison("guided", 0)
    parts = load(whole).dataset, load(Recipe2019().comparison("guided", 0)).dataset
    K = len(parts[0].classes)
    return {
        "classes": list(parts[0].classes),
        "balanced": parts[0].train.counts(K).tolist(),
        "thinned": parts[1].train.counts(K).tolist(),
        "test": parts[0].test.counts(K).tolist(),
    }


# --- items ----------------------------------------------------------------------------------------


def figure2(request: Request) -> Content:
    """Instances per class. Seconds; no training."""
    cell = ComputedCell(class_counts)

    def draw(found: Mapping[str, Record]) -> dict[str, Any] | None:
        row = found.get(cell.name)
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
        Entry(f"class {c}", "thinned", (Option("", (cell,)),), _count_of(c), unit="number")
        for c in range(10)
    ]
    figure = Figure(
        "bars",
        "Figure 2: training images per class",
        "Counted here after thinning by y · p (1 − p)^c, c = 1 … 10, rounded; the test set stays.",
        "The paper prints the same two bar charts, without numbers.",
        (cell,),
        draw,
    )
    return Content(entries, figures=[figure], recipes={"data": _recipe(request)}, notes=UNKNOWN[:1])


def _count_of(label: int) -> Any:
    return lambda row: float(row["found"]["thinned"][label])


def figure3(request: Request) -> Content:
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
        Figure(
            "plane",
            f"Figure 3, {arm} starts: embedding and areas",
            "Measured here: 30 test images of each class after the last epoch, the class vectors, "
            "and the ring of directions that go to each class; the first three seeds.",
            printed[arm].note if arm in printed else "The paper does not mention this order.",
            _cells(request, arm)[:3],
            _draw_planes,
        )
        for arm in ARMS
    ]
    return Content(entries, claims, drawings, {"all arms": _recipe(request)}, UNKNOWN)


def figure4(request: Request) -> Content:
    """The class vectors' paths over the epochs."""
    little = Printed(None, note="“withstand little variation”; no figure")
    entries = [
        _entry(request, arm, "degrees turned, epoch 1 to last", turned_deg, little, "number", 0.0)
        for arm in ARMS
    ]
    drawings = [
        Figure(
            "paths",
            f"Figure 4, {arm} starts: class vectors over the epochs",
            "Measured here: a line from each class vector after the first epoch to where it is "
            "after the last; the first three seeds.",
            "The paper draws one training and says that directions “withstand little variation”.",
            _cells(request, arm)[:3],
            _draw_paths,
        )
        for arm in ARMS
    ]
    return Content(entries, (), drawings, {"all arms": _recipe(request)}, UNKNOWN)


def variability(request: Request) -> Content:
    """Accuracy from run to run: section 3.1's numbers."""
    test = {arm: _entry(request, arm, "test accuracy", test_accuracy, None) for arm in ARMS}
    spread = {"random": percent(17.0, "three runs, 33 to 50 %"), "guided": percent(4.0)}
    train = {"random": percent(31.0, "three runs, 64 to 95 %")}
    entries = list(test.values())
    entries += [
        replace(
            _entry(request, arm, "test accuracy, largest minus smallest run", test_accuracy,
                   spread.get(arm)),
            over="range",
        )
        for arm in ARMS
    ]  # fmt: skip
    entries += [
        replace(
            _entry(request, arm, "training accuracy, largest minus smallest run", train_accuracy,
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
            "Random starts leave more classes without an area than guided starts",
            gone["random"],
            gone["guided"],
        ),
    ]
    drawing = Figure(
        "strip",
        "Test accuracy of every run",
        "Measured here: a dot for every run, a line at the mean.",
        "The paper: 33 to 50 % for three random starts; guided ones 4 points apart and 18 points "
        "higher on average (its abstract says 12 % less variability).",
        tuple(cell for arm in ARMS for cell in _cells(request, arm)),
        _draw_strip,
    )
    return Content(
        [*entries, *gone.values()],
        claims,
        [drawing],
        {"all arms": _recipe(request)},
        UNKNOWN,
    )


def _entry(
    request: Request,
    arm: str,
    column: str,
    read: Any,
    printed: Printed | None,
    unit: Any = "percent",
    tolerance: float = 0.02,
) -> Entry:
    return Entry(
        arm,
        column,
        (Option("", _cells(request, arm)),),
        read,
        printed,
        unit,
        tolerance=tolerance,
        differs=_differs(request),
    )


# --- drawings -------------------------------------------------------------------------------------


def _draw_planes(found: Mapping[str, Record]) -> dict[str, Any] | None:
    panels = [
        {
            "title": f"seed {row['seed']}: {100 * row['last_epoch_accuracy']:.1f} % test accuracy, "
            f"{len(row['geometry']['areas']['vanished'])} classes without an area",
            **row["measures"]["embedding"],
            "sectors": row["geometry"]["areas"]["sectors"],
        }
        for row in found.values()
        if "embedding" in row["measures"]
    ]
    return {"panels": panels, "classes": _classes(found)} if panels else None


def _draw_paths(found: Mapping[str, Record]) -> dict[str, Any] | None:
    panels = []
    for row in found.values():
        steps = [epoch["collapse"]["vectors"] for epoch in _thinned(row["history"])]
        paths = [
            [[round(step[c][axis], 3) for step in steps] for axis in (0, 1)]
            for c in range(len(steps[0]))
        ]
        title = f"seed {row['seed']}: turned by {turned_deg(row):.0f}° on average"
        panels.append({"title": title, "paths": paths})
    return {"panels": panels, "classes": _classes(found)} if panels else None


def _thinned(history: list[Record]) -> list[Record]:
    """About 25 epochs, the first and the last among them: more than a drawing can show."""
    step = max(1, len(history) // 25)
    return [*history[:-1:step], history[-1]]


def _draw_strip(found: Mapping[str, Record]) -> dict[str, Any] | None:
    named = {head: arm for arm, head in ARMS.items()}
    series: dict[str, list[float]] = {}
    for row in found.values():
        series.setdefault(named[row["head"]], []).append(test_accuracy(row))
    shown = [{"name": name, "values": values} for name, values in series.items()]
    return {"series": shown, "x": "test accuracy", "unit": "percent"} if shown else None


def _classes(found: Mapping[str, Record]) -> list[str]:
    return next((row["classes"] for row in found.values()), [])


ITEMS = (
    Item(NAME, "figure2", "Training images per class, balanced and thinned", figure2),
    Item(NAME, "figure3", "Embedding and decision areas, random and guided starts", figure3),
    Item(NAME, "figure4", "Class vectors during training", figure4),
    Item(NAME, "variability", "Accuracy from run to run, random and guided starts", variability),
)
