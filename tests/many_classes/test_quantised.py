"""Vectors of a few bytes a class: the inherited suite, the tables' gradients, bytes and tables."""

import pytest
import torch
from agreement import Agreement, plain_loss, relative
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import ClassificationHead, RequestError
from fixhead import many_classes as scale
from fixhead.heads import parse_head
from fixhead.many_classes import PerformanceWarning, QuantisedVectors, quantise
from fixhead.many_classes.quantised import (
    distinct_choices,
    drawn_vectors,
    nearest_choices,
)


def drawn(classes, features, tables=None, dtype=torch.float32):
    tables = next(m for m in (8, 5, 4, 3, 2, 1) if features % m == 0) if tables is None else tables
    generator = torch.Generator().manual_seed(classes)
    made = drawn_vectors(classes, features, tables, generator=generator, dtype=dtype)
    spread = torch.linspace(0.3, 2.0, made.tables.shape[1]).view(1, -1, 1)  # rows of unequal length
    return QuantisedVectors(made.tables * spread, made.choices)


class TestQuantised(Agreement):
    times = 6  # logits of 100 are sums of eight rounded numbers, one after the other

    def make(self, classes, features):
        return drawn(classes, features)

    def matrix(self, made):
        return made.dense()


class TestQuantisedInSmallPieces(TestQuantised):
    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch):
        monkeypatch.setattr("fixhead.many_classes.quantised.STRIP", 16)
        monkeypatch.setattr("fixhead.many_classes.quantised.CELLS", 1)


