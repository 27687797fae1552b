"""A table or figure of a paper: which runs it needs, and how it is read from their records."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..comparison.config import Comparison, RunPlan
from ..runs.records import Record, dumps
from .recipe import PaperRecipe, PaperRequest, ScaleName

if TYPE_CHECKING:
    from ..comparison.context import Context

# --- what the paper prints ------------------------------------------------------------------------


@dataclass(frozen=True)
class Printed:
    """A figure of a paper, as a fraction where it is an accuracy; None where it prints no number.

    ``source``: ``"paper"``, read in its text; ``"recalled"``, from memory, unverified;
    ``"missing"``, the text at hand has no such figure. ``note`` says what else to know.
    ``ends``: smallest and largest, where ``value`` is a range. ``diverged``: the paper prints NaN.
    """

    value: float | None
    source: Literal["paper", "recalled", "missing"] = "paper"
    note: str = ""
    ends: tuple[float, float] | None = None
    diverged: bool = False


NOT_CONVERGED = Printed(None, note="NaN: failed to converge", diverged=True)


NOT_AT_HAND = Printed(None, "missing", "not at hand: empty in the text that we have")


def percent(value: float | None, note: str = "") -> Printed:
    """``percent(94.2)``: an accuracy as the table prints it."""
    return Printed(None if value is None else value / 100, "paper", note)


def recalled(value: float, note: str = "") -> Printed:
    """An accuracy in per cent that could not be looked up again: shown as recalled, unverified."""
    return Printed(value / 100, "recalled", note)


# --- runs -----------------------------------------------------------------------------------------

Compute = Callable[..., Record]


class LoadContext(Protocol):
    """Gives a comparison with its data loaded."""

    def __call__(self, comparison: Comparison, /) -> Context: ...


class PaperCell(Protocol):
    """One independent run, known by everything that its outcome depends on."""

    @property
    def name(self) -> str: ...

    @property
    def run_id(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def measures(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class TrainingCell:
    """One head, one seed, one recipe on the engine; then ``measures`` of the trained model.

    Two items that need the same cell share its run; measures do not make another cell.
    """

    recipe: PaperRecipe
    head: str
    seed: int
    measures: tuple[str, ...] = ()

    @cached_property
    def comparison(self) -> Comparison:
        return self.recipe.comparison(self.head, self.seed)

    @cached_property
    def name(self) -> str:
        """Readable, and unique by the full configuration (but for where the data lie)."""
        config = self.comparison
        digest = replace(config, data_dir=None, device="auto").digest[:10]
        plan = RunPlan(self.head, self.seed, config.recipe)
        return f"{_safe(config.data)}-{_safe(config.backbone)}-{plan.run_id}-{digest}"

    @property
    def run_id(self) -> str:
        return self.name


@dataclass(frozen=True)
class ComputedCell:
    """A computation without the engine: ``compute(load, seed, **arguments)`` gives ``found``.

    For theory (free features, no data) and for facts of data sets. ``load`` opens a comparison's
    data where the function needs any. Its records know the function by its module and name:
    ``recorded_as`` keeps those of a function that has moved since the first records.
    """

    compute: Compute
    arguments: tuple[tuple[str, Any], ...] = ()
    seed: int = 0
    recorded_as: str = ""

    @property
    def measures(self) -> tuple[str, ...]:
        return ()

    @property
    def run_id(self) -> str:
        return self.name

    @property
    def function(self) -> str:
        return self.recorded_as or f"{self.compute.__module__}.{self.compute.__name__}"

    @cached_property
    def name(self) -> str:
        module, _, function = self.function.rpartition(".")
        digest = hashlib.sha256(dumps([module, function, dict(self.arguments)]).encode())
        return f"{_safe(function)}-seed{self.seed}-{digest.hexdigest()[:10]}"


def _safe(text: str) -> str:
    return "".join(char if char.isalnum() or char in "-." else "_" for char in text)


def training_cells(
    request: PaperRequest,
    recipe: PaperRecipe,
    head: str,
    measures: tuple[str, ...] = (),
    seeds: int = 3,
) -> tuple[TrainingCell, ...]:
    """An arm's runs, a seed each; ``seeds`` of them where the request names no number."""
    return tuple(TrainingCell(recipe, head, seed, measures) for seed in request.seed_numbers(seeds))


def computed_cells(
    request: PaperRequest, compute: Compute, recorded_as: str = "", **arguments: Any
) -> tuple[ComputedCell, ...]:
    """A computation's runs, a seed each."""
    return tuple(
        ComputedCell(compute, tuple(arguments.items()), seed, recorded_as)
        for seed in request.seed_numbers()
    )


# --- a table's entries ----------------------------------------------------------------------------

Read = Callable[[Record], float | None]
RANGE_RUNS = 3
"""The paper's ranges are of so many runs; ours are of every choice of so many."""
ONE_POINT = (
    "our choice: three runs that spread by a few tenths of a point can decide one point, "
    "hardly less"
)


@dataclass(frozen=True)
class Option:
    """One way of settling an entry: the runs (a seed each) under this label, e.g. ``lr 0.01``."""

    label: str
    cells: tuple[PaperCell, ...]


def only(cells: Sequence[PaperCell]) -> tuple[Option, ...]:
    """The options of an entry that has no alternatives."""
    return (Option("", tuple(cells)),)


