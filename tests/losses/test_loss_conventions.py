"""What all losses promise alike: reductions, ignored rows, types, stability, compilation."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_references import CLASSES, COUNTS, ROWS, SIZE, batch, directions, mixed
from torch.func import grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from fixhead import losses
from fixhead.logits import unit
from fixhead.losses import LOSSES

NAMES = list(LOSSES)
SOFT = [name for name, facts in LOSSES.items() if facts.soft]
KINDS = [(name, False) for name in NAMES] + [(name, True) for name in SOFT]
VECTORS = directions()[1]


class Calls(TorchDispatchMode):
    """The names of the kernels that run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def call(name, values, labels, **options):
    """The loss of that name on its first argument: logits, cosines or features."""
    facts = LOSSES[name]
    if facts.takes == "features":
        wide = values.dtype == torch.float64
        vectors = VECTORS.to(values.device, torch.float64 if wide else torch.float32)
        return facts.function(values, vectors, labels, **options)
    counts = (COUNTS.to(values.device),) if facts.counts else ()
    return facts.function(values, labels, *counts, **options)


def first(name, seed=0, rows=ROWS):
    """Logits, cosines (N, K) or features (N, d) in float64, and labels."""
    logits, labels = batch(seed, rows)
    takes = LOSSES[name].takes
    if takes == "features":
        return directions(seed, rows)[0], labels
    return (torch.tanh(logits) if takes == "cosines" else logits), labels


@pytest.mark.parametrize("name", NAMES)
def test_the_sum_and_the_mean_are_those_of_the_rows(name):
    values, labels = first(name)
    rows = call(name, values, labels, reduction="none")
    assert rows.shape == (ROWS,)
    assert (rows >= 0).all()
    assert rows.any()
    torch.testing.assert_close(call(name, values, labels, reduction="sum"), rows.sum())
    torch.testing.assert_close(call(name, values, labels, reduction="mean"), rows.mean())
    torch.testing.assert_close(call(name, values, labels), rows.mean())


@pytest.mark.parametrize("name", SOFT)
def test_mixtures_are_reduced_alike(name):
    values, _ = first(name)
    rows = call(name, values, mixed(), reduction="none")
    torch.testing.assert_close(call(name, values, mixed(), reduction="sum"), rows.sum())
    torch.testing.assert_close(call(name, values, mixed()), rows.mean())


@pytest.mark.parametrize("ignore_index", [-100, 3])
@pytest.mark.parametrize("name", NAMES)
def test_ignored_rows_give_zero_and_are_not_counted(name, ignore_index):
    values, labels = first(name)
    labels = labels.index_fill(0, torch.tensor([1, 6]), ignore_index)
    kept = labels != ignore_index
    values.requires_grad_()
    rows = call(name, values, labels, ignore_index=ignore_index, reduction="none")
    assert not rows[~kept].any()
    torch.testing.assert_close(rows[kept], call(name, values[kept], labels[kept], reduction="none"))
    mean = call(name, values, labels, ignore_index=ignore_index)
    torch.testing.assert_close(mean, call(name, values[kept], labels[kept]))
    mean.backward()
    assert not values.grad[~kept].any()
    assert (values.grad[kept] != 0).any(dim=1).all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows", [0, ROWS])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_in_which_nothing_counts_gives_zero_with_a_zero_gradient(name, rows, reduction):
    values = first(name, rows=ROWS)[0][:rows].requires_grad_()
    loss = call(name, values, torch.full((rows,), -100), reduction=reduction)
    loss.backward()
    assert loss == 0
    assert values.grad.shape == values.shape
    assert not values.grad.any()


@pytest.mark.parametrize("name", SOFT)
def test_an_empty_batch_of_mixtures_gives_zero(name):
    loss = call(name, first(name)[0][:0].requires_grad_(), mixed()[:0])
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("name", "soft"), KINDS)
def test_half_precision_inputs_are_computed_in_float32(name, dtype, soft):
    values, labels = first(name)
    labels = mixed().float() if soft else labels
    half = values.to(dtype).requires_grad_()
    full = half.detach().float().requires_grad_()
    loss, expected = call(name, half, labels), call(name, full, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(half.grad, full.grad.to(dtype))


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name):
    values, labels = first(name)
    plain = call(name, values.float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(call(name, values.float(), labels), plain)


@pytest.mark.parametrize(("name", "soft"), KINDS)
def test_gradients_are_those_of_the_values(name, soft):
    values, labels = first(name, seed=1)
    labels = mixed() if soft else labels.index_fill(0, torch.tensor([2]), -100)

    def loss(values):
        # Dot regression holds |h| as a constant, which it is on unit features.
        return call(name, unit(values) if name == "dot-regression" else values, labels)

    assert torch.autograd.gradcheck(loss, values.requires_grad_())


def test_the_papers_dot_regression_and_its_regularisation_pass_gradcheck():
    features, vectors = directions()
    labels = batch()[1]

    def loss(features):
        return losses.dot_regression(
            features, vectors, labels, form="paper", E_W=2.0, E_H=3.0, regularisation=0.1
        )

    assert torch.autograd.gradcheck(loss, features.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in NAMES if LOSSES[name].takes == "logits"]
    + [("cross-entropy", {"label_smoothing": 0.1}), ("focal", {"gamma": 0.5})],
)
def test_logits_of_ten_thousand_give_finite_losses_and_gradients(name, dtype, options):
    signs = torch.tensor([[1.0, -1, -1, -1, -1], [-1, 1, 1, 1, -1], [1, 1, 1, 1, 1]])
    logits = (1e4 * signs).to(dtype).requires_grad_()
    for labels in ([0, 0, 0], [1, 4, 2]):
        rows = call(name, logits, torch.tensor(labels), reduction="none", **options)
        assert rows.isfinite().all()
        rows.sum().backward()
        assert logits.grad.isfinite().all()
    wrong = losses.cross_entropy(logits.detach()[:1], torch.tensor([3]))
    assert float(wrong) == pytest.approx(2e4, rel=1e-2)


