"""A table or figure of a paper: which runs it needs, and how it is read from their records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..runs.records import Record
from .cells import Cell, TrainingCell
from .printed import Printed
from .recipe import PaperRecipe

Scale = Literal["full", "medium", "small"]
"""The paper's own; minutes of one GPU; minutes of two CPU cores."""
Read = Callable[[Record], float | None]


@dataclass(frozen=True)
class Request:
    """What a person asked of an item.

    ``seeds`` and ``epochs`` replace the recipe's own numbers; the page says so.
    """

    scale: Scale = "full"
    as_published: bool = False
    seeds: int | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Option:
    """One way of settling an entry: the runs (a seed each) under this label, e.g. ``lr 0.01``."""

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Entry:
    """One place of a table: the paper's figure, and where ours comes from.

    options: one, or several of which the one with the best mean validation accuracy is taken.
    read: a run's record (with its ``history`` and its ``measures``) → the figure.
    over: ``"mean"`` of the runs, or their ``"range"``, largest minus smallest.
    tolerance: how far ours may be from the paper's and still count as reproduced.
    differs: why ours and the paper's are not of the same thing; empty where they are.
    """

    row: str
    column: str
    options: tuple[Option, ...]
    read: Read
    printed: Printed | None = None
    unit: Literal["percent", "number"] = "percent"
    over: Literal["mean", "range"] = "mean"
    tolerance: float = 0.01
    differs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.row} · {self.column}"


@dataclass(frozen=True)
class Claim:
    """What the paper says of two entries: the first is above the second, by ``printed``."""

    text: str
    first: Entry
    second: Entry
    printed: float | None = None


@dataclass(frozen=True)
class Figure:
    """A drawing from records: ``draw(records by cell name)`` gives its data, by ``kind``.

    ``measured`` says what was measured here, ``printed`` what the paper printed.
    """

    kind: str
    title: str
    measured: str
    printed: str
    cells: tuple[Cell, ...]
    draw: Callable[[Mapping[str, Record]], dict[str, Any] | None]


@dataclass(frozen=True)
class Content:
    """All that an item consists of, for one request."""

    entries: Sequence[Entry] = ()
    claims: Sequence[Claim] = ()
    figures: Sequence[Figure] = ()
    recipes: Mapping[str, PaperRecipe] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def cells(self) -> list[Cell]:
        """Every run that is needed, once; the measures of all that need it are joined.

        Seed by seed, so that a plan stopped half-way is still balanced.
        """
        wanted = [cell for entry in self.entries for one in entry.options for cell in one.cells]
        wanted += [cell for figure in self.figures for cell in figure.cells]
        same: dict[str, list[Cell]] = {}
        for cell in wanted:
            same.setdefault(cell.name, []).append(cell)
        return sorted(map(_joined, same.values()), key=lambda cell: cell.seed)


@dataclass(frozen=True)
class Item:
    """``fixhead paper PAPER NAME``.

    build: a request → the content. ``published`` says that --as-published changes something.
    """

    paper: str
    name: str
    title: str
    build: Callable[[Request], Content]
    scales: tuple[Scale, ...] = ("full", "small")
    published: bool = False


def _joined(cells: Sequence[Cell]) -> Cell:
    first = cells[0]
    if not isinstance(first, TrainingCell):
        return first
    return replace(
        first, measures=tuple(dict.fromkeys(one for cell in cells for one in cell.measures))
    )
