"""Vectors as sums of code rows: the inherited suite, the maps' gradients, choices, heads."""

import json

import pytest
import torch
from agreement import Agreement, plain_loss, relative
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from fixhead import ClassificationHead, RequestError
from fixhead import many_classes as scale
from fixhead.heads import parse_head
from fixhead.many_classes import PerformanceWarning, StagedVectors, in_stages
from fixhead.many_classes.staged import _distinct, drawn_stages, nearest_sums, stage_code


def drawn(classes, features, stages=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(classes)
    made = drawn_stages(classes, features, stages, generator=generator, dtype=dtype)
    spread = torch.linspace(0.3, 2.0, made.maps.shape[1]).view(1, -1, 1)  # rows of unequal length
    return StagedVectors(made.maps * spread.to(dtype), made.choices, made.code)


class TestStaged(Agreement):
    times = 6  # logits of 100 are sums of three rounded numbers, which may be larger

    def make(self, classes, features):
        return drawn(classes, features)

    def matrix(self, made):
        return made.dense()


OPTIONS = [
    {"scale": 3.0},
    {"logits": "cosine", "scale": 20.0},
    {"logits": "cosine", "scale": 20.0, "cosface": 0.2},
    {"logits": "cosine", "scale": 9.0, "label_smoothing": 0.2},
    {"scale": 2.0, "bias": torch.linspace(-2, 2, 300)},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("small", [False, True])
def test_the_maps_get_the_gradient_that_decoded_rows_give_them(options, small, monkeypatch):
    made = drawn(300, 12, dtype=torch.float64)
    if small:  # strips of features and chunks of classes
        monkeypatch.setattr("fixhead.many_classes.quantised.STRIP", 16)
        monkeypatch.setattr("fixhead.many_classes.quantised.CELLS", 1)
        monkeypatch.setattr("fixhead.many_classes.staged.CELLS", 1000)
    draws = torch.Generator().manual_seed(2)
    x = torch.randn(70, 12, generator=draws, dtype=torch.float64)
    labels = torch.randint(300, (70,), generator=draws)
    labels[5] = -100
    code = made.code.dense(torch.float64)

    def of_maps(function, decoded):
        maps = made.maps.clone().requires_grad_()
        bias = options.get("bias")
        leaves = [x.clone().requires_grad_(), maps]
        leaves += [] if bias is None else [bias.double().requires_grad_()]
        W = StagedVectors(maps, made.choices, made.code)
        if decoded:
            W = sum(code[made.choices[:, r].long()] @ maps[r] for r in range(3))
        given_ = {**options, **({} if bias is None else {"bias": leaves[2]})}
        loss = function(leaves[0], W, labels, **given_)
        return [loss, *torch.autograd.grad(loss, leaves)]

    exact = of_maps(plain_loss, decoded=True)
    for found, true in zip(of_maps(scale.linear_cross_entropy, decoded=False), exact, strict=True):
        assert relative(found, true) < 1e-11


@given(st.integers(2, 200), st.integers(1, 20), st.booleans(), st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_logits_looked_up_and_their_gradients_are_those_of_decoded_rows(
    classes, rows, unit, stages
):
    made = drawn(classes, 8, stages, torch.float64)
    draws = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, 8, generator=draws, dtype=torch.float64).requires_grad_()
    pull = torch.randn(rows, classes, generator=draws, dtype=torch.float64)
    maps = made.maps.clone().requires_grad_()
    W = StagedVectors(maps, made.choices, made.code, unit_rows=unit)
    decoded = W.rows(torch.arange(classes), torch.float64)
    answers = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fixhead.many_classes.staged.DECODED", 0)
        found = W.matmul(x)
    torch.testing.assert_close(W.matmul(x), found)
    for logits in (found, x @ decoded.T):
        grads = torch.autograd.grad((pull * logits).sum(), [x, maps], retain_graph=True)
        answers.append([logits, *grads])
    for one, true in zip(*answers, strict=True):
        torch.testing.assert_close(one, true, rtol=1e-11, atol=1e-11)
    k = min(3, classes)
    top = scale.topk(x.detach(), W, k)
    torch.testing.assert_close(top.values, answers[1][0].detach().topk(k).values)


def test_no_sum_is_longer_than_the_norm_that_is_told():
    made = drawn(400, 24)
    assert float(made.dense().norm(dim=1).max()) <= made.norm * (1 + 1e-6)
    assert made.unit().norm == 1.0
    torch.testing.assert_close(made.unit().dense().norm(dim=1), torch.ones(400))


def test_a_row_is_the_sum_of_rows_of_the_code_behind_their_maps():
    made = drawn(20, 8)
    code = made.code.dense(torch.float64)
    maps = made.maps.double()
    true = [
        sum(code[int(row)] @ one for row, one in zip(word, maps, strict=True))
        for word in made.choices
    ]
    torch.testing.assert_close(made.dense().double(), torch.stack(true), rtol=1e-5, atol=1e-6)


def test_more_stages_come_nearer_to_given_rows():
    rows = torch.randn(250, 8, generator=torch.Generator().manual_seed(1))
    errors = [float((in_stages(rows, r).dense() - rows).square().mean()) for r in (1, 2, 4)]
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2]
    assert errors[1] < 0.15


def test_choosing_anew_never_comes_less_near():
    draws = torch.Generator().manual_seed(3)
    tables = torch.randn(3, 17, 6, generator=draws)
    rows = torch.randn(50, 6, generator=draws)
    first = torch.randint(17, (50, 3), generator=draws, dtype=torch.int16)

    def errors(choices):
        sums = sum(tables[r][choices[:, r].long()] for r in range(3))
        return (rows - sums).square().sum(dim=1)

    found = nearest_sums(rows, tables, first)
    assert bool((errors(found) <= errors(first) + 1e-5).all())
    assert float(errors(found).mean()) < 0.5 * float(errors(first).mean())
    one = nearest_sums(rows, tables[:1])
    assert torch.equal(one[:, 0].long(), torch.cdist(rows, tables[0]).argmin(dim=1))


@given(st.integers(1, 3), st.integers(2, 5), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_drawn_rows_are_distinct_up_to_the_last_word(stages, rows, seed):
    found = _distinct(rows**stages, stages, rows, torch.Generator().manual_seed(seed))
    assert len({tuple(word) for word in found.tolist()}) == rows**stages


def test_a_code_of_a_stage_is_a_power_of_two_wide_and_always_the_same():
    sizes = {d: tuple(stage_code(d).shape) for d in (1, 8, 9, 32, 500)}
    assert sizes == {1: (256, 16), 8: (256, 16), 9: (1024, 32), 32: (4096, 64), 500: (4096, 512)}
    assert stage_code(9).digest() == stage_code(16).digest()


SPEC = "vectors=stages:3,learn=yes,scale=9"


def head(classes=300, features=16, spec=SPEC, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return ClassificationHead.from_preset(spec, features, classes, generator=draws)


def test_a_head_learns_maps_and_says_so():
    made = head()
    assert made.construction == "stages:3"
    assert [name for name, _ in made.named_parameters()] == ["maps"]
    assert made.maps.shape == (3, 32, 16)
    assert made.choices.shape == (300, 3)
    assert made.choices.dtype == torch.int16
    assert parse_head(str(parse_head(SPEC))) == parse_head(SPEC)
    x, labels = torch.randn(5, 16), torch.arange(5)
    made.loss(x, labels).backward()
    assert made.maps.grad.any()
    assert made.certificate().classes == 300
    assert torch.equal(head(seed=3).choices, head(seed=3).choices)
    assert made.double().loss(x.double(), labels).dtype == torch.float64


def test_loss_without_logits_and_with_them_agree_in_a_head(monkeypatch):
    made = head()
    x, labels = torch.randn(40, 16), torch.randint(300, (40,))
    first = made.loss(x, labels)
    (one,) = torch.autograd.grad(first, made.maps)
    found = made(x).topk(2).indices
    monkeypatch.setitem(scale.vectors.MANY_LOGITS, "cpu", 1)
    second, right = made.loss_and_hits(x, labels)
    (other,) = torch.autograd.grad(second, made.maps)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert torch.equal(made.topk(x, 2).classes, found)
    assert torch.equal(right, found[:, 0] == labels)


def test_a_state_holds_maps_and_rows_and_checks_them():
    made, other = head(seed=1), head(seed=2)
    state = made.state_dict()
    assert sorted(state) == ["_extra_state", "choices", "maps", "scale"]
    other.load_state_dict(state)
    assert torch.equal(other.choices, made.choices)
    assert torch.equal(other.vectors, made.vectors)
    with pytest.raises(RequestError, match="bytes of the classes"):
        head().load_state_dict({**state, "choices": state["choices"].roll(1, 0)})
    with pytest.raises(RequestError, match="learned stages:3 vectors"):
        head(spec="vectors=stages:4,learn=yes,scale=9").load_state_dict(state)
    facts = json.loads(bytes(state["_extra_state"].tolist()))
    facts["code"]["family"] = "another"
    foreign = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
    with pytest.raises(RequestError, match="another code"):
        head().load_state_dict({**state, "_extra_state": foreign})


def test_imprinting_sets_maps_and_rows_to_the_class_means():
    means = normalize(torch.randn(300, 16, generator=torch.Generator().manual_seed(7)))
    made = head(spec=f"{SPEC},initial=imprint")
    made.imprint(means, torch.arange(300))
    assert float(torch.cosine_similarity(made.vectors, means, dim=1).mean()) > 0.9
    assert float((made(means).argmax(dim=1) == torch.arange(300)).float().mean()) > 0.95


def test_reassigning_moves_classes_nearer_and_leaves_maps():
    made = head()
    maps, some = made.maps.detach().clone(), torch.tensor([5, 7, 200])
    target = head(seed=9).vectors[some]
    others = [k for k in range(300) if k not in some.tolist()]
    kept, before = made.choices[others].clone(), made.vectors[some]
    assert made.reassign(normalize(target), some) == 3
    assert torch.equal(made.choices[others], kept)
    apart = torch.cosine_similarity(made.vectors[some], target, dim=1)
    assert bool((apart > torch.cosine_similarity(before, target, dim=1)).all())
    assert float(apart.min()) > 0.7
    assert torch.equal(made.maps, maps)
    assert made.reassign(torch.zeros(300, 16)) == 0  # no mean, no change


def test_a_linear_with_the_same_ranking_can_be_made():
    made, x = head(), torch.randn(30, 16)
    with pytest.warns(PerformanceWarning, match="stores none"):
        layer = made.to_linear(keep="ranking")
    assert torch.equal(layer(x).argmax(dim=1), made(x).argmax(dim=1))


def to_imprint():
    return head(spec=f"{SPEC},initial=imprint")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: head(300, 4, "vectors=stages:1,learn=yes"), "at most 256 classes apart.*stages:2"),
        (lambda: head(spec="vectors=stages:4"), "maps that are learned, got learn=no"),
        (lambda: head(spec="vectors=stages,learn=yes"), "as stages:4, got 'stages'"),
        (lambda: head(spec="vectors=stages:17,learn=yes"), "1 to 16"),
        (lambda: head().grow(400), "vectors that can go on"),
        (lambda: head().reassign(torch.ones(3, 8)), r"means \(300, 16\), got \(3, 8\)"),
        (lambda: to_imprint().loss(torch.ones(1, 16), torch.tensor([0])), "begins from data"),
        (lambda: to_imprint().imprint(torch.zeros(9, 16), torch.arange(9)), "not all zero"),
    ],
)
def test_what_cannot_be_in_stages_is_refused(make, match):
    with pytest.raises(RequestError, match=match):
        make()


def test_maps_and_rows_that_do_not_fit_are_refused():
    made = drawn(20, 8)
    for maps, choices in ((made.maps[:2], made.choices), (made.maps, made.choices.long())):
        with pytest.raises(RequestError, match=r"maps \(R, n, d\)"):
            StagedVectors(maps, choices, made.code)
