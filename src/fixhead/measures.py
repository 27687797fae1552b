"""The one table of measures: what a trained last layer is measured by, and how each is computed.

Records, pages, the terminal, the metrics for training loops and the figures of every epoch read
this table; adding a measure is one entry. Functions are those of ``fixhead.geometry``, named here
and imported when they are first called, so that reading the table imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

Better = Literal["higher", "lower"] | None
Part = Literal["accuracy", "calibration", "compactness", "collapse"]
Scope = Literal["whole", "class"]
Unit = Literal["fraction", "cosine", "nats", "length", "ratio", "distance"]


@dataclass(frozen=True)
class Formula:
    """A function with the names of what it is given, and which field of its answer is meant.

    Args:
        function: ``"module.function"`` below ``fixhead.geometry``, or a function.
        inputs: names of ``statistics`` and ``compact`` (``ClassStatistics``), ``vectors`` (K, d),
            ``class_counts`` (3, K), ``confidences`` (3, K, B), ``agreements`` (2, K), and
            ``each_class`` (K,), the grouping in which every class is its own group.
        field: an attribute of what the function returns; None for all of it.
    """

    function: str | Callable[..., Any]
    inputs: tuple[str, ...]
    field: str | None = None

    def __call__(self, inputs: Mapping[str, Any], **options: Any) -> Any:
        """The value; ``options`` are keyword arguments of the function."""
        return self.chosen(self.called(inputs, **options))

    def called(self, inputs: Mapping[str, Any], **options: Any) -> Any:
        """All that the function returns."""
        function = self.function
        if isinstance(function, str):
            module, _, name = function.rpartition(".")
            function = getattr(import_module(f"fixhead.geometry.{module}"), name)
        return function(*(inputs[name] for name in self.inputs), **options)

    def chosen(self, answer: Any) -> Any:
        """The part of the function's answer that is meant."""
        return answer if self.field is None else getattr(answer, self.field)


@dataclass(frozen=True)
class Measure:
    """One figure of a trained last layer.

    Args:
        name: the field of the records.
        part: the field of an evaluation's record that holds it; ``accuracy`` is the top level.
        title: for people, without the unit.
        short, below: the two lines at the head of a narrow column.
        better: which way is better; None where neither is.
        whole: one value for all images; None where the pass over them gives it by itself, or
            there is none (then ``each`` is set).
        each: a value for every class (K,); groups of classes have the mean over their classes.
        by_epoch: followed after every epoch of training, on validation images.
        in_groups: a column of the table of groups of classes.
        logarithmic: drawn on a logarithmic axis.
    """

    name: str
    part: Part
    title: str
    short: str
    below: str | None = None
    unit: Unit = "ratio"
    better: Better = None
    whole: Formula | None = None
    each: Formula | None = None
    by_epoch: bool = False
    in_groups: bool = False
    logarithmic: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        """Where a model's entry of an evaluation's record holds the value of all images."""
        return (self.name,) if self.part == "accuracy" else (self.part, self.name)

    @property
    def higher_is_better(self) -> bool | None:
        """``better`` in the words of torchmetrics."""
        return None if self.better is None else self.better == "higher"


def _formula(reference: str, *inputs: str) -> Formula:
    """``"module.function"`` or ``"module.function:field"``."""
    function, _, field = reference.partition(":")
    return Formula(function, inputs, field or None)


def _cosine(name: str, title: str, short: str, better: Better = None, **options: Any) -> Measure:
    return _compactness(name, title, short, "mean cosine", "cosine", better, **options)


def _compactness(
    name: str, title: str, short: str, below: str, unit: Unit, better: Better, **options: Any
) -> Measure:
    """A mean over images; ``geometry.compactness`` pools them as it is asked."""
    reference = f"compactness.compactness:{name}"
    whole, each = _formula(reference, "compact"), _formula(reference, "compact", "each_class")
    return Measure(name, "compactness", title, short, below, unit, better, whole, each, **options)


