"""What the text states in passing: correlations (sections 2 and 3) and compactness (section 3)."""

from __future__ import annotations

from ...runs.records import Record
from ..item import Claim, Content, Entry, Item, Option, Request
from ..printed import Printed
from . import figures
from .recipe import NAME, NOTES, cosine_cells, differs, dot_cells, grid, recipe
from .tables import SHOWN_RATE, place, predicted_cosine


def spearman(row: Record) -> float | None:
    """ρ between the cosine of two class vectors and how often one class is taken for the other."""
    found = row["geometry"]["spearman"]
    return None if found is None else found["rho"]


def reachable(row: Record) -> float:
    """The largest cosine that a non-negative feature can have with a class vector, worst class."""
    return float(row["geometry"]["certificate"]["reachable_nonnegative_min"])


def correlations(request: Request) -> Content:
    """Are classes with close vectors the ones that are taken for each other?"""
    entries, claims = [], []
    for data, net in grid(request):
        where = place(data, net)
        printed = figures.CORRELATIONS.get(figures.SHOWN_BESIDE.get(data, data))
        values = (None, None) if printed is None else tuple(map(Printed, printed))
        cells = (
            ("non-fixed, dot", dot_cells(request, data, net, "non-fixed", SHOWN_RATE), values[0]),
            ("non-fixed, cosine at S = 1", cosine_cells(request, data, net, "non-fixed", 1),
             values[1]),
            ("fixed, dot", dot_cells(request, data, net, "fixed", SHOWN_RATE), None),
        )  # fmt: skip
        dot, cosine, fixed = (
            Entry(where, column, (Option("", own),), spearman, value, "number", tolerance=0.05,
                  differs=differs(request, data))
            for column, own, value in cells
        )  # fmt: skip
        entries += [dot, cosine, fixed]
        said = f"{where}: confusion follows the cosine more where the vectors are learned (dot)"
        claims.append(Claim(said, dot, fixed))
    recipes = {place(data, net): recipe(request, data, net) for data, net in grid(request)}
    note = (
        "Spearman's ρ over all ordered pairs of classes on the test set. Which network the paper's "
        "correlations are of is not said."
    )
    return Content(entries, claims, recipes=recipes, notes=(*NOTES, note))


def compactness(request: Request) -> Content:
    """Fixed cosine at S = 1: how near do features come, with and without the last ReLU?"""
    entries, claims = [], []
    for data, net in grid(request):
        own = {
            neck: tuple(cosine_cells(request, data, net, "fixed", 1, ("compactness",), neck=neck))
            for neck in (False, True)
        }
        plain = Entry(
            place(data, net), "fixed, cosine at S = 1, after the ReLU", (Option("", own[False]),),
            predicted_cosine, Printed(figures.COMPACTNESS, note="“roughly”, in all experiments"),
            "number", tolerance=0.02, differs=differs(request, data),
        )  # fmt: skip
        necked = Entry(
            place(data, net), "the same behind a linear neck", (Option("", own[True]),),
            predicted_cosine, Printed(figures.COMPACTNESS, note="“roughly”, in all experiments"),
            "number", tolerance=0.02, differs=differs(request, data),
        )  # fmt: skip
        limit = Entry(
            place(data, net), "reachable after a ReLU, worst class",
            (Option("", own[False]),), reachable, None, "number",
        )  # fmt: skip
        accuracy = [
            Entry(
                place(data, net), f"test accuracy, {words}", (Option("", own[neck]),),
                lambda row: float(row["test_accuracy"]),
            )
            for neck, words in ((False, "after the ReLU"), (True, "behind a linear neck"))
        ]  # fmt: skip
        entries += [plain, necked, limit, *accuracy]
        claims.append(
            Claim(
                f"{place(data, net)}: without the last ReLU, features come nearer to frozen "
                "vectors (our claim, not the paper's)",
                necked,
                plain,
            )
        )
    recipes = {place(data, net): recipe(request, data, net) for data, net in grid(request)}
    note = (
        "A feature after a ReLU has no negative entry, so its cosine with a vector w cannot exceed "
        "the length of w's positive part: about 0.71 for random directions. An average of 0.95 "
        "cannot come from such features; the released network ends in a ReLU."
    )
    return Content(entries, claims, recipes=recipes, notes=(*NOTES, note))


ITEMS = (
    Item(NAME, "correlations", "Confusion against cosine of class vectors", correlations),
    Item(NAME, "compactness", "Cosine of features to frozen vectors at S = 1", compactness),
)
