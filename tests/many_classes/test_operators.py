"""The operators in torch's own hands: compiled, checked, and opened without the compiler."""

import subprocess
import sys

import pytest
import torch
from agreement import relative

from fixhead import many_classes as scale


def test_importing_and_using_scale_imports_no_compiler():
    code = (
        "import sys, torch\n"
        "from fixhead import many_classes as scale\n"
        "x = torch.randn(4, 32).requires_grad_()\n"
        "scale.linear_cross_entropy(x, scale.implicit(100, 32), torch.arange(4)).backward()\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "assert 'torch._inductor' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def arguments(bias):
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 7, -1, 99, 3])
    W = torch.randn(100, 32, generator=torch.Generator().manual_seed(2))
    b = torch.randn(100, generator=torch.Generator().manual_seed(3)) if bias else None
    packed = scale.implicit(100, 32).source.packed
    yield x, W, None, labels, b, 100, 0, 0.0, True
    yield x, W, None, labels, b, 100, 0, 2.0, False
    yield x, None, packed, labels, b, 100, 0, 6.0, True


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bias", [False, True])
def test_fake_implementations_tell_the_truth(bias):
    for given in arguments(bias):
        tests = ("test_schema", "test_faketensor")
        torch.library.opcheck(torch.ops.fixhead.rest.default, given, test_utils=tests)
        value = torch.ops.fixhead.rest(*given)[0]
        again = (*given[:5], value, torch.rand(5), 100, 0, given[7], given[1] is not None)
        torch.library.opcheck(torch.ops.fixhead.class_gradients.default, again, test_utils=tests)
        for reduction in ("mean", "none"):
            plain = (*given[:4], *given[5:8], -1, reduction, given[8], False, 0.0)
            torch.library.opcheck(torch.ops.fixhead.cross_entropy.default, plain, test_utils=tests)
    x, _, packed, _, b, classes, *_ = given
    largest = (x, packed, b, classes, 3)
    torch.library.opcheck(torch.ops.fixhead.largest.default, largest, test_utils=tests)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("kind", ["codes", "learned"])
def test_a_compiled_step_gives_the_same_loss_and_gradients(kind, biased):
    made = scale.implicit(300, 32)
    W = made.dense().requires_grad_()
    bias = torch.randn(300, generator=torch.Generator().manual_seed(3)).requires_grad_()
    bias = bias if biased else None
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(4)).requires_grad_()

    def step(x, labels):
        given = W if kind == "learned" else made
        return scale.linear_cross_entropy(x, given, labels, logits="cosine", scale=9.0, bias=bias)

    leaves = [x, *([bias] if biased else []), *([W] if kind == "learned" else [])]
    labels = torch.tensor([0, 299, 5, -100, 7])
    eager = step(x, labels)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")(x, labels)
    assert relative(compiled, eager) < 1e-6
    for found, true in zip(
        torch.autograd.grad(compiled, leaves), torch.autograd.grad(eager, leaves), strict=True
    ):
        assert relative(found, true) < 1e-6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_largest_are_found_in_a_compiled_function():
    made = scale.implicit(300, 32)
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(4))

    def find(x):
        return scale.topk(x, made, 3)

    compiled = torch.compile(find, fullgraph=True, backend="aot_eager")(x)
    assert torch.equal(compiled.classes, find(x).classes)


def test_labels_past_two_to_the_31_logits_are_found(monkeypatch):
    """K·N > 2³¹: places within a tile stay small, and classes are 64-bit."""
    made = scale.implicit(100_000_000, 512)
    labels = torch.tensor([99_999_999, 0] * 512)
    keys, places = made.source.tiles().locate(labels, 1024)
    height, width = made.source.tiles().shape(1024)
    assert int(keys.max()) == -(-made.source.tiles().blocks // height) * (1024 // width) - 1
    assert int(places.max()) < 512 * height * width