OPTIONS = [
    {"scale": 3.0},
    {"logits": "cosine", "scale": 20.0},
    {"logits": "cosine", "scale": 20.0, "cosface": 0.2},
    {"logits": "cosine", "scale": 9.0, "label_smoothing": 0.2},
    {"scale": 2.0, "label_smoothing": 0.1},
    {"logits": "unit-features", "scale": 60.0},
    {"scale": 2.0, "bias": torch.linspace(-2, 2, 700)},
    {"logits": "cosine", "scale": 9.0, "prior": 1 + torch.arange(700)},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_tables_get_the_gradient_that_decoded_rows_give_them(options, dtype):
    made = drawn(700, 24)
    draws = torch.Generator().manual_seed(2)
    x = torch.randn(300, 24, generator=draws)
    labels = torch.randint(700, (300,), generator=draws)
    labels[5] = -100

    def of_tables(function, dtype, rows):
        tables = made.tables.to(dtype).requires_grad_()
        vectors = QuantisedVectors(tables, made.choices)
        given = {
            name: v.to(dtype).requires_grad_() if name == "bias" else v
            for name, v in options.items()
        }
        point = x.to(dtype).requires_grad_()
        W = vectors.rows(torch.arange(700), dtype) if rows else vectors
        loss = function(point, W, labels, **given)
        leaves = [point, tables, *([given["bias"]] if "bias" in given else [])]
        return [loss, *torch.autograd.grad(loss, leaves)]

    fine = 1e-6 if "prior" in options else 1e-12  # the prior's logarithm is float32
    exact = of_tables(plain_loss, torch.float64, rows=True)
    found = of_tables(scale.linear_cross_entropy, dtype, rows=False)
    for one, true in zip(found, exact, strict=True):
        assert relative(one, true) < (fine if dtype == torch.float64 else 2e-6)


def test_frozen_features_leave_the_tables_their_gradient_and_the_other_way_round():
    made = drawn(300, 16)
    x, labels = torch.randn(9, 16), torch.arange(9)
    for learned in (True, False):
        vectors = QuantisedVectors(made.tables.clone().requires_grad_(learned), made.choices)
        point = x.clone().requires_grad_(not learned)
        scale.linear_cross_entropy(point, vectors, labels).backward()
        assert (vectors.tables.grad is not None) == learned
        assert (point.grad is not None) == (not learned)


def test_no_decoded_row_is_longer_than_the_norm_that_is_told():
    made = drawn(400, 24)
    assert float(made.dense().norm(dim=1).max()) <= made.norm * (1 + 1e-6)
    assert made.unit().norm == 1.0
    torch.testing.assert_close(made.unit().dense().norm(dim=1), torch.ones(400))


def test_logits_with_gradients_are_those_of_decoded_rows():
    made = drawn(50, 16)
    vectors = QuantisedVectors(made.tables.clone().requires_grad_(), made.choices)
    x = torch.randn(4, 16)
    found = vectors.logits(x, "cosine", 3.0)
    rows = made.dense().double()
    true = 3 * torch.cosine_similarity(x.double().unsqueeze(1), rows.unsqueeze(0), dim=2)
    torch.testing.assert_close(found.detach().double(), true, rtol=1e-5, atol=1e-5)
    found.sum().backward()
    assert vectors.tables.grad.any()


@given(st.integers(2, 400), st.integers(1, 40), st.booleans(), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_logits_looked_up_and_their_gradients_are_those_of_decoded_rows(classes, rows, unit, seed):
    made = drawn(classes, 12, 4, torch.float64)
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 12, generator=draws, dtype=torch.float64).requires_grad_()
    pull = torch.randn(rows, classes, generator=draws, dtype=torch.float64)
    answers = []
    for limit in (1 << 60, 0):
        tables = made.tables.clone().requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fixhead.many_classes.quantised.DECODED", limit)
            logits = QuantisedVectors(tables, made.choices, unit_rows=unit).matmul(x)
        answers.append([logits, *torch.autograd.grad((pull * logits).sum(), [x, tables])])
    for decoded, found in zip(*answers, strict=True):
        torch.testing.assert_close(found, decoded, rtol=1e-12, atol=1e-12)


def test_no_class_vector_is_decoded_for_one_feature_among_very_many_classes(monkeypatch):
    made = head(1 << 16, 128)
    x, rows = torch.randn(1, 128), QuantisedVectors.rows
    with pytest.warns(PerformanceWarning, match="stores none"):
        stored = made.vectors.double()
    true = x.double() @ torch.nn.functional.normalize(stored).T / x.norm()

    def few(vectors, labels, dtype=torch.float32):
        assert len(labels) < 10
        return rows(vectors, labels, dtype)

    monkeypatch.setattr(QuantisedVectors, "rows", few)
    found = made.topk(x, 3)
    torch.testing.assert_close(found.values.double(), 9 * true.topk(3).values, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(made(x).double(), 9 * true, rtol=1e-4, atol=1e-4)


@given(st.integers(2, 400), st.integers(1, 40), st.integers(1, 30), st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_largest_logits_are_those_of_decoded_rows(classes, rows, k, cosine):
    made, k = drawn(classes, 12, 4), min(k, classes)
    x = torch.randn(rows, 12, generator=torch.Generator().manual_seed(rows))
    kind = "cosine" if cosine else "dot"
    found = scale.topk(x, made, k, logits=kind)
    W = made.dense().double()
    W = W / W.norm(dim=1, keepdim=True) if cosine else W
    z = (x.double() / (x.double().norm(dim=1, keepdim=True) if cosine else 1.0)) @ W.T
    torch.testing.assert_close(found.values.double(), z.topk(k).values, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        found.values.double(), z.gather(1, found.classes), rtol=1e-5, atol=1e-5
    )


def test_rows_that_are_few_per_part_are_quantised_without_loss():
    draws = torch.Generator().manual_seed(0)
    parts = torch.randn(2, 30, 4, generator=draws)  # 30 different ones in each of two parts
    pairs = torch.stack([torch.arange(900) // 30, torch.arange(900) % 30])
    rows = torch.cat([parts[0][pairs[0]], parts[1][pairs[1]]], dim=1)
    made = quantise(rows, 2)
    assert made.tables.shape == (2, 256, 4)
    torch.testing.assert_close(made.dense(), rows)


def test_more_bytes_come_nearer_and_k_means_beats_bytes_at_random():
    rows = torch.randn(3000, 16, generator=torch.Generator().manual_seed(1))
    errors = [float((quantise(rows, m).dense() - rows).square().mean()) for m in (2, 4, 8)]
    assert errors[0] > errors[1] > errors[2]
    sampled = torch.stack([rows[:256, 2 * m : 2 * m + 2] for m in range(8)])
    first = QuantisedVectors(sampled, nearest_choices(rows, sampled))
    assert errors[2] < 0.8 * float((first.dense() - rows).square().mean())


def test_bytes_chosen_are_the_nearest_by_brute_force():
    tables = torch.randn(3, 17, 2, generator=torch.Generator().manual_seed(3))
    rows = torch.randn(50, 6, generator=torch.Generator().manual_seed(4))
    found = nearest_choices(rows, tables)
    for m in range(3):
        apart = torch.cdist(rows[:, 2 * m : 2 * m + 2].double(), tables[m].double())
        assert torch.equal(found[:, m].long(), apart.argmin(dim=1))


@given(st.integers(1, 3), st.integers(2, 6), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_drawn_bytes_are_distinct_up_to_the_last_word(tables, rows, seed):
    draws = torch.Generator().manual_seed(seed)
    found = distinct_choices(rows**tables, tables, rows, draws)
    assert len({tuple(word) for word in found.tolist()}) == rows**tables
    with pytest.raises(RequestError, match="use more bytes a class"):
        distinct_choices(rows**tables + 1, tables, rows, draws)


SPEC = "vectors=quantised:4,learn=yes,scale=9"


def head(classes=300, features=16, spec=SPEC, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return ClassificationHead.from_preset(spec, features, classes, generator=draws)


def test_a_head_learns_tables_and_says_so():
    made = head()
    assert made.construction == "quantised:4"
    assert [name for name, _ in made.named_parameters()] == ["tables"]
    assert made.tables.shape == (4, 256, 4)
    assert made.choices.shape == (300, 4)
    assert made.choices.dtype == torch.uint8
    assert parse_head(str(parse_head(SPEC))) == parse_head(SPEC)
    x, labels = torch.randn(5, 16), torch.arange(5)
    made.loss(x, labels).backward()
    assert made.tables.grad.any()
    loss, logits = made.loss_and_logits(x, labels)
    torch.testing.assert_close(loss, made.loss(x, labels))
    assert logits.shape == (5, 300)
    assert made.certificate().classes == 300
    assert torch.equal(head(seed=3).choices, head(seed=3).choices)


def test_loss_without_logits_and_with_them_agree_in_a_head(monkeypatch):
    made = head()
    x, labels = torch.randn(40, 16), torch.randint(300, (40,))
    first = made.loss(x, labels)
    (one,) = torch.autograd.grad(first, made.tables)
    monkeypatch.setitem(scale.vectors.MANY_LOGITS, "cpu", 1)
    second = made.loss(x, labels)
    (other,) = torch.autograd.grad(second, made.tables)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    found = made.topk(x, 2).classes
    monkeypatch.undo()
    assert torch.equal(found, made(x).topk(2).indices)


def test_a_state_holds_tables_and_bytes_and_checks_them():
    made, other = head(seed=1), head(seed=2)
    state = made.state_dict()
    other.load_state_dict(state)
    assert torch.equal(other.choices, made.choices)
    assert torch.equal(other.vectors, made.vectors)
    spoilt = {**state, "choices": state["choices"].roll(1, 0)}
    with pytest.raises(RequestError, match="bytes of the classes"):
        head().load_state_dict(spoilt)
    with pytest.raises(RequestError, match="learned quantised:4 vectors"):
        head(spec="vectors=quantised:8,learn=yes,scale=9").load_state_dict(state)


def test_a_head_grows_by_bytes_that_no_class_has():
    made = head()
    before, tables = made.vectors, made.tables
    made.grow(340, generator=torch.Generator().manual_seed(5))
    assert made.tables is tables
    assert torch.equal(made.vectors[:300], before)
    assert len({tuple(word) for word in made.choices.tolist()}) == 340
    with pytest.raises(RequestError, match="more classes than"):
        made.grow(340)


def test_a_linear_with_the_same_ranking_can_be_made():
    made = head()
    x = torch.randn(30, 16)
    with pytest.warns(PerformanceWarning, match="stores none"):
        layer = made.to_linear(keep="ranking")
    assert torch.equal(layer(x).argmax(dim=1), made(x).argmax(dim=1))


def test_imprinting_sets_tables_and_bytes_to_the_class_means():
    draws = torch.Generator().manual_seed(7)
    means = torch.nn.functional.normalize(torch.randn(300, 16, generator=draws))
    made = head(spec=f"{SPEC},initial=imprint")
    made.imprint(means, torch.arange(300))
    cosines = torch.cosine_similarity(made.vectors, means, dim=1)
    assert float(cosines.mean()) > 0.9
    assert float((made(means).argmax(dim=1) == torch.arange(300)).float().mean()) > 0.95


def test_reassigning_moves_classes_to_the_nearest_rows_and_leaves_tables():
    made = head()
    target = head(seed=9).choices
    rows = QuantisedVectors(made.tables.detach(), target).dense()
    tables = made.tables.detach().clone()
    some = torch.tensor([5, 7, 200])
    others = [k for k in range(300) if k not in some.tolist()]
    kept = made.choices[others].clone()
    assert made.reassign(torch.nn.functional.normalize(rows[some]), some) == 3
    assert torch.equal(made.choices[others], kept)
    cosines = torch.cosine_similarity(made.vectors[some], rows[some], dim=1)
    assert float(cosines.min()) > 0.9
    assert torch.equal(made.tables, tables)
    assert made.reassign(torch.zeros(300, 16)) == 0  # no mean, no change


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: head(features=18), "features as a multiple of 4, got 18; use quantised:2"),
        (lambda: head(70_000, spec="vectors=quantised:2,learn=yes"), "at most 65,536 classes"),
        (lambda: head(spec="vectors=quantised:4"), "tables that are learned, got learn=no"),
        (lambda: head(spec="vectors=quantised,learn=yes"), "as quantised:8, got 'quantised'"),
        (lambda: head(spec="vectors=quantised:no,learn=yes"), "as quantised:8"),
        (lambda: QuantisedVectors(torch.ones(2, 3, 4), torch.ones(5, 3)), "bytes \\(K, M\\)"),
        (lambda: ClassificationHead(8, 3).reassign(torch.ones(3, 8)), "needs quantised vectors"),
        (lambda: head().reassign(torch.ones(3, 8)), r"means \(300, 16\), got \(3, 8\)"),
    ],
)
def test_what_cannot_be_quantised_is_refused(make, match):
    with pytest.raises(RequestError, match=match):
        make()
