"""What ``auto`` and ``auto:learned`` take: the table of heads, and what may be given beside it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixhead import ClassificationHead, RequestError
from fixhead.heads.auto import FEW, LINES, TAIL, Case, line_for, settle
from fixhead.heads.spec import PRESETS, HeadSpec, parse_head

FROZEN, LEARNED = PRESETS["auto"], PRESETS["auto:learned"]


@settings(max_examples=20, deadline=None)
@example(5, 2, True, False, 0)
@example(3, 2, True, False, 0)  # no block code, and a simplex that a ReLU does not reach
@given(
    st.integers(2, 120), st.integers(2, 40), st.booleans(), st.booleans(), st.integers(0, 2**31 - 1)
)
def test_there_is_a_head_for_any_sizes_and_it_learns(classes, features, nonnegative, learned, seed):
    draw = torch.Generator().manual_seed(seed)
    head = ClassificationHead.from_preset(
        "auto:learned" if learned else "auto",
        features,
        classes,
        class_counts=torch.randint(1, 100, (classes,), generator=draw),
        nonnegative_features=nonnegative,
    )
    assert head.learn_vectors == learned
    assert head.reason
    assert "auto" not in {head.spec.logits, head.spec.neck, head.spec.loss, head.spec.initial}
    x = torch.rand(8, features, generator=draw).requires_grad_()
    y = torch.randint(classes, (8,), generator=draw)
    if head.awaits_imprint:
        head.imprint(torch.rand(classes, features, generator=draw), torch.arange(classes))
    head.loss(x, y).backward()
    assert bool(torch.isfinite(x.grad).all())


def test_the_last_line_of_either_kind_fits_everything():
    for learned in (False, True):
        line = [line for line in LINES if line.learned == learned][-1]
        assert all(line.fits(case) for case in (Case(10**9, 2), Case(2, 1, nonnegative=True)))


def test_every_line_is_taken_somewhere():
    cases = [
        Case(classes, features, nonnegative)
        for classes in (3, 10, FEW, FEW + 1, 50, 100, 1000)
        for features in (2, 4, 16, 64, 256)
        for nonnegative in (False, True)
    ]
    taken = {line_for(case, learned=learned).when
             for case in cases for learned in (False, True)}  # fmt: skip
    assert taken == {line.when for line in LINES}


def test_the_loss_is_adjusted_where_the_classes_are_as_unequal_as_a_tail_of_the_study():
    for counts, loss in (
        ([500, 50, 50], "logit-adjustment"),
        ([499, 50, 50], "cross-entropy"),
        ([500, 50, 0], "cross-entropy"),  # a prior of 0 has no logarithm
    ):
        spec, _ = settle(FROZEN, Case(3, 16, counts=torch.tensor(counts)))
        assert spec.loss == loss, counts
    assert TAIL == 10


def test_what_is_given_beside_auto_stays():
    case = Case(3, 16, counts=torch.tensor([500, 5, 5]))
    assert settle(parse_head("auto@20"), case)[0].scale == 20.0
    given_loss = "vectors=auto,logits=auto,loss=focal,neck=mlp:8"
    spec, _ = settle(parse_head(given_loss), case)
    assert (spec.loss, spec.neck) == ("focal", "mlp:8")
    own = settle(parse_head("vectors=auto,logits=auto,learn=yes,initial=own"), Case(50, 4))[0]
    assert own.initial == "own"


def test_features_behind_a_neck_that_was_asked_for_may_be_negative():
    text = "vectors=auto,logits=auto,neck=linear"
    head = ClassificationHead(16, 10, **parse_head(text).arguments(), nonnegative_features=True)
    assert head.construction == "simplex"


def test_another_head_is_left_as_it_is():
    spec = HeadSpec("simplex", neck="mlp")
    assert settle(spec, Case(3, 16)) == (spec, None)


@pytest.mark.parametrize("text", ["vectors=simplex,logits=auto", "vectors=auto,neck=auto"])
def test_switches_are_left_to_auto_only_with_the_vectors_and_the_logits(text):
    with pytest.raises(RequestError, match="auto"):
        parse_head(text)


def test_a_head_that_an_earlier_auto_was_is_read_as_it_was():
    recorded = (
        "vectors=auto,logits=cosine,scale=auto,bias=no,learn=no,neck=none,loss=cross-entropy,"
        "reweight=never,code_width=auto"
    )
    assert str(parse_head(recorded)) == recorded
    counts = torch.tensor([1000, *[1] * 39])
    head = ClassificationHead(
        64, 40, **parse_head(recorded).arguments(), class_counts=counts, nonnegative_features=True
    )
    assert (head.construction, head.neck_name, head.loss_name.name) == (
        "nonnegative_orthogonal", "none", "cross-entropy",
    )  # fmt: skip