@dataclass(frozen=True)
class TableEntry:
    """One place of a table: the paper's figure, and where ours comes from.

    options: one, or several of which the one with the best mean validation accuracy is taken.
    read: a run's record (with its ``history`` and its ``measures``) → the figure.
    over: ``"mean"`` of the runs, or the ``"range"`` of three of them, largest minus smallest.
    tolerance: how far ours may be from the paper's and still count as reproduced; set before the
    runs, for the reason given.
    exact: counted or computed, without any spread between runs.
    same_as: why it cannot differ from another entry, by construction; it then counts there only.
    differs: why ours and the paper's are not of the same thing; empty where they are.
    remark: what else to know of this figure, beside its verdict.
    where, arm, metric: what ``row`` and ``column`` mean, in plain words: the data and network (or
        whatever else the rows are), the arm, and the figure; by default row, column and accuracy.
    """

    row: str
    column: str
    options: tuple[Option, ...]
    read: Read
    printed: Printed | None = None
    unit: Literal["percent", "number"] = "percent"
    over: Literal["mean", "range"] = "mean"
    tolerance: float = 0.01
    tolerance_reason: str = ONE_POINT
    exact: bool = False
    same_as: str = ""
    differs: tuple[str, ...] = ()
    remark: str = ""
    where: str | None = None
    arm: str | None = None
    metric: str = "test accuracy"

    @property
    def key(self) -> str:
        return f"{self.row} · {self.column}"


@dataclass(frozen=True)
class Claim:
    """What the paper says of two entries: the first is above the second, by ``printed``.

    by_construction: why no run could show anything else; such a claim is no evidence.
    """

    text: str
    first: TableEntry
    second: TableEntry
    printed: float | None = None
    by_construction: str = ""


@dataclass(frozen=True)
class PaperFigure:
    """A drawing from records: ``draw(records by cell name)`` gives its data, by ``kind``.

    ``measured`` says what was measured here, ``printed`` what the paper printed.
    """

    kind: str
    title: str
    measured: str
    printed: str
    cells: tuple[PaperCell, ...]
    draw: Callable[[Mapping[str, Record]], dict[str, Any] | None]


def read_test_accuracy(row: Record) -> float:
    """Of the epoch that was chosen."""
    return float(row["test_accuracy"])


def computed(key: str) -> Read:
    """Reads a number that a computed cell gave."""
    return lambda row: float(row["found"][key])


def measured(measure: str, key: str) -> Read:
    """Reads a number of a measure of the trained model; None where it was not taken."""

    def read(row: Record) -> float | None:
        values = row["measures"].get(measure)
        return None if values is None else values[key]

    return read


# --- items ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Content:
    """All that an item consists of, for one request."""

    entries: Sequence[TableEntry] = ()
    claims: Sequence[Claim] = ()
    figures: Sequence[PaperFigure] = ()
    notes: Sequence[str] = ()

    @property
    def cells(self) -> list[PaperCell]:
        """Every run that is needed, once; the measures of all that need it are joined.

        Seed by seed, so that a plan stopped half-way is still balanced.
        """
        wanted = [cell for entry in self.entries for one in entry.options for cell in one.cells]
        wanted += [cell for figure in self.figures for cell in figure.cells]
        same: dict[str, list[PaperCell]] = {}
        for cell in wanted:
            same.setdefault(cell.name, []).append(cell)
        return sorted(map(_joined, same.values()), key=lambda cell: cell.seed)

    @property
    def recipes(self) -> dict[str, PaperRecipe]:
        """What the runs are done with, by the rows and arms that are done so.

        Of the cells themselves, so that an arm with settings of its own is told apart: a run's
        name is a digest of them, and its record holds them.
        """
        uses: dict[Comparison, _Use] = {}
        for entry in self.entries:
            for option in entry.options:
                for cell in option.cells:
                    if isinstance(cell, TrainingCell):
                        use = uses.setdefault(cell.recipe.config, _Use(cell.recipe))
                        use.rows[entry.row.partition(":")[0]] = None
                        label = f" ({option.label})" if option.label else ""
                        use.arms[f"{entry.column}{label}"] = None
        for figure in () if uses else self.figures:
            for cell in figure.cells:
                if isinstance(cell, TrainingCell):
                    use = uses.setdefault(cell.recipe.config, _Use(cell.recipe))
                    use.rows[figure.title.partition(":")[0]] = None
        if len(uses) == 1:
            return {"all runs": next(iter(uses.values())).recipe}
        rows = Counter(use.where for use in uses.values())
        return {use.words(tell_arms=rows[use.where] > 1): use.recipe for use in uses.values()}


@dataclass
class _Use:
    """A recipe, and the rows, arms and options that use it, in order."""

    recipe: PaperRecipe
    rows: dict[str, None] = field(default_factory=dict)
    arms: dict[str, None] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return "; ".join(self.rows)

    def words(self, *, tell_arms: bool) -> str:
        return f"{self.where}: {' and '.join(self.arms)}" if tell_arms and self.arms else self.where


def _joined(cells: Sequence[PaperCell]) -> PaperCell:
    first = cells[0]
    if not isinstance(first, TrainingCell):
        return first
    return replace(
        first, measures=tuple(dict.fromkeys(one for cell in cells for one in cell.measures))
    )


@dataclass(frozen=True)
class Paper:
    """A paper: its short name, its title on pages, its items, and what ``--as-published`` means.

    ``as_published`` stands on every page of that protocol.
    """

    name: str
    title: str
    items: tuple[Item, ...]
    as_published: str = ""


@dataclass(frozen=True)
class Item:
    """``fixhead paper PAPER NAME``.

    build: a request → the content. ``published`` says that --as-published changes something.
    """

    paper: str
    name: str
    title: str
    build: Callable[[PaperRequest], Content]
    scales: tuple[ScaleName, ...] = ("full", "small")
    published: bool = False
