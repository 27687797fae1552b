"""A head whose class vectors are never stored: what it saves, loads, refuses and announces."""

import copy
import io
import json
import pickle
import time
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn

from fixhead import (
    ClassificationHead,
    RequestError,
    geometry,
    swap_head,
    unswap,
)
from fixhead import (
    many_classes as scale,
)
from fixhead.heads import parse_head
from fixhead.many_classes import PerformanceWarning

K, D = 3000, 64


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(seed=0, **switches):
    generator = torch.Generator().manual_seed(seed)
    return ClassificationHead(
        D, K, **{"vectors": "implicit", "scale": 9.0, **switches}, generator=generator
    )


def answers(head):
    x, labels = draw(5, head.features), torch.tensor([0, 1, K - 1, 1000, 7])
    return head.loss(x, labels), head.topk(x, 3).values


def assert_same(a, b):
    for one, other in zip(answers(a), answers(b), strict=True):
        assert torch.equal(one, other)


def test_a_million_classes_take_a_second_and_their_state_a_few_hundred_bytes():
    start = time.process_time()
    head = ClassificationHead(512, 1_000_000, vectors="implicit")
    assert time.process_time() - start < 8
    state = head.state_dict()
    assert sum(value.nbytes for value in state.values()) < 1000
    assert sum(value.nbytes for value in head.buffers()) <= 1_000_000 / 8 + 1000
    assert list(head.parameters()) == []
    x = draw(2, 512).requires_grad_()
    loss = head.loss(x, torch.tensor([3, 999_999]))
    loss.backward()
    own = head.class_vectors.rows(torch.tensor([3, 999_999]))
    cosines = (x.detach() * own).sum(dim=1) / x.detach().norm(dim=1)
    rest = scale.log_sum_exp(
        x.detach(), head.class_vectors, logits="cosine", scale=float(head.scale)
    )
    torch.testing.assert_close(loss.detach(), (rest - head.scale * cosines).mean())


@pytest.mark.parametrize("word", ["implicit", "implicit:random"])
def test_the_code_of_a_checkpoint_replaces_the_own_one(word):
    head, other = made(1, vectors=word), made(2, vectors=word)
    assert not torch.equal(head.class_vectors.rows(torch.arange(9)), other.vectors[:9])
    other.load_state_dict(load(save(head.state_dict())))
    assert_same(head, other)
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    third = made(3, vectors=word)
    third.load_state_dict(torch.load(file, weights_only=True))
    assert_same(head, third)


def test_columns_of_a_longer_code_are_saved_too():
    heads = [
        ClassificationHead(48, 500, vectors="implicit", scale=9.0, generator=g)
        for g in (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))
    ]
    assert not torch.equal(heads[0].vectors, heads[1].vectors)
    heads[1].load_state_dict(heads[0].state_dict())
    assert torch.equal(heads[0].vectors, heads[1].vectors)


def altered(state, **changes):
    facts = json.loads(bytes(state["_extra_state"].tolist()))
    facts["code"].update(changes)
    text = bytearray(json.dumps(facts).encode())
    return state | {"_extra_state": torch.frombuffer(text, dtype=torch.uint8)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"signs": "0" * 16}, "does not match its own digest"),
        ({"signs": "zz"}, "cannot be read"),
        ({"signs": "f" * 40}, "cannot be read"),
        ({"family": "nobody"}, "no family"),
        ({"classes": 10**9}, "cannot be read"),
        ({"m": "six"}, "cannot be read"),
    ],
)
def test_a_checkpoint_whose_code_was_altered_is_refused_and_changes_nothing(changes, words):
    head, other = made(1), made(2)
    with pytest.raises(RequestError, match=words):
        other.load_state_dict(altered(head.state_dict(), **changes))
    assert_same(other, made(2))


@pytest.mark.parametrize(
    "switches", [{"vectors": "codes"}, {"vectors": "implicit:random"}, {"code_width": 128}]
)
def test_a_checkpoint_of_another_head_is_refused(switches):
    with pytest.raises(RequestError, match="checkpoint holds a head"):
        made(**switches).load_state_dict(made().state_dict())


def test_copies_and_pickles_give_the_same_answers():
    head = made(1, code_width=128, bias=True)
    assert_same(head, copy.deepcopy(head))
    assert_same(head, pickle.loads(pickle.dumps(head)))
    twin = copy.deepcopy(head)
    assert twin.class_vectors.bits.data_ptr() == twin._codes.bits.data_ptr()
    assert twin._codes.bits.data_ptr() != head._codes.bits.data_ptr()


