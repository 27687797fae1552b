"""Bad input is refused in one sentence that says what was needed and what came."""

import math

import pytest
import torch
from loss_references import CLASSES, COUNTS, ROWS, SIZE, batch, directions, mixed
from torch.func import vmap

from fixhead import RequestError
from fixhead.losses import (
    LOSSES,
    adjust_logits,
    arcface,
    arcface_logits,
    balanced_softmax,
    check_counts,
    check_labels,
    check_probabilities,
    class_lengths,
    cosface,
    cosface_logits,
    cross_entropy,
    deferred_weights,
    dot_regression,
    effective_number_weights,
    focal,
    ldam,
    ldam_margins,
    logit_adjustment,
    normface,
)

LOGITS, LABELS = batch()
COSINES = torch.tanh(LOGITS)
FEATURES, VECTORS = directions()
NAMES = list(LOSSES)


def call(name, labels, values=None, **options):
    facts = LOSSES[name]
    if facts.takes == "features":
        return facts.function(FEATURES if values is None else values, VECTORS, labels, **options)
    default = COSINES if facts.takes == "cosines" else LOGITS
    counts = (COUNTS,) if facts.counts else ()
    return facts.function(default if values is None else values, labels, *counts, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("label", "place"), [(CLASSES, 3), (-1, 0), (77, ROWS - 1)])
def test_a_label_out_of_range_is_named_with_its_place(name, label, place):
    labels = LABELS.index_fill(0, torch.tensor([place]), label)
    with pytest.raises(RequestError, match=f"got label {label} at position {place};"):
        call(name, labels)


@pytest.mark.parametrize("name", NAMES)
def test_the_default_ignore_index_is_refused_where_another_was_chosen(name):
    labels = LABELS.index_fill(0, torch.tensor([2]), -100)
    with pytest.raises(RequestError, match="got label -100 at position 2"):
        call(name, labels, ignore_index=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "labels",
    [
        LABELS[:-1],
        LABELS.unsqueeze(1),
        LABELS.double(),
        LABELS.bool(),
        LABELS.to(torch.complex64),
        torch.zeros(ROWS, CLASSES, dtype=torch.int64),
        torch.full((ROWS, CLASSES + 1), 1 / (CLASSES + 1)),
        LABELS.tolist(),
    ],
    ids=["short", "column", "float", "bool", "complex", "one-hot integers", "wide", "list"],
)
def test_labels_of_another_shape_or_type_are_refused(name, labels):
    with pytest.raises(RequestError, match=rf"labels must be integers \(N,\) = \({ROWS},\)"):
        call(name, labels)


