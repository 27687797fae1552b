"""Figures 2 to 4, and the variability that section 3.1 states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...runs.records import Record
from ..cells import ComputedCell
from ..item import Claim, Content, Entry, Figure, Item, Option, Request
from ..printed import Printed, percent
from .drawings import draw_paths, draw_planes, draw_strip
from .readings import class_counts, test_accuracy, train_accuracy, turned_deg, without_area
from .recipe import ARMS, GONE, NAME, UNKNOWN, cells, differs, recipe


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
    return Content(entries, figures=[figure], recipes={"data": recipe(request)}, notes=UNKNOWN[:1])


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
            cells(request, arm)[:3],
            draw_planes,
        )
        for arm in ARMS
    ]
    return Content(entries, claims, drawings, {"all arms": recipe(request)}, UNKNOWN)


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
            cells(request, arm)[:3],
            draw_paths,
        )
        for arm in ARMS
    ]
    return Content(entries, (), drawings, {"all arms": recipe(request)}, UNKNOWN)


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
        tuple(cell for arm in ARMS for cell in cells(request, arm)),
        draw_strip,
    )
    return Content(
        [*entries, *gone.values()],
        claims,
        [drawing],
        {"all arms": recipe(request)},
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
        (Option("", cells(request, arm)),),
        read,
        printed,
        unit,
        tolerance=tolerance,
        differs=differs(request),
    )


ITEMS = (
    Item(NAME, "figure2", "Training images per class, balanced and thinned", figure2),
    Item(NAME, "figure3", "Embedding and decision areas, random and guided starts", figure3),
    Item(NAME, "figure4", "Class vectors during training", figure4),
    Item(NAME, "variability", "Accuracy from run to run, random and guided starts", variability),
)
