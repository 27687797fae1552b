"""The operators in torch's own hands: compiled, checked, and opened without the compiler."""

import subprocess
import sys

import pytest
import torch
from agreement import relative

from fixhead import many_classes as scale
from fixhead.many_classes.kronecker import KroneckerTiles
from fixhead.many_classes.ops import LogitsRequest


def test_importing_and_using_any_path_imports_no_compiler():
    code = (
        "import sys, torch\n"
        "from fixhead import many_classes as scale\n"
        "from fixhead.many_classes.native import library as native\n"
        "x = torch.randn(4, 32).requires_grad_()\n"
        "for path in [name for name, there, _ in native.paths() if there]:\n"
        "    with native.forced(path):\n"
        "        vectors = scale.implicit(100, 32)\n"
        "        scale.linear_cross_entropy(x, vectors, torch.arange(4)).backward()\n"
        "        scale.topk(x, vectors)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "assert 'torch._inductor' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def arguments(bias):
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 7, -1, 99, 3])
    W = torch.randn(100, 32, generator=torch.Generator().manual_seed(2))
    b = torch.randn(100, generator=torch.Generator().manual_seed(3)) if bias else None
    packed = scale.implicit(100, 32).bits
    yield (x, W, labels, b), True, LogitsRequest(100)
    yield (x, W, labels, b), False, LogitsRequest(100, norm=2.0, max_logit=9.0)
    yield (x, None, labels, b), True, LogitsRequest(100, packed=packed, norm=6.0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bias", [False, True])
def test_fake_implementations_tell_the_truth(bias):
    known = torch.ops.fixhead

    def check(operator, *given):
        tests = ("test_schema", "test_faketensor")
        torch.library.opcheck(operator.default, given, test_utils=tests)

    for given, feature_grad, request in arguments(bias):
        x, W, labels, b = given
        check(known.negatives_lse, *given, feature_grad, *request)
        lse = known.negatives_lse(*given, feature_grad, *request)[0]
        check(known.class_gradients, *given, lse, torch.rand(5), W is not None, *request)
        for reduction in ("mean", "none"):
            check(known.cross_entropy, x, W, labels, -1, reduction, feature_grad, *request)
        check(known.topk, x, W, b, 3, *request)
        if W is None:
            check(known.all_logits, x, *request)
            check(known.logits_backward, torch.randn(5, 100), 32, *request)


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


def test_labels_past_two_to_the_31_logits_are_found():
    """K·N > 2³¹: places within a tile stay small, and classes are 64-bit."""
    packed = torch.zeros(512, 1, dtype=torch.uint8).expand(512, 24_415)  # 195,313 blocks
    labels = torch.tensor([99_999_999, 0] * 512)
    tiles = KroneckerTiles(packed, 100_000_000)
    keys, places = tiles.locate(labels, 1024)
    height, width = tiles.shape(1024)
    assert int(keys.max()) == -(-tiles.blocks // height) * (1024 // width) - 1
    assert int(places.max()) < 512 * height * width
