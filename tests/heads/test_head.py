import copy
import math
import pickle

import pytest
import torch
from safetensors.torch import load, save
from torch.nn.functional import cross_entropy, linear, normalize

from fixhead import ClassificationHead, RequestError
from fixhead.heads import PRESETS, parse_head
from fixhead.vectors import build

K, D = 10, 16


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("construction", ["random", "simplex", "orthonormal", "hadamard"])
@pytest.mark.parametrize("logits", ["dot", "cosine"])
@pytest.mark.parametrize("learn", [False, True])
def test_logits_are_the_formula_over_the_construction(construction, logits, learn):
    head = ClassificationHead(
        D, K, vectors=construction, logits=logits, scale=3.0, learn_vectors=learn,
        generator=generator(),
    )  # fmt: skip
    W = build(construction, K, D, generator=generator())
    x = draw(5, D)
    expected = 3 * linear(x, W) if logits == "dot" else 3 * linear(normalize(x), normalize(W))
    torch.testing.assert_close(head(x), expected, atol=1e-5, rtol=1e-5)


def test_frozen_vectors_are_a_buffer_and_learned_ones_a_parameter():
    frozen = ClassificationHead(D, K, vectors="random")
    learned = ClassificationHead(D, K, vectors="random", learn_vectors=True)
    assert "vectors" in dict(frozen.named_buffers())
    assert list(frozen.parameters()) == []
    assert [name for name, _ in learned.named_parameters()] == ["vectors"]
    assert "vectors" in frozen.state_dict()


def test_frozen_and_learned_arms_start_from_identical_vectors():
    frozen = ClassificationHead.from_preset("random-cosine", D, K, generator=generator(3))
    learned = ClassificationHead.from_preset("learned-cosine", D, K, generator=generator(3))
    paired = ClassificationHead.from_preset("learned-dot:paired", D, K, generator=generator(3))
    assert torch.equal(frozen.vectors, learned.vectors)
    assert torch.equal(frozen.vectors, paired.vectors)


def test_the_learned_dot_head_draws_from_linears_own_distribution():
    head = ClassificationHead.from_preset("learned-dot", 400, 50)
    bound = 1 / math.sqrt(400)
    assert head.vectors.abs().max() <= bound
    assert head.vectors.abs().max() > 0.99 * bound
    assert head.vectors.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert head.bias.abs().max() <= bound


def test_the_automatic_scale_gives_a_perfect_feature_probability_099_on_a_simplex():
    head = ClassificationHead(D, K, vectors="simplex", scale="auto")
    W = head.vectors
    probabilities = torch.softmax(head(W.double().float()), dim=1).diagonal()
    torch.testing.assert_close(probabilities, torch.full((K,), 0.99), atol=1e-4, rtol=0)
    # ln(99 · 9) / (1 + 1/9): the closed form for a simplex
    assert head.scale.item() == pytest.approx(
        math.log(0.99 / 0.01 * (K - 1)) / (1 + 1 / 9), rel=1e-4
    )


def test_the_learned_scale_starts_where_hoffer_et_al_start():
    assert ClassificationHead.from_preset("orthonormal", D, K).scale.item() == 10.0
    # 1/√K on ±1 rows of length √d
    hadamard = ClassificationHead.from_preset("hadamard", D, K).scale.item()
    assert hadamard == pytest.approx(math.sqrt(D) / math.sqrt(K))


def test_loss_is_cross_entropy_of_the_logits():
    head = ClassificationHead(D, K, vectors="random", scale=5.0)
    x, y = draw(7, D), torch.arange(7)
    torch.testing.assert_close(head.loss(x, y), cross_entropy(head(x), y))


def test_a_head_comes_back_from_safetensors_whole():
    head = ClassificationHead(D, K, vectors="random", scale="auto", generator=generator(1))
    other = ClassificationHead(D, K, vectors="random", scale="auto", generator=generator(2))
    assert not torch.equal(head.vectors, other.vectors)
    other.load_state_dict(load(save(head.state_dict())))
    assert torch.equal(head.vectors, other.vectors)
    assert torch.equal(head.scale, other.scale)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"vectors": "orthonormal"}, "orthonormal"),
        ({"classes": K - 1}, "9 classes"),
        ({"features": D + 1}, "17 features"),
        ({"logits": "dot", "scale": 2.0}, "dot"),
        ({"learn_vectors": True}, "learned"),
    ],
)
def test_a_checkpoint_of_another_head_is_refused_and_changes_nothing(change, word):
    saved = ClassificationHead(D, K, vectors="simplex", generator=generator(1)).state_dict()
    arguments = {"features": D, "classes": K, "vectors": "simplex"} | change
    head = ClassificationHead(**arguments)
    before = head.vectors.clone()
    with pytest.raises(RequestError, match=word):
        head.load_state_dict(saved)
    assert torch.equal(head.vectors, before)


