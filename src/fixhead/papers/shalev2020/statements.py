"""Beside the tables: correlations and compactness, which the text states, and the protocol.

The released code gives the frozen arm a hundred times the learning rate of the learned one under
dot logits, ``LR = 0.001 if not args.fixed and not args.cosine else 0.1``, and chooses the best
epoch on the test set. How much of a gain that makes is our question, not the paper's.
"""

from __future__ import annotations

from ...runs.records import Record
from ..item import Claim, Content, Item, Printed, TableEntry, only, read_test_accuracy
from ..recipe import PaperRequest, place
from . import printed as paper
from .recipe import (
    ARMS,
    NAME,
    NOTES,
    SHOWN_RATE,
    by_rate,
    cosine_cells,
    differs,
    dot_cells,
    grid,
    predicted_cosine,
    published_dot,
)


def spearman(row: Record) -> float | None:
    """ρ between the cosine of two class vectors and how often one class is taken for the other."""
    rank = row["geometry"]["spearman"]
    return None if rank is None else rank["rho"]


def reachable(row: Record) -> float:
    """The largest cosine that a non-negative feature can have with a class vector, worst class."""
    return float(row["geometry"]["certificate"]["reachable_nonnegative_min"])


ROUGHLY = "our choice for “roughly 0.95”"


def correlations(request: PaperRequest) -> Content:
    """Are classes with close vectors the ones that are taken for each other?"""
    entries, claims = [], []
    for data, net in grid(request):
        where = place(data, net)
        printed = paper.CORRELATIONS.get(paper.SHOWN_BESIDE.get(data, data))
        values = (None, None) if printed is None else tuple(map(Printed, printed))
        cells = (
            ("non-fixed, dot", dot_cells(request, data, net, "non-fixed", SHOWN_RATE), values[0]),
            ("non-fixed, cosine at S = 1", cosine_cells(request, data, net, "non-fixed", 1),
             values[1]),
            ("fixed, dot", dot_cells(request, data, net, "fixed", SHOWN_RATE), None),
        )  # fmt: skip
        dot, cosine, fixed = (
            TableEntry(where, column, only(runs), spearman, value, "number", tolerance=0.05,
                  tolerance_reason="our choice: the network of the paper's ρ is not said",
                       differs=differs(request, data), metric="ρ of confusion and cosine")
            for column, runs, value in cells
        )  # fmt: skip
        entries += [dot, cosine, fixed]
        said = f"{where}: confusion follows the cosine more where the vectors are learned (dot)"
        claims.append(Claim(said, dot, fixed))
    note = (
        "Spearman's ρ over all ordered pairs of classes on the test set. Which network the paper's "
        "correlations are of is not said."
    )
    return Content(entries, claims, notes=(*NOTES, note))


def compactness(request: PaperRequest) -> Content:
    """Fixed cosine at S = 1: how near do features come, with and without the last ReLU?"""
    entries, claims = [], []
    after, behind = "fixed, S = 1, after the ReLU", "fixed, S = 1, behind a linear neck"
    cosine = "cosine to the predicted class's vector"
    for data, net in grid(request):
        by_neck = {
            neck: tuple(cosine_cells(request, data, net, "fixed", 1, ("compactness",), neck=neck))
            for neck in (False, True)
        }
        plain = TableEntry(
            place(data, net), "fixed, cosine at S = 1, after the ReLU", only(by_neck[False]),
            predicted_cosine, Printed(paper.COMPACTNESS, note="“roughly”, in all experiments"),
            "number", tolerance=0.02, tolerance_reason=ROUGHLY, differs=differs(request, data),
            arm=after, metric=cosine,
        )  # fmt: skip
        necked = TableEntry(
            place(data, net), "the same behind a linear neck", only(by_neck[True]),
            predicted_cosine, Printed(paper.COMPACTNESS, note="“roughly”, in all experiments"),
            "number", tolerance=0.02, tolerance_reason=ROUGHLY, differs=differs(request, data),
            arm=behind, metric=cosine,
        )  # fmt: skip
        limit = TableEntry(
            place(data, net), "reachable after a ReLU, worst class",
            only(by_neck[False]), reachable, None, "number", arm=after,
            metric="reachable cosine, worst class",
        )  # fmt: skip
        accuracy = [
            TableEntry(
                place(data, net), f"test accuracy, {words}", only(by_neck[neck]),
                read_test_accuracy, arm=arm,
            )
            for neck, words, arm in (
                (False, "after the ReLU", after), (True, "behind a linear neck", behind)
            )
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
    note = (
        "A feature after a ReLU has no negative entry, so its cosine with a vector w cannot exceed "
        "the length of w's positive part: about 0.71 for random directions. An average of 0.95 "
        "cannot come from such features; the released network ends in a ReLU."
    )
    return Content(entries, claims, notes=(*NOTES, note))


def learning_rates(request: PaperRequest) -> Content:
    """Fixed against non-fixed under four protocols, dot logits."""
    entries, claims = [], []
    for data, net in grid(request):
        where = place(data, net)
        protocols = {
            "fair: each arm's rate from one grid, on validation": (
                by_rate(request, data, net, "fixed"),
                by_rate(request, data, net, "non-fixed"),
            ),
            "one rate, 0.1; epoch on validation": (
                only(dot_cells(request, data, net, "fixed", 0.1)),
                only(dot_cells(request, data, net, "non-fixed", 0.1)),
            ),
            "as published: 0.1 against 0.001, epoch on test": (
                only(published_dot(request, data, net, "fixed")),
                only(published_dot(request, data, net, "non-fixed")),
            ),
            "released, but one rate, 0.1; epoch on test": (
                only(published_dot(request, data, net, "fixed")),
                only(published_dot(request, data, net, "non-fixed", lr=0.1)),
            ),
        }
        for words, options in protocols.items():
            fixed, learned = (
                TableEntry(f"{where}; {words}", arm, choices, read_test_accuracy)
                for arm, choices in zip(ARMS, options, strict=True)
            )
            entries += [fixed, learned]
            claims.append(Claim(f"{where}; {words}: fixed above non-fixed", fixed, learned))
        claims.append(
            Claim(
                f"{where}: the released rate holds the non-fixed arm back (0.1 above 0.001)",
                entries[-1],
                entries[-3],
            )
        )
    warning = (
        "Rows “epoch on test” choose the epoch on the test set, as the released code does: their "
        "accuracies are biased upwards."
    )
    short = (
        "In the small scale's few epochs a rate of 0.001 does not come far, so it costs the "
        "non-fixed arm more than it would over the paper's 80 epochs."
    )
    notes = (*NOTES, warning, *([short] if request.scale == "small" else []))
    return Content(entries, claims, notes=notes)


ITEMS = (
    Item(NAME, "correlations", "Confusion against cosine of class vectors", correlations),
    Item(NAME, "compactness", "Cosine of features to frozen vectors at S = 1", compactness),
    Item(NAME, "learning-rates", "What the released code's unequal learning rates do",
         learning_rates),
)  # fmt: skip