def test_the_bits_follow_the_head_to_other_types_and_devices():
    head = made(1)
    before = answers(head)
    head.to(torch.bfloat16)
    assert head._codes.bits.dtype == torch.uint8
    assert head.vectors.dtype == torch.bfloat16
    torch.testing.assert_close(head.float().loss(draw(5, D), torch.arange(5)), made(1).loss(
        draw(5, D), torch.arange(5)), rtol=1e-2, atol=1e-2)  # fmt: skip
    head.scale.copy_(made(1).scale)
    assert torch.equal(answers(head)[0], before[0])
    assert made().to("meta").class_vectors.bits.device.type == "meta"


@pytest.mark.parametrize("word", ["implicit", "implicit:random", "implicit:kerdock"])
def test_growing_leaves_the_old_vectors_in_place(word):
    head = ClassificationHead(D, 100, vectors=word, scale=9.0, bias=True)
    old = head.vectors
    for classes in (101, 700, 2000):
        head.grow(classes)
        assert head.classes == classes
        assert head.vectors.shape == (classes, D)
        assert torch.equal(head.vectors[:100], old)
        assert head.bias.shape == (classes,)
        head.loss(draw(2, D), torch.tensor([0, classes - 1])).backward()
    other = ClassificationHead(D, 2000, vectors=word, scale=9.0, bias=True)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.vectors, head.vectors)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(2, 900),
    st.integers(1, 900),
    st.sampled_from([16, 24, 32, 64]),
    st.sampled_from(["implicit", "implicit:random"]),
)
def test_a_grown_code_is_the_longer_one_or_is_refused(classes, more, features, word):
    head = ClassificationHead(features, classes, vectors=word, scale=9.0)
    old = head.vectors
    try:
        head.grow(classes + more)
    except RequestError:
        assert word == "implicit"
        assert head.classes == classes
        assert torch.equal(head.vectors, old)
    else:
        assert torch.equal(head.vectors[:classes], old)
        assert head.vectors.shape == (classes + more, features)
        if word == "implicit":  # drawn signs of few columns may repeat themselves
            assert len(torch.unique(head.vectors, dim=0)) == classes + more


def test_kerdocks_one_hot_tail_does_not_grow_into_another_family():
    head = ClassificationHead(64, 2100, vectors="implicit", scale=9.0)
    with pytest.raises(RequestError, match="without moving them"):
        head.grow(2200)
    assert head.vectors.shape == (2100, 64)


def test_a_linear_layer_is_made_on_request_and_announced():
    head = made(1, logits="dot", scale=2.0, code_width=128, bias=True)
    with pytest.warns(PerformanceWarning, match="stores all"):
        layer = head.to_linear()
    x = draw(4, D)
    torch.testing.assert_close(layer(x), head(x), atol=1e-5, rtol=1e-5)
    with pytest.warns(PerformanceWarning):
        ranking = made(1).to_linear(keep="ranking")
    assert torch.equal(ranking(x).argmax(dim=1), made(1)(x).argmax(dim=1))


def test_many_logits_and_all_vectors_are_announced_by_name():
    head = ClassificationHead(32, 200_000, vectors="implicit:random", scale=9.0)
    with pytest.warns(PerformanceWarning, match=r"32 x 200,000 logits"):
        head(draw(32, 32))
    with pytest.warns(PerformanceWarning, match=r"200,000 x 32 class vectors"):
        assert head.vectors.shape == (200_000, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head.loss(draw(64, 32), torch.arange(64))
        head.topk(draw(64, 32))
        made()(draw(3, D))


def test_the_automatic_scale_is_that_of_the_stored_vectors():
    for classes, features in ((1000, 64), (300, 48), (2109, 64), (500, 16)):
        head = ClassificationHead(features, classes, vectors="implicit")
        same = geometry.scale_auto(head.vectors)
        assert float(head.scale) == pytest.approx(same, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "features"), [(20_000, 64), (50_000, 200)])
def test_the_automatic_scale_of_many_classes_is_that_of_the_stored_vectors(classes, features):
    code = scale.implicit(classes, features)
    assert geometry.scale_auto(code) == pytest.approx(geometry.scale_auto(code.dense()), rel=1e-3)


@pytest.mark.parametrize("probability", [0, 1, True, "0.9", float("nan")])
def test_the_automatic_scale_refuses_what_is_no_probability(probability):
    with pytest.raises((RequestError, TypeError)):
        geometry.scale_auto(scale.implicit(100, 32), probability)


