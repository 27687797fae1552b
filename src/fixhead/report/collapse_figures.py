"""Neural collapse by epoch, and class vectors in the plane with the areas they own."""

from __future__ import annotations

from .figure import Control, Figure
from .numbers import fixed, listing, mean_std, plural, rounded
from .records import Record, Records, dig

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


def plane(records: Records) -> Figure | None:
    """Where d = 2: the path of every class vector over the epochs, and its area at the end."""
    runs = [found for head in records.heads for found in _planes_of(records, head)]
    if not runs:
        return None
    words = [(str(at), f"{run['head']}, seed {run['seed']}") for at, run in enumerate(runs)]
    return Figure(
        name="plane",
        kind="plane",
        title="Class vectors in the plane",
        explanation=(
            "A line is the path of a class vector's direction and length from the first epoch to "
            "the last, where its name stands. The ring shows which directions of a feature go to "
            "which class at the epoch that validation chose."
        ),
        summary=f"Class vectors of two dimensions in {plural(len(runs), 'run')}.",
        data={"runs": runs},
        height=0,
        controls=[Control("run", "Run", words)],
    )


def _planes_of(records: Records, head: str) -> list[Record]:
    found = []
    for run in records.of(head):
        rows = [
            row
            for row in records.histories.get(run["run_id"], ())
            if dig(row, "collapse", "vectors") is not None
        ]
        if rows:
            steps = [row["collapse"]["vectors"] for row in rows]
            sectors = dig(run, "geometry", "areas", "sectors") or []
            found.append(
                {
                    "head": head,
                    "seed": run["seed"],
                    "epochs": [row["epoch"] for row in rows],
                    "paths": [
                        [[rounded(step[place][axis]) for step in steps] for axis in (0, 1)]
                        for place in range(len(steps[0]))
                    ],
                    "sectors": [
                        [one["label"], rounded(one["start"]), rounded(one["stop"])]
                        for one in sectors
                    ],
                }
            )
    return found


def vanished_sentences(records: Records) -> list[str]:
    """``guided: 0.3 classes without an area, mean of 3 runs (0, 0 and 1)``, arm by arm."""
    said = []
    for head in records.heads:
        areas = [dig(run, "geometry", "areas") for run in records.of(head)]
        counts = [len(area["vanished"]) for area in areas if dig(area, "vanished") is not None]
        if counts:
            each = listing([str(count) for count in counts])
            middle = fixed(mean_std(counts)[0], 1)
            runs = plural(len(counts), "run")
            said.append(f"{head}: {middle} classes without an area, mean of {runs} ({each}).")
        elif reason := next((dig(area, "reason") for area in areas if area), None):
            said.append(f"{head}: no areas, because {reason}.")
    return said