_TABLE = (
    Measure(
        "accuracy", "accuracy", "accuracy", "Accuracy", None, "fraction", "higher",
        _formula("accuracy.accuracy", "class_counts"),
        _formula("accuracy.class_accuracies", "class_counts"), in_groups=True,
    ),
    Measure(
        "balanced_accuracy", "accuracy", "balanced accuracy", "Balanced", "accuracy", "fraction",
        "higher", _formula("accuracy.balanced_accuracy", "class_counts"),
    ),
    Measure(
        "macro_f1", "accuracy", "macro-F1", "Macro-F1", None, "fraction", "higher",
        _formula("accuracy.macro_f1", "class_counts"),
    ),
    Measure(
        "f1", "accuracy", "F1", "F1", None, "fraction", "higher",
        each=_formula("accuracy.class_f1", "class_counts"),
    ),
    Measure("loss", "accuracy", "loss", "Loss", "nats", "nats", "lower"),
    Measure(
        "expected_error", "calibration", "expected calibration error", "Calibration",
        "expected error", "fraction", "lower",
        _formula("calibration.expected_calibration_error", "confidences"),
    ),
    Measure(
        "maximum_error", "calibration", "maximum calibration error", "Calibration",
        "maximum error", "fraction", "lower",
        _formula("calibration.maximum_calibration_error", "confidences"),
    ),
    Measure(
        "calibration_error", "calibration", "calibration error", "ECE", None, "fraction", "lower",
        each=_formula("calibration.expected_calibration_error", "confidences", "each_class"),
        in_groups=True,
    ),
    _cosine("own", "cosine to the own vector (compactness)", "Own vector", "higher",
            in_groups=True),
    _cosine("own_right", "cosine to the own vector, images put right", "… where right", "higher"),
    _cosine("own_wrong", "cosine to the own vector, images put wrong", "… where wrong"),
    _cosine("predicted", "cosine to the predicted vector", "Predicted vector"),
    _cosine("predicted_wrong", "cosine to the predicted vector, images put wrong", "… where wrong"),
    Measure(
        "separability", "compactness", "1 − cosine between class means (separability)",
        "Class means", "1 − cosine between", "cosine", "higher",
        _formula("compactness.separability", "statistics"),
        _formula("compactness.class_separabilities", "statistics"), in_groups=True,
    ),
    _compactness("norm", "feature norm", "Feature norm", "mean", "length", None),
    _compactness("norm_right", "feature norm, images put right", "… where right", "mean", "length",
                 None),
    _compactness("norm_wrong", "feature norm, images put wrong", "… where wrong", "mean", "length",
                 None),
    _compactness("norm_std", "spread of the feature norm", "… spread", "std", "length", None),
    Measure(
        "nc1", "collapse", "NC1: spread within classes against between", "NC1",
        "tr(Σ_W Σ_B⁺)/K", "ratio", "lower", _formula("collapse.nc1", "statistics"),
        by_epoch=True, logarithmic=True,
    ),
    Measure(
        "trace_ratio", "collapse", "NC1 by traces: spread within classes against between",
        "NC1, cheap", "tr Σ_W / tr Σ_B", "ratio", "lower",
        _formula("collapse.trace_ratio", "statistics"),
        _formula("collapse.class_trace_ratios", "statistics"), in_groups=True,
    ),
    Measure(
        "cdnv", "collapse", "CDNV, class-distance normalised variance", "CDNV",
        "by pairs of classes", "ratio", "lower", _formula("collapse.cdnv", "statistics"),
        _formula("collapse.class_cdnv", "statistics"), in_groups=True,
    ),
    Measure(
        "equinorm", "collapse", "NC2: spread of the lengths of class means", "NC2 lengths",
        "spread", "ratio", "lower", _formula("collapse.equinorm", "statistics"),
        by_epoch=True,
    ),
    Measure(
        "relative_norm", "collapse", "NC2: relative length of the class mean", "NC2 length",
        "relative", "ratio", each=_formula("collapse.relative_norms", "statistics"),
    ),
    Measure(
        "equiangularity_std", "collapse", "NC2: spread of the cosines of class means",
        "NC2 angles", "spread", "cosine", "lower",
        _formula("collapse.equiangularity:std", "statistics"),
    ),
    Measure(
        "equiangularity_deviation", "collapse", "NC2: deviation from equal angles", "NC2 angles",
        "deviation", "cosine", "lower",
        _formula("collapse.equiangularity:deviation", "statistics"),
        _formula("collapse.equiangularity:per_class", "statistics"), by_epoch=True,
    ),
    Measure(
        "alignment", "collapse", "NC3: cosine of class means to their own vectors", "Alignment",
        "cosine to own vector", "cosine", "higher",
        _formula("collapse.alignment", "statistics", "vectors"),
        _formula("collapse.alignments", "statistics", "vectors"), by_epoch=True, in_groups=True,
    ),
    Measure(
        "self_duality", "collapse", "NC3: distance of class means to the vectors", "NC3",
        "distance to vectors", "distance", "lower",
        _formula("collapse.self_duality", "statistics", "vectors"),
        _formula("collapse.class_self_duality", "statistics", "vectors"), by_epoch=True,
    ),
    Measure(
        "gram_distance", "collapse", "NC3: distance of the Gram matrices of means and vectors",
        "Gram distance", "means and vectors", "distance", "lower",
        _formula("collapse.gram_distance", "statistics", "vectors"),
        _formula("collapse.class_gram_distances", "statistics", "vectors"),
    ),
    Measure(
        "nearest_mean_agreement", "collapse", "NC4: agreement with the nearest mean", "NC4",
        "agreement", "fraction", "higher", _formula("nearest.nearest_mean_agreement", "agreements"),
        _formula("nearest.class_nearest_mean_agreement", "agreements"), in_groups=True,
    ),
)  # fmt: skip

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _TABLE}
"""By name, in the order in which people are shown them."""


def of_part(part: Part) -> list[Measure]:
    """The measures of one part of a record that have a value for all images together."""
    return [m for m in MEASURES.values() if m.part == part and (m.whole or not m.each)]


def per_class() -> list[Measure]:
    """The measures that have a value for every class, and thereby for groups of classes."""
    return [measure for measure in MEASURES.values() if measure.each]


def by_epoch() -> list[Measure]:
    """The measures that are followed while a model is trained."""
    return [measure for measure in MEASURES.values() if measure.by_epoch]


def computed(
    measures: Iterable[Measure], inputs: Mapping[str, Any], scope: Scope = "whole"
) -> dict[str, Any]:
    """The measures' values by name, of all images or of every class; each function runs once.

    Measures that the scope has no formula for are left out.
    """
    answers: dict[tuple[Any, ...], Any] = {}
    found = {}
    for measure in measures:
        formula = measure.whole if scope == "whole" else measure.each
        if formula is None:
            continue
        key = formula.function, formula.inputs
        if key not in answers:
            answers[key] = formula.called(inputs)
        found[measure.name] = formula.chosen(answers[key])
    return found
