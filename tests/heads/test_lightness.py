"""The head goes wherever a plain layer goes, and waits for no device."""

import copy
import pickle

import pytest
import torch
from torch import nn

from fixhead import ClassificationHead, RequestError

D, K = 16, 10
COUNTS = [100, 80, 60, 50, 40, 30, 20, 10, 5, 2]
SPECS = [
    "learned-dot",
    "random-cosine@20",
    "learned-cosine@20",
    "orthonormal",
    "hoffer-hadamard",
    "simplex-dr",
    "vectors=codes,neck=mlp:32,loss=cosface:0.2",
    "vectors=simplex,loss=arcface:0.3",
    "vectors=random,scale=9,loss=balanced-softmax",
    "vectors=random,scale=9,loss=ldam",
    "vectors=random,logits=dot,scale=3,loss=focal:2",
    "vectors=simplex,loss=squared-cosine",
]


def build(spec, **arguments):
    return ClassificationHead.from_preset(spec, D, K, class_counts=COUNTS, **arguments)


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, D, generator=generator), torch.arange(8)


@pytest.mark.parametrize("spec", SPECS)
def test_forward_and_loss_compile_to_one_graph(spec):
    torch.compiler.reset()  # each head is compiled anew, not as a variant of the last one
    head = build(spec)
    x, y = batch()
    compiled = torch.compile(head.loss_and_logits, fullgraph=True, backend="aot_eager")
    for got, expected in zip(compiled(x, y), head.loss_and_logits(x, y), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("spec", SPECS)
def test_nothing_waits_for_the_device(spec):
    # A meta tensor has no values: whatever reads one on the way raises.
    head = build(spec).to("meta")
    x = torch.empty(8, D, device="meta", requires_grad=True)
    loss, logits = head.loss_and_logits(x, torch.empty(8, dtype=torch.int64, device="meta"))
    loss.backward()
    assert logits.shape == (8, K)
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("spec", SPECS)
def test_the_head_exports_with_equal_outputs(spec):
    head = build(spec).eval()
    x, _ = batch()
    exported = torch.export.export(head, (x,))
    torch.testing.assert_close(exported.module()(x), head(x))


@pytest.mark.parametrize("spec", SPECS)
def test_functional_gradients_equal_autograds(spec):
    head = build(spec).eval()
    x, y = batch()
    x.requires_grad_()
    state = dict(head.named_parameters()), dict(head.named_buffers())

    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, features):
            return self.head.loss(features, y)

    named = {f"head.{name}": value for part in state for name, value in part.items()}
    functional = torch.func.grad(lambda f: torch.func.functional_call(Loss(), named, (f,)))(x)
    (plain,) = torch.autograd.grad(head.loss(x, y), x)
    torch.testing.assert_close(functional, plain)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_trains_with_finite_gradients(spec, dtype):
    head = build(spec)
    x, y = batch()
    x.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        loss = head.loss(x, y)
    loss.backward()
    exact = build(spec).double().loss(x.double(), y)
    loss, exact = float(loss.detach()), float(exact.detach())
    assert abs(loss - exact) <= 64 * torch.finfo(dtype).eps * (1 + abs(exact))
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize("spec", SPECS)
def test_copies_pickles_and_other_types_keep_the_head(spec):
    head = build(spec).eval()
    x, _ = batch()
    expected = head(x)
    assert torch.equal(copy.deepcopy(head)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(head))(x), expected)
    torch.testing.assert_close(head.double()(x.double()).float(), expected, atol=1e-4, rtol=1e-4)


def test_frozen_vectors_are_neither_normalised_nor_transposed_again():
    head = build("random-cosine@20")
    x, _ = batch()
    with torch.profiler.profile(record_shapes=True) as profile:
        head(x)
    suspects = ("norm", "copy_", "clone", "mul", "div", "sum", "square")
    for event in profile.events():
        if any(word in event.name for word in suspects):
            assert [K, D] not in [list(shape) for shape in event.input_shapes], event.name


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, 12, 3, 4, 5, 6, 7]), "12"),
        (torch.tensor([0, 1, -5, 3, 4, 5, 6, 7]), "-5"),
        (torch.arange(7), "8"),
        (torch.arange(8).float(), "labels"),
        (torch.full((8, K), 0.5), "sum"),
        (torch.zeros(8, K + 1), "10"),
    ],
)
def test_labels_that_are_none_are_refused_by_value_and_place(labels, message):
    with pytest.raises(RequestError, match=message):
        build("random-cosine@20").loss(batch()[0], labels)


@pytest.mark.parametrize("spec", SPECS)
def test_a_model_with_the_head_is_traced_symbolically_and_keeps_its_parameters(spec):
    model = nn.Sequential(nn.Linear(3, D), nn.ReLU(), build(spec)).eval()
    traced = torch.fx.symbolic_trace(model)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(traced(x), model(x))
    assert dict(traced.named_parameters()).keys() == dict(model.named_parameters()).keys()
    traced(x).square().sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())
    with pytest.raises(RequestError, match="features"):
        torch.fx.symbolic_trace(build(spec).eval())(torch.zeros(5, D + 1))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_model_with_the_head_is_traced_by_running_it(spec):
    model = nn.Sequential(nn.Linear(3, D), nn.ReLU(), build(spec)).eval()
    draws = torch.Generator().manual_seed(1)
    traced = torch.jit.trace(model, torch.randn(5, 3, generator=draws))
    other = torch.randn(7, 3, generator=draws)
    torch.testing.assert_close(traced(other), model(other))


@pytest.mark.parametrize("spec", [*SPECS, "guided", "vectors=implicit,code_width=64"])
def test_a_head_made_on_the_meta_device_is_filled_from_a_checkpoint(spec):
    with torch.device("meta"):
        head = build(spec)
    assert all(value.is_meta for value in [*head.parameters(), *head.buffers()])
    assert head.state_dict().keys() == build(spec).state_dict().keys()
    head.to_empty(device="cpu").load_state_dict(build(spec).state_dict())
    x, y = batch()
    torch.testing.assert_close(head(x), build(spec)(x))
    torch.testing.assert_close(head.loss(x, y), build(spec).loss(x, y))


def test_a_head_goes_to_the_device_that_it_is_given():
    head = ClassificationHead(D, K, device="meta")
    assert head.vectors.is_meta
    with torch.device("meta"):
        assert not ClassificationHead(D, K, device="cpu").vectors.is_meta
