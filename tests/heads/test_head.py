import copy
import math
import pickle

import pytest
import torch
from safetensors.torch import load, save
from torch.nn.functional import cross_entropy, linear, normalize

from fixhead import ClassificationHead, RequestError
from fixhead.heads import PRESETS, ReachabilityWarning, parse_head, split_heads
from fixhead.vectors import build

K, D = 10, 16
COUNTS = [100, 80, 60, 50, 40, 30, 20, 10, 5, 2]


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
        ({"logits": "euclid"}, "one of cosine, dot"),
        ({"scale": 0}, "above 0"),
        ({"scale": float("nan")}, "above 0"),
        ({"scale": "big"}, "'auto' or 'learned'"),
        ({"scale": True}, "'auto' or 'learned'"),
        ({"logits": "dot", "scale": "auto"}, "needs cosine"),
        ({"scale": "learned:0"}, "'learned'"),
        ({"neck": "tie"}, "tie"),
        ({"neck": "batchnorm:3"}, "keeps the size"),
        ({"loss": "hope"}, "hope"),
        ({"loss": "cosface:big"}, "number"),
        ({"loss": "cosface", "logits": "dot", "scale": 1.0}, "needs logits='cosine'"),
        ({"loss": "arcface", "bias": True}, "bias"),
        ({"loss": "balanced-softmax"}, "class_counts"),
        ({"loss": "dot-regression:global"}, "class_counts"),
        ({"loss": "ldam", "class_counts": [0] + [5] * 9}, "count"),
        ({"class_counts": [1, 2, 3]}, "class_counts"),
        ({"reweight": 3}, "class_counts"),
        ({"vectors": "guided"}, "class_counts"),
        ({"vectors": "simplex:wobbly"}, "simplex:canonical"),
        ({"classes": 1}, "classes"),
        ({"features": 0}, "features"),
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
    head = ClassificationHead.from_preset(preset, D, K, class_counts=COUNTS)
    x = draw(6, D).requires_grad_()
    head.loss(x, torch.arange(6)).backward()
    assert float(x.grad.abs().sum()) > 0
    assert str(K) in repr(head)
    assert parse_head(str(parse_head(preset))) == parse_head(preset)


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
        ClassificationHead.from_preset(f"{preset}", D, K, class_counts=COUNTS)
    ClassificationHead(D, K, neck="mlp:32")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_head_compiles_to_one_graph_and_exports():
    head = ClassificationHead(D, K, vectors="simplex", bias=True)
    x = draw(4, D)
    exported = torch.export.export(head, (x,))
    torch.testing.assert_close(exported.module()(x), head(x))
    compiled = torch.compile(head, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), head(x))


def test_loss_and_logits_come_from_one_pass_and_agree_with_the_two():
    for preset in PRESETS:
        head = ClassificationHead.from_preset(preset, D, K, class_counts=COUNTS).eval()
        x, y = draw(8, D), torch.arange(8)
        loss, logits = head.loss_and_logits(x, y)
        torch.testing.assert_close(loss, head.loss(x, y))
        torch.testing.assert_close(logits, head(x))


def test_the_linear_neck_of_another_width_holds_wider_vectors():
    head = ClassificationHead(D, 200, vectors="codes", neck="linear:256")
    assert head.vectors.shape == (200, 256)
    assert head(draw(3, D)).shape == (3, 200)
    assert head.width == 256
    assert sum(p.numel() for p in head.parameters()) == 256 * D + 256


def test_the_batchnorm_neck_is_batch_normalisation_before_the_vectors():
    head = ClassificationHead(D, K, neck="batchnorm")
    x = draw(32, D)
    expected = torch.nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(head.project(x), expected)


def test_a_loss_of_the_spec_is_the_function_of_that_name():
    from fixhead import losses

    x, y = draw(8, D), torch.arange(8)
    cosface = ClassificationHead(D, K, scale=30.0, loss="cosface:0.2")
    cosines = ClassificationHead(D, K, scale=1.0)(x)
    torch.testing.assert_close(
        cosface.loss(x, y), losses.cosface(cosines, y, scale=30.0, margin=0.2)
    )
    adjusted = ClassificationHead(D, K, scale=9.0, loss="logit-adjustment:0.5", class_counts=COUNTS)
    torch.testing.assert_close(
        adjusted.loss(x, y),
        losses.logit_adjustment(adjusted(x), y, torch.tensor(COUNTS), tau=0.5),
    )


def test_dot_regression_is_half_the_squared_gap_to_cosine_one_without_lengths():
    head = ClassificationHead(D, K, loss="dot-regression:none")
    x, y = draw(8, D), torch.arange(8)
    own = torch.nn.functional.cosine_similarity(x, head.vectors[y])
    torch.testing.assert_close(head.loss(x, y), (0.5 * (1 - own) ** 2).mean())


