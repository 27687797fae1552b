"""Neural collapse by epoch."""

from __future__ import annotations

from ..measures import Measure, by_epoch
from .figure import Control, Figure
from .numbers import fixed, listing, mean_std, rounded
from .records import Record, Records


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
        data={
            "arms": arms,
            "curves": [
                {
                    "name": one.name,
                    "short": f"{one.short} {one.below or ''}".strip(),
                    "logarithmic": one.logarithmic,
                }
                for one in by_epoch()
            ],
        },
        height=420,
        legend=True,
        controls=[Control("measure", "Show", [(one.name, _choice(one)) for one in by_epoch()])],
    )


def _collapse_of(records: Records, head: str) -> list[Record]:
    found = []
    for run in records.of(head):
        rows = [row for row in records.histories.get(run["run_id"], ()) if row.get("collapse")]
        if not rows:
            continue
        curve: Record = {"seed": run["seed"], "epochs": [row["epoch"] for row in rows]}
        for one in by_epoch():
            curve[one.name] = [rounded(row["collapse"].get(one.name)) for row in rows]
        found.append(curve)
    return found


def _choice(measure: Measure) -> str:
    return f"{measure.title} (log scale)" if measure.logarithmic else measure.title


def _ends(records: Records, arms: list[list[Record]]) -> str:
    said = []
    for head, runs in zip(records.heads, arms, strict=True):
        values = [run["nc1"][-1] for run in runs if run["nc1"][-1] is not None]
        if values:
            said.append(f"{head} {fixed(mean_std(values)[0], 3)}")
    return f"Mean NC1 at the last epoch: {listing(said)}." if said else ""
