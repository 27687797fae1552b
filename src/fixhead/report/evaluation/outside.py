"""Sets of other classes: how well they are told from the test set."""

from __future__ import annotations

from ..html import element, join
from ..marks import arm_name
from ..naming import heads_by_name
from ..numbers import count, mean_std, percent
from ..records import Record
from ..section import Section
from ..table import Cell, Column, Row, render
from .record import Evaluated

_SCORES = (("largest_cosine", "Largest cosine"), ("energy", "Energy"))


def outside(evaluated: Evaluated) -> Section | None:
    """A table for each set: AUROC and false positives at 95 % recall, by score."""
    sets = evaluated.found.get("outside") or []
    if not sets:
        return None
    parts = [_set(evaluated, place, extra) for place, extra in enumerate(sets)]
    return Section("outside", "Other classes", join(parts))


def _set(evaluated: Evaluated, number: int, extra: Record) -> str:
    columns = [Column("Head", kind="name")]
    for _, title in _SCORES:
        columns += [Column(title, "AUROC"), Column("False positives", "at 95 % recall")]
    heads = heads_by_name(evaluated.records)
    rows = []
    for place, name in enumerate(evaluated.heads):
        own = [model for model in extra["models"] if (model["head"] or model["name"]) == name]
        cells = [Cell(arm_name(place, heads[name]), name)]
        for score, _ in _SCORES:
            for field in ("auroc", "fpr_at_95"):
                middle, _ = mean_std([model[score][field] for model in own])
                cells.append(Cell(percent(middle), middle))
        rows.append(Row(cells))
    caption = (
        f"{count(extra['images'])} images of classes that no head knows, against the test images. "
        "AUROC is the chance that a test image scores higher: 50 % tells nothing, 100 % all. "
        "False positives are the outside images that pass where 95 % of the test images do."
    )
    table = render(f"outside-{number}", caption, columns, rows)
    return element("div", element("h3", extra["title"]), table, class_="also-set")