def test_the_certificate_is_that_of_the_code():
    found, stored = (
        ClassificationHead(32, 300, vectors=word, scale=9.0).certificate()
        for word in ("implicit", "codes")
    )
    assert found.abs_cosine_max == pytest.approx(stored.abs_cosine_max, abs=1e-6)
    assert (found.classes, found.features, found.distinct) == (300, 32, 300)


def test_logits_go_through_the_compiler_and_the_exporter():
    head = made(1, code_width=128)
    x = draw(4, D)
    exported = torch.export.export(head, (x,))
    torch.testing.assert_close(exported.module()(x), head(x))
    targets = [str(node.target) for node in exported.graph.nodes]
    assert "fixhead.all_logits.default" in targets


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_compiled_loss_is_the_loss():
    head = made(1, code_width=128)
    x, labels = draw(4, D).requires_grad_(), torch.arange(4)
    torch.compiler.reset()
    logits = torch.compile(head, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(logits(x), head(x))
    compiled = torch.compile(head.loss, backend="aot_eager", fullgraph=True)
    found = torch.autograd.grad(compiled(x, labels), [x, head.code_map])
    true = torch.autograd.grad(head.loss(x, labels), [x, head.code_map])
    for ours, theirs in zip(found, true, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_it_learns():
    head = ClassificationHead(32, 500, vectors="implicit", code_width=256, scale=20.0)
    x, labels = draw(64, 32), torch.arange(64)
    x.requires_grad_()
    optimizer = torch.optim.Adam([x, *head.parameters()], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(x, labels).backward()
        optimizer.step()
    assert (head.topk(x).classes[:, 0] == labels).all()


def test_a_model_gets_one_and_gives_the_old_layer_back():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).bfloat16()
    old = model[3]
    report = swap_head(model, "vectors=implicit,code_width=64,scale=20", classes=5000)
    assert model[3].classes == 5000
    assert report.trainable_after == 64 * 32
    labels = torch.randint(5000, (6,), generator=torch.Generator().manual_seed(1))
    model[3].loss(model[:3](draw(6, 64).bfloat16()), labels).backward()
    assert model[3].code_map.grad.isfinite().all()
    unswap(model)
    assert model[3] is old
    assert old.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        ({"vectors": "implicit:gold"}, r"no gold family at features=64"),
        ({"vectors": "implicit:kerdock", "classes": 2113}, "classes <= 2112.*delsarte-goethals"),
        ({"vectors": "implicit:nobody"}, "variants implicit:gold"),
        ({"learn_vectors": True}, "never stored"),
        ({"features": 8}, "at least 16 dimensions"),
        ({"loss": "focal"}, "loss without logits"),
        ({"code_width": 32}, "at least the size of the features, 64"),
        ({"code_width": 0}, "above 0"),
        ({"code_width": 12.5}, "above 0"),
        ({"vectors": "random", "learn_vectors": True, "code_width": 128}, "fixed class vectors"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(switches, words):
    given = {"features": D, "classes": K, "vectors": "implicit"} | switches
    with pytest.raises(RequestError, match=words):
        ClassificationHead(**given)


def test_labels_out_of_range_and_features_that_are_not_finite_are_named():
    head = ClassificationHead(512, 1_000_000, vectors="implicit", scale=20.0)
    with pytest.raises(RequestError, match="label 1000000 at position 1"):
        head.loss(draw(2, 512), torch.tensor([0, 1_000_000]))
    x = draw(2, 512)
    x[1, 3] = torch.nan
    for ask in (lambda: head.loss(x, torch.arange(2)), lambda: head.topk(x), lambda: head(x)):
        with pytest.raises(RequestError, match="row 1"):
            ask()


@pytest.mark.parametrize(
    "text", ["vectors=implicit", "vectors=implicit:random,code_width=256,scale=20,neck=batchnorm"]
)
def test_a_spec_says_it(text):
    spec = parse_head(text)
    assert parse_head(str(spec)) == spec
    head = ClassificationHead.from_preset(text, 32, 400).eval()
    assert head(draw(2, 32)).shape == (2, 400)


def test_a_spec_refuses_a_code_that_learns():
    with pytest.raises(RequestError, match="never stored"):
        parse_head("vectors=implicit,learn=yes")
    with pytest.raises(RequestError, match="code_width"):
        parse_head("vectors=codes,code_width=many")