def test_a_checkpoint_whose_frozen_vectors_were_altered_is_refused():
    head = ClassificationHead(D, K, vectors="random")
    saved = head.state_dict()
    saved["vectors"] = saved["vectors"] + 1e-3
    with pytest.raises(RequestError, match="digest"):
        head.load_state_dict(saved)


def test_an_unreadable_description_is_refused():
    head = ClassificationHead(D, K, vectors="random")
    saved = head.state_dict()
    saved["_extra_state"] = torch.tensor([1, 2, 255], dtype=torch.uint8)
    with pytest.raises(RequestError, match="description"):
        head.load_state_dict(saved)


def test_the_digest_follows_the_stored_type():
    head = ClassificationHead(D, K, vectors="random").to(torch.bfloat16)
    other = ClassificationHead(D, K, vectors="random", generator=generator(5)).to(torch.bfloat16)
    other.load_state_dict(head.state_dict())
    assert torch.equal(head.vectors, other.vectors)


@pytest.mark.parametrize("copy_of", [copy.deepcopy, lambda head: pickle.loads(pickle.dumps(head))])
def test_copies_give_the_same_logits(copy_of):
    head = ClassificationHead(D, K, vectors="simplex", bias=True)
    x = draw(3, D)
    assert torch.equal(copy_of(head)(x), head(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_trains_finite_gradients_on_zero_features(dtype):
    head = ClassificationHead(D, K, vectors="simplex", learn_vectors=True)
    x = torch.zeros(4, D, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        head.loss(x, torch.arange(4)).backward()
    assert bool(torch.isfinite(x.grad).all())
    assert bool(torch.isfinite(head.vectors.grad).all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logits": "euclid"}, "'dot' or 'cosine'"),
        ({"scale": 0}, "above 0"),
        ({"scale": float("nan")}, "above 0"),
        ({"scale": "big"}, "'auto' or 'learned'"),
        ({"scale": True}, "'auto' or 'learned'"),
        ({"logits": "dot", "scale": "auto"}, "needs cosine"),
        ({"scale": 2.0, "initial_scale": 3.0}, "needs scale='learned'"),
        ({"vectors": "no-such"}, "no-such"),
        ({"vectors": torch.zeros(3, 3)}, r"\(10, 16\)"),
        ({"vectors": torch.full((K, D), float("nan"))}, "row 0"),
        ({"vectors": "simplex", "features": 5}, "simplex"),
    ],
)
def test_a_switch_without_such_a_position_is_refused(arguments, message):
    arguments = {"features": D, "classes": K} | arguments
    with pytest.raises(RequestError, match=message):
        ClassificationHead(**arguments)


def test_features_of_another_size_are_refused_by_shape():
    with pytest.raises(RequestError, match=r"\(N, 16\), got \(2, 3\)"):
        ClassificationHead(D, K)(torch.zeros(2, 3))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds_trains_and_says_itself(preset):
    head = ClassificationHead.from_preset(preset, D, K)
    x = draw(6, D).requires_grad_()
    head.loss(x, torch.arange(6)).backward()
    assert float(x.grad.abs().sum()) > 0
    assert str(K) in repr(head)
    assert parse_head(preset).sentence.count("=") == 5


@pytest.mark.parametrize(
    ("name", "scale"),
    [("random-cosine@20", 20.0), ("learned-cosine@auto", "auto"), ("simplex@learned", "learned")],
)
def test_a_scale_follows_the_at_sign(name, scale):
    assert parse_head(name).scale == scale


@pytest.mark.parametrize(
    "name", ["", "nothing", "random-cosine@", "random-cosine@x", "random-cosine@-1",
             "random-cosine@inf", "random-dot@auto", "learned-cosine:paired"],
)  # fmt: skip
def test_a_name_that_means_nothing_is_refused(name):
    with pytest.raises(RequestError):
        parse_head(name)


def test_the_global_random_state_is_untouched():
    before = torch.random.get_rng_state()
    for preset in PRESETS:
        ClassificationHead.from_preset(preset, D, K)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_head_compiles_to_one_graph_and_exports():
    head = ClassificationHead(D, K, vectors="simplex", bias=True)
    x = draw(4, D)
    exported = torch.export.export(head, (x,))
    torch.testing.assert_close(exported.module()(x), head(x))
    compiled = torch.compile(head, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), head(x))
