"""Neural collapse by epoch."""

from __future__ import annotations

from .figure import Control, Figure
from .numbers import fixed, listing, mean_std, rounded
from .records import Record, Records

MEASURES = (
    ("nc1", "NC1: spread within classes against between (log scale)"),
    ("equinorm", "NC2: spread of the lengths of class means"),
    ("equiangularity_deviation", "NC2: deviation from equal angles"),
    ("alignment", "NC3: cosine of class means to their own vectors"),
    ("self_duality", "NC3: distance of class means to the vectors"),
)


def collapse(records: Records) -> Figure | None:
    """NC1 to NC3 of the validation images by epoch, of every run that kept them."""
    arms = [_collapse_of(records, head) for head in records.heads]
    if not any(arms):
        return None
    return Figure(
        name="collapse",
        kind="collapse",
        title="Neural collapse by epoch",
        explanation=(
            "On validation features, after every epoch; of their directions for heads that see no "
            "length. Thick lines are means over seeds, thin lines single runs."
        ),
        summary=f"Line chart of neural collapse by epoch. {_ends(records, arms)}",
        data={"arms": arms},
        height=420,
        legend=True,
        controls=[Control("measure", "Show", MEASURES)],
    )


def _collapse_of(records: Records, head: str) -> list[Record]:
    found = []
    for run in records.of(head):
        rows = [row for row in records.histories.get(run["run_id"], ()) if row.get("collapse")]
        if not rows:
            continue
        curve: Record = {"seed": run["seed"], "epochs": [row["epoch"] for row in rows]}
        for name, _ in MEASURES:
            curve[name] = [rounded(row["collapse"].get(name)) for row in rows]
        found.append(curve)
    return found


def _ends(records: Records, arms: list[list[Record]]) -> str:
    said = []
    for head, runs in zip(records.heads, arms, strict=True):
        values = [run["nc1"][-1] for run in runs if run["nc1"][-1] is not None]
        if values:
            said.append(f"{head} {fixed(mean_std(values)[0], 3)}")
    return f"Mean NC1 at the last epoch: {listing(said)}." if said else ""