@pytest.mark.parametrize("name", NAMES)
def test_labels_on_another_device_are_refused(name):
    with pytest.raises(RequestError, match="on cpu, got them on meta"):
        call(name, LABELS.to("meta"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", ["row", "integers", "list"])
def test_values_of_another_shape_or_type_are_refused(name, wrong):
    values = {"features": FEATURES, "cosines": COSINES, "logits": LOGITS}[LOSSES[name].takes]
    bad = {"row": values[0], "integers": values.long(), "list": values.tolist()}[wrong]
    with pytest.raises(RequestError, match=rf"{LOSSES[name].takes} must be a floating-point"):
        call(name, LABELS, bad)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reduction", ["average", None, "batchmean"])
def test_an_unknown_reduction_is_refused(name, reduction):
    with pytest.raises(RequestError, match=r"reduction must be 'none', 'mean' or 'sum', got"):
        call(name, LABELS, reduction=reduction)


@pytest.mark.parametrize("name", [name for name in NAMES if LOSSES[name].soft])
def test_probabilities_that_do_not_sum_to_one_are_refused_by_row(name):
    targets = mixed()
    targets[7] *= 0.9
    with pytest.raises(RequestError, match=r"sum to 1 in every row, got a sum of 0.9 in row 7"):
        call(name, targets)


@pytest.mark.parametrize("name", [name for name in NAMES if LOSSES[name].soft])
@pytest.mark.parametrize("value", [-0.5, math.nan])
def test_what_is_no_probability_is_refused_by_class_and_row(name, value):
    targets = mixed()
    targets[4, 2] = value
    with pytest.raises(
        RequestError, match=rf"probabilities >= 0, got {value:g} for class 2 in row 4"
    ):
        call(name, targets)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_probabilities_may_be_as_coarse_as_their_type(dtype):
    check_probabilities(mixed(rows=200, classes=50).to(dtype))
    with pytest.raises(RequestError, match="sum to 1"):
        check_probabilities(1.05 * mixed().to(dtype))


@pytest.mark.parametrize("name", [name for name in NAMES if LOSSES[name].soft])
def test_an_ignore_index_with_probabilities_is_refused(name):
    with pytest.raises(RequestError, match=r"ignore_index=3 needs labels \(N,\)"):
        call(name, mixed(), ignore_index=3)


@pytest.mark.parametrize("name", [name for name in NAMES if not LOSSES[name].soft])
def test_margins_refuse_mixup_targets_and_say_what_to_do(name):
    with pytest.raises(RequestError, match=r"a margin belongs to one class.*lam \* loss"):
        call(name, mixed())


@pytest.mark.parametrize("name", [n for n in NAMES if LOSSES[n].takes == "cosines"])
@pytest.mark.parametrize("values", [LOGITS, 64 * COSINES, -1.02 * COSINES.sign()])
def test_margins_on_dot_logits_are_refused(name, values):
    with pytest.raises(RequestError, match=r"cosines must lie in \[-1, 1\].*neither dot logits"):
        call(name, LABELS, values)


@pytest.mark.parametrize("name", [n for n in NAMES if LOSSES[n].takes == "cosines"])
@pytest.mark.parametrize(
    "scale", [0, -1.0, math.nan, math.inf, True, "auto", torch.tensor(0.0), torch.tensor(-3.0)]
)
def test_a_scale_that_is_not_above_zero_is_refused(name, scale):
    with pytest.raises(RequestError, match="scale must be a finite number above 0, got"):
        call(name, LABELS, scale=scale)


@pytest.mark.parametrize("scale", [torch.ones(2), torch.ones(1, 1), torch.tensor(3)])
def test_a_scale_is_one_real_number(scale):
    with pytest.raises(RequestError, match="scale must be one number above 0"):
        cosface(COSINES, LABELS, scale=scale)


@pytest.mark.parametrize("function", [cosface, arcface, cosface_logits, arcface_logits])
@pytest.mark.parametrize("margin", [-0.1, 3.0, math.nan, math.inf, True, None])
def test_margins_out_of_range_are_refused(function, margin):
    with pytest.raises(RequestError, match="margin must be a finite number from 0 to"):
        function(COSINES, LABELS, margin=margin)


def test_an_arcface_margin_in_degrees_is_refused():
    with pytest.raises(RequestError, match=r"margin must be a finite number from 0 to 1\.5708"):
        arcface(COSINES, LABELS, margin=28.6)


WITH_COUNTS = {
    "balanced_softmax": lambda n: balanced_softmax(LOGITS, LABELS, n),
    "logit_adjustment": lambda n: logit_adjustment(LOGITS, LABELS, n),
    "adjust_logits": lambda n: adjust_logits(LOGITS, n),
    "ldam": lambda n: ldam(COSINES, LABELS, n),
    "ldam_margins": ldam_margins,
    "effective_number_weights": effective_number_weights,
    "deferred_weights": lambda n: deferred_weights(n, 200),
    "check_counts": check_counts,
}


@pytest.mark.parametrize("name", WITH_COUNTS)
@pytest.mark.parametrize("count", [0, -3, math.nan, math.inf])
def test_a_class_without_a_count_is_named(name, count):
    counts = COUNTS.double()
    counts[3] = count
    with pytest.raises(
        RequestError, match=rf"counts must be .* above 0.*, got {count:g} for class 3"
    ):
        WITH_COUNTS[name](counts)


@pytest.mark.parametrize("name", [name for name in WITH_COUNTS if name != "check_counts"])
@pytest.mark.parametrize(
    "counts", [COUNTS.tolist(), COUNTS.unsqueeze(0), COUNTS.bool(), COUNTS.to(torch.complex64)]
)
def test_counts_of_another_shape_or_type_are_refused(name, counts):
    with pytest.raises(RequestError, match=r"counts must be a tensor of numbers \(K,\)"):
        WITH_COUNTS[name](counts)


@pytest.mark.parametrize("name", ["balanced_softmax", "logit_adjustment", "adjust_logits", "ldam"])
def test_counts_of_another_number_of_classes_or_device_are_refused(name):
    with pytest.raises(RequestError, match=rf"\(K,\) = \({CLASSES},\), got \({CLASSES - 1},\)"):
        WITH_COUNTS[name](COUNTS[:-1])
    with pytest.raises(RequestError, match="on cpu, got them on meta"):
        WITH_COUNTS[name](COUNTS.to("meta"))


@pytest.mark.parametrize("function", [cross_entropy, focal])
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.ones(CLASSES - 1), r"\(K,\) = \(5,\), got \(4,\)"),
        (torch.ones(CLASSES, dtype=torch.int64), "floating-point numbers"),
        ([1.0] * CLASSES, "must be a tensor"),
        (torch.ones(CLASSES, device="meta"), "got them on meta"),
        (torch.tensor([1.0, 1, -2, 1, 1]), "got -2 for class 2"),
        (torch.tensor([1.0, 1, 1, 1, math.inf]), "got inf for class 4"),
    ],
)
def test_class_weights_that_do_not_fit_are_refused(function, weight, message):
    option = {"weight" if function is cross_entropy else "alpha": weight}
    with pytest.raises(RequestError, match=message):
        function(LOGITS, LABELS, **option)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (lambda: cross_entropy(LOGITS, LABELS, label_smoothing=1.5), "label_smoothing .* 0 to 1"),
        (lambda: cross_entropy(LOGITS, LABELS, label_smoothing=-0.1), "label_smoothing"),
        (lambda: focal(LOGITS, LABELS, gamma=-1.0), "gamma must be a finite number >= 0"),
        (lambda: logit_adjustment(LOGITS, LABELS, COUNTS, tau=-1.0), "tau must be .* >= 0"),
        (lambda: adjust_logits(LOGITS, COUNTS, tau=math.inf), "tau must be"),
        (lambda: ldam(COSINES, LABELS, COUNTS, max_margin=-0.5), "max_margin must be"),
        (lambda: effective_number_weights(COUNTS, beta=1.0), "beta must be below 1"),
        (lambda: effective_number_weights(COUNTS, beta=-0.1), "beta must be"),
        (lambda: deferred_weights(COUNTS, -1), "epoch must be"),
        (lambda: deferred_weights(COUNTS, 5, start=-1), "start must be"),
        (lambda: normface(COSINES, LABELS[:, None]), "labels must be integers"),
    ],
)
def test_options_out_of_range_are_refused(request_, message):
    with pytest.raises(RequestError, match=message):
        request_()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "published"}, "form must be 'code' or 'paper', got 'published'"),
        ({"lengths": "global"}, r"lengths must be 'batch', 'none' or .*class_lengths\(counts\)"),
        ({"lengths": torch.ones(CLASSES - 1)}, r"lengths must be a tensor .* = \(5,\)"),
        ({"lengths": torch.zeros(CLASSES)}, "lengths must be finite and above 0"),
        ({"E_W": 0.0}, "E_W must be a finite number above 0"),
        ({"E_H": -1.0, "form": "paper"}, "E_H must be a finite number above 0"),
        ({"E_H": 2.0}, "E_H=2.0 needs form='paper'"),
        ({"regularisation": -0.1}, "regularisation must be"),
    ],
)
def test_dot_regressions_options_are_checked(options, message):
    with pytest.raises(RequestError, match=message):
        dot_regression(FEATURES, VECTORS, LABELS, **options)