def test_deferred_reweighting_begins_with_its_epoch():
    head = ClassificationHead(D, K, class_counts=COUNTS, reweight=3)
    x, y = draw(8, D), torch.arange(8) % 2 * 9
    plain = head.loss(x, y)
    head.begin_epoch(2)
    torch.testing.assert_close(head.loss(x, y), plain)
    head.begin_epoch(3)
    effective = (1 - 0.9999 ** torch.tensor(COUNTS)) / (1 - 0.9999)
    weights = (1 / effective) / (1 / effective).sum() * K
    expected = cross_entropy(head(x), y, weight=weights)
    torch.testing.assert_close(head.loss(x, y), expected, rtol=1e-4, atol=1e-5)


def test_mixup_targets_take_the_labels_place():
    head = ClassificationHead(D, K)
    x = draw(4, D)
    targets = torch.softmax(draw(4, K, seed=2), dim=1)
    torch.testing.assert_close(head.loss(x, targets), cross_entropy(head(x), targets))


def test_hoffers_published_hadamard_repeats_rows_and_is_minus_the_product():
    head = ClassificationHead.from_preset("hoffer-hadamard", 8, 12)
    H = torch.tensor([[(-1.0) ** bin(i & j).count("1") for j in range(8)] for i in range(12)])
    assert torch.equal(head.vectors, -H)
    assert torch.equal(head.vectors[0], head.vectors[8])  # rows have period nextpow2(d)
    assert head.scale.item() == pytest.approx(1 / math.sqrt(12))
    assert head.bias.abs().max() <= 1 / math.sqrt(12)
    x = draw(5, 8)
    torch.testing.assert_close(head(x), head.scale * normalize(x) @ -H.T + head.bias)


def test_hoffers_published_projection_has_orthonormal_columns_above_d():
    wide = ClassificationHead.from_preset("hoffer-projection", 16, 10).vectors
    torch.testing.assert_close(wide @ wide.T, torch.eye(10), atol=1e-5, rtol=0)
    tall = ClassificationHead.from_preset("hoffer-projection", 16, 40).vectors
    torch.testing.assert_close(tall.T @ tall, torch.eye(16), atol=1e-5, rtol=0)
    assert float(tall.norm(dim=1).max()) < 1


def test_auto_says_what_it_chose_and_why():
    few = ClassificationHead.from_preset("auto", 16, 10)
    assert few.construction == "simplex"
    assert few.reason
    positive = ClassificationHead.from_preset("auto", 16, 10, nonnegative_features=True)
    assert positive.construction == "nonnegative_orthogonal"


def test_out_of_reach_classes_are_warned_of_by_name():
    with pytest.warns(ReachabilityWarning, match=r"class \d+ of these simplex:canonical"):
        ClassificationHead(16, 17, vectors="simplex:canonical", nonnegative_features=True)


def test_a_rotated_simplex_on_relu_features_needs_no_warning():
    ClassificationHead(64, 10, vectors="simplex", nonnegative_features=True)


def test_a_neck_takes_the_warning_away():
    ClassificationHead(
        16, 17, vectors="simplex:canonical", neck="batchnorm", nonnegative_features=True
    )


@pytest.mark.parametrize(
    "construction", ["random", "linear", "hadamard", "one_hot", "orthonormal", "codes"]
)
@pytest.mark.parametrize("learn", [False, True])
def test_growing_leaves_the_old_classes_in_place(construction, learn):
    head = ClassificationHead(
        16, 6, vectors=construction, logits="dot", scale=1.0, bias=True, learn_vectors=learn
    )
    before, x = head.vectors.detach().clone(), draw(3, 16)
    logits = head(x)
    head.grow(11, generator=generator(4))
    assert head.vectors.shape == (11, 16)
    assert torch.equal(head.vectors[:6], before)
    torch.testing.assert_close(head(x)[:, :6], logits)
    assert len({tuple(row) for row in head.vectors.tolist()}) == 11
    assert isinstance(head.vectors, torch.nn.Parameter) == learn
    if construction in ("hadamard", "one_hot", "orthonormal"):
        gram = head.vectors @ head.vectors.T
        torch.testing.assert_close(gram, torch.eye(11), atol=1e-5, rtol=0)
    ClassificationHead(
        16, 11, vectors=construction, logits="dot", scale=1.0, bias=True, learn_vectors=learn
    ).load_state_dict(head.state_dict())


@pytest.mark.parametrize(
    ("construction", "features", "classes", "message"),
    [
        ("simplex", 16, 8, "can go on"),
        ("hadamard", 16, 17, "codes"),
        ("hadamard", 12, 8, "power of two"),
        ("orthonormal", 16, 17, "10 are left"),
        ("random", 16, 6, "more classes"),
    ],
)
def test_growth_that_would_move_the_old_vectors_is_refused(
    construction, features, classes, message
):
    head = ClassificationHead(features, 6, vectors=construction, scale=1.0)
    with pytest.raises(RequestError, match=message):
        head.grow(classes)