@pytest.mark.parametrize("name", [n for n in NAMES if LOSSES[n].takes == "cosines"])
def test_scales_of_ten_thousand_give_finite_losses_and_gradients(name):
    cosines = torch.tensor([[1.0, -1, 0.5, 0, -1], [-1, 1, 1, 1, 1]], requires_grad=True)
    for labels in ([0, 0], [1, 4]):
        rows = call(name, cosines, torch.tensor(labels), scale=1e4, reduction="none")
        assert rows.isfinite().all()
        rows.sum().backward()
        assert cosines.grad.isfinite().all()


@pytest.mark.parametrize("size", [1e-30, 1e-4, 1e4, 1e15])
@pytest.mark.parametrize("name", [n for n in NAMES if LOSSES[n].takes == "features"])
def test_features_of_any_size_give_finite_losses_and_gradients(name, size):
    values, labels = first(name)
    values = (size * values).float().requires_grad_()
    loss = call(name, values, labels)
    loss.backward()
    assert loss.isfinite()
    assert values.grad.isfinite().all()


def compiled(name, backend):
    """The loss under fullgraph compilation, for two batch sizes, with its gradient."""
    torch.compiler.reset()

    def loss(values, labels, soft):
        return call(name, values, soft if LOSSES[name].soft else labels) + call(
            name, values, labels
        )

    fast = torch.compile(loss, fullgraph=True, backend=backend, dynamic=True)
    for rows in (ROWS, ROWS - 5):
        values, labels = first(name, rows=rows)
        ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
        result = fast(ours, labels, mixed(rows=rows))
        expected = loss(theirs, labels, mixed(rows=rows))
        result.backward()
        expected.backward()
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(ours.grad, theirs.grad)


COMPILED_IN_CI = ("cross-entropy", "arcface", "dot-regression")  # one of each kind of input


@pytest.mark.parametrize(
    "name",
    [
        name if name in COMPILED_IN_CI else pytest.param(name, marks=pytest.mark.slow)
        for name in NAMES
    ],
)
def test_every_loss_compiles_into_one_graph(name):
    compiled(name, "aot_eager")


def test_class_weights_and_a_learned_scale_compile_too():
    cosines, labels = first("cosface")
    weight = torch.linspace(0.5, 2, CLASSES, dtype=torch.float64)

    def loss(scale):
        return losses.cosface(cosines, labels, scale=scale, weight=weight)

    torch.compiler.reset()
    fast, slow = (torch.tensor(8.0, requires_grad=True) for _ in range(2))
    torch.compile(loss, fullgraph=True, backend="aot_eager")(fast).backward()
    loss(slow).backward()
    torch.testing.assert_close(fast.grad, slow.grad)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_loss_compiles_into_machine_code(name):
    compiled(name, "inductor")


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_exports(name):
    class Loss(torch.nn.Module):
        def forward(self, values, labels):
            return call(name, values, labels)

    values, labels = first(name)
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(Loss(), (values, labels), dynamic_shapes=({0: rows}, {0: rows}))
    values, labels = first(name, seed=3, rows=7)
    torch.testing.assert_close(program.module()(values, labels), call(name, values, labels))


@pytest.mark.parametrize(("name", "soft"), KINDS)
def test_no_loss_looks_at_a_value_on_another_device(name, soft):
    """A meta tensor has no values: a synchronisation would raise, or show in the list of calls."""
    values, labels = first(name)
    values = values.to("meta").requires_grad_()
    with Calls() as calls:
        call(name, values, (mixed() if soft else labels).to("meta")).backward()
    assert values.grad.shape == values.shape
    assert calls.names
    assert not calls.names & {"_local_scalar_dense", "is_nonzero", "nonzero", "equal"}


@pytest.mark.parametrize("name", NAMES)
def test_per_row_gradients_by_vmap_are_the_rows_of_the_gradient(name):
    values, labels = first(name)
    options = {"lengths": "none"} if name == "dot-regression" else {}

    def alone(row, label):
        return call(name, row.unsqueeze(0), label.unsqueeze(0), **options)

    each = vmap(grad(alone))(values, labels)
    whole = values.clone().requires_grad_()
    call(name, whole, labels, reduction="sum", **options).backward()
    torch.testing.assert_close(each, whole.grad)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_left_as_they_were(name):
    values, labels = first(name)
    before = copy.deepcopy((values, labels))
    call(name, values, labels.index_fill_(0, torch.tensor([0]), -100))
    before[1][0] = -100
    assert torch.equal(values, before[0])
    assert torch.equal(labels, before[1])


@settings(deadline=None, max_examples=20)
@given(name=st.sampled_from(NAMES), order=st.permutations(range(ROWS)))
def test_the_order_of_the_rows_does_not_matter(name, order):
    values, labels = first(name)
    order = torch.tensor(order)
    torch.testing.assert_close(call(name, values[order], labels[order]), call(name, values, labels))


def test_the_door_shows_what_is_said():
    visible = {name for name in vars(losses) if not name.startswith("_")}
    modules = {name for name in visible if isinstance(getattr(losses, name), type(pytest))}
    assert visible - modules == set(losses.__all__)


def test_the_catalogue_holds_every_loss_once():
    functions = [facts.function for facts in LOSSES.values()]
    assert len(set(functions)) == len(functions)
    for name, facts in LOSSES.items():
        assert facts.function is getattr(losses, name.replace("-", "_"))
    assert SIZE != CLASSES  # so that features cannot pass for logits here