@pytest.mark.parametrize("name", ["dot-regression", "squared-cosine"])
@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (VECTORS[:, :-1], rf"vectors must be \(K, d\) = \(K, {SIZE}\).*got \(5, 6\)"),
        (VECTORS[0], r"vectors must be a floating-point tensor \(K, d\)"),
        (VECTORS.long(), "vectors must be a floating-point tensor"),
        (VECTORS.to("meta"), "vectors must be on cpu like features, got meta"),
    ],
)
def test_vectors_that_do_not_fit_the_features_are_refused(name, vectors, message):
    with pytest.raises(RequestError, match=message):
        LOSSES[name].function(FEATURES, vectors, LABELS)


def test_lengths_of_negative_counts_are_refused():
    with pytest.raises(RequestError, match="counts must be >= 0, got -2 for class 1"):
        class_lengths(torch.tensor([3, -2]))
    with pytest.raises(RequestError, match=r"counts must be a tensor of numbers \(K,\)"):
        class_lengths([3, 2])


def test_unsigned_labels_are_not_taken_for_the_ignored_one():
    """156 is -100 as a byte."""
    labels = torch.tensor([0, 156], dtype=torch.uint8)
    with pytest.raises(RequestError, match="got label 156 at position 1"):
        check_labels(labels, CLASSES)
    check_labels(torch.tensor([0, -100, 4]), CLASSES)


def test_values_are_not_read_under_vmap():
    """There is no one value to read: the shapes alone are checked, and torch does the rest."""
    losses = vmap(lambda row: cross_entropy(row.unsqueeze(0), LABELS[:1]))(LOGITS)
    expected = [cross_entropy(row.unsqueeze(0), LABELS[:1]) for row in LOGITS]
    torch.testing.assert_close(losses, torch.stack(expected))