@pytest.mark.parametrize(
    ("text", "heads"),
    [
        ("simplex, hadamard", ("simplex", "hadamard")),
        ("vectors=codes,logits=dot,simplex@3", ("vectors=codes,logits=dot", "simplex@3")),
        ("vectors=codes,neck=mlp,vectors=random", ("vectors=codes,neck=mlp", "vectors=random")),
        ("auto;vectors=random,scale=2", ("auto", "vectors=random,scale=2")),
    ],
)
def test_heads_are_split_at_the_commas_between_them(text, heads):
    assert split_heads(text) == heads


@pytest.mark.parametrize(
    "text",
    ["vectors=random,vectors=codes", "logits=dot", "vectors=random,speed=3", "vectors=",
     "vectors=random,bias=maybe", "vectors=random,reweight=0", "vectors=random,scale=-2"],
)  # fmt: skip
def test_a_spec_that_means_nothing_is_refused(text):
    with pytest.raises(RequestError):
        parse_head(text)


def test_learned_vectors_are_said_as_learn_and_as_learn_vectors():
    spec = parse_head("vectors=random,logits=dot,learn_vectors=yes")
    assert spec == parse_head("vectors=random,logits=dot,learn=yes")
    assert spec.learn_vectors
    assert "learn=yes" in str(spec).split(",")  # as records have always said it
    with pytest.raises(RequestError, match="twice"):
        parse_head("vectors=random,learn=yes,learn_vectors=yes")


def test_a_rising_scale_goes_from_a_quarter_to_its_value():
    head = ClassificationHead(16, 10, vectors="random", scale="20:rising")
    assert float(head.scale) == 20.0  # until a run says how far it is
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    full = head(x)
    for done, scale in ((0.0, 5.0), (0.5, 12.5), (1.0, 20.0)):
        head.set_progress(done)
        assert float(head.scale) == scale
        assert torch.allclose(head(x), full * scale / 20.0, atol=1e-6)
    assert not list(head.parameters())
    assert "rising to 20" in repr(head)


def test_a_rising_scale_may_be_solved_for_and_stand_on_dot_logits():
    solved = ClassificationHead(16, 10, scale="auto")
    rising = ClassificationHead(16, 10, scale="auto:rising")
    assert torch.equal(solved.scale, rising.scale)
    rising.set_progress(0)
    assert float(rising.scale) == pytest.approx(float(solved.scale) / 4)
    dot = ClassificationHead(16, 10, vectors="random", logits="dot", scale="1:rising")
    dot.set_progress(0)
    assert float(dot.scale) == 0.25


def test_scales_that_do_not_rise_are_left_alone():
    for scale in (3.0, "learned:3", "auto"):
        head = ClassificationHead(16, 10, scale=scale)
        before = head.scale.detach().clone()
        head.set_progress(0)
        assert torch.equal(head.scale, before)
    ClassificationHead(16, 10, vectors="random", logits="dot", scale=1.0).set_progress(0)


def test_a_rising_scale_is_part_of_a_spec_and_of_a_preset():
    for text in ("learned-cosine@20:rising", "vectors=random,scale=auto:rising"):
        spec = parse_head(text)
        assert parse_head(str(spec)) == spec
    assert parse_head("learned-cosine@20:rising").scale == "20:rising"
    assert split_heads("learned-cosine@20:rising,simplex@auto:rising") == (
        "learned-cosine@20:rising",
        "simplex@auto:rising",
    )


@pytest.mark.parametrize(
    ("scale", "logits", "match"),
    [
        ("learned:rising", "cosine", "'learned', the first two also with ':rising'"),
        ("learned:3:rising", "cosine", "got 'learned:3:rising'"),
        ("fast:rising", "cosine", "got 'fast:rising'"),
        (":rising", "cosine", "got ':rising'"),
        ("-2:rising", "cosine", "finite number above 0"),
        ("20:falling", "cosine", "got '20:falling'"),
        ("auto:rising", "dot", "needs cosine logits"),
    ],
)
def test_a_scale_that_cannot_rise_is_refused(scale, logits, match):
    with pytest.raises(RequestError, match=match):
        ClassificationHead(16, 10, vectors="random", logits=logits, scale=scale)


def test_a_run_goes_on_at_the_scale_where_it_was_stopped():
    head = ClassificationHead(16, 10, vectors="random", scale="20:rising")
    head.set_progress(0.25)
    twin = ClassificationHead(16, 10, vectors="random", scale="20:rising")
    twin.load_state_dict(head.state_dict())
    assert torch.equal(twin.scale, head.scale)
    twin.set_progress(1.0)
    assert float(twin.scale) == 20.0
