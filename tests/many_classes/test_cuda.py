"""Every PyTorch path and every head on CUDA against float64 on the CPU, by inherited suites."""

import pytest
import test_heads_agree as heads
import test_paths_agree as paths
import torch
from agreement import relative
from torch.nn import functional as F

from fixhead import ClassificationHead
from fixhead import many_classes as scale
from fixhead.many_classes import vectors

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class OnCuda:
    device = "cuda"

    @pytest.fixture(autouse=True)
    def _every_batch_is_large(self, monkeypatch):
        monkeypatch.setattr(vectors, "MANY_LOGITS_ELSEWHERE", 0)


class MatrixOnCuda(OnCuda):
    def make(self, classes, features):
        return super().make(classes, features).cuda()


class TestFixedMatrix(MatrixOnCuda, paths.TestFixedMatrix):
    pass


class TestFixedMatrixOfUnequalRows(MatrixOnCuda, paths.TestFixedMatrixOfUnequalRows):
    pass


class TestLearnedMatrix(MatrixOnCuda, paths.TestLearnedMatrix):
    pass


class TestChosenCodes(OnCuda, paths.TestChosenCodes):
    """Their bits start on the CPU, and are taken along."""


class TestChosenCodesThatWereMoved(OnCuda, paths.TestChosenCodes):
    def make(self, classes, features):
        return super().make(classes, features).to("cuda")


class TestRandomSigns(OnCuda, paths.TestRandomSigns):
    pass


class TestRowsMadeOnDemand(OnCuda, paths.TestRowsMadeOnDemand):
    pass


class HeadOnCuda(OnCuda):
    def make(self, classes, features, **switches):
        return super().make(classes, features, **switches).cuda()


class TestStoredHead(HeadOnCuda, heads.TestStoredHead):
    pass


class TestStoredHeadBehindAMap(HeadOnCuda, heads.TestStoredHeadBehindAMap):
    pass


class TestImplicitHead(HeadOnCuda, heads.TestImplicitHead):
    pass


class TestImplicitHeadOfRandomSigns(HeadOnCuda, heads.TestImplicitHeadOfRandomSigns):
    pass


class TestImplicitHeadBehindAMap(HeadOnCuda, heads.TestImplicitHeadBehindAMap):
    pass


def points(rows, features, dtype=torch.float32):
    x = torch.randn(rows, features, generator=torch.Generator().manual_seed(3))
    return x.to("cuda", dtype)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("family", ["auto", "random", None])
def test_the_largest_logits_and_probabilities_are_found(k, rows, family):
    made = scale.implicit(3_000, 64, family=family or "auto")
    W = made.dense().double()
    made = made.dense().cuda() if family is None else made
    x = points(rows, 64)
    bias = torch.randn(3_000, generator=torch.Generator().manual_seed(4))
    z = 2 * x.cpu().double() @ W.T + bias
    found = scale.topk(x, made, k, scale=2.0, bias=bias.cuda())
    assert relative(found.values, z.topk(k).values) < 2e-6
    assert relative(z.gather(1, found.classes.cpu()), z.topk(k).values) < 2e-6
    found = scale.predict_proba(x, made, k, scale=2.0, bias=bias.cuda())
    assert relative(found.values, z.softmax(dim=1).topk(k).values) < 1e-5


@pytest.mark.parametrize(("classes", "features"), [(64, 32), (100, 32), (141, 16), (700, 48)])
def test_squared_error_equals_the_sum_over_all_classes(classes, features):
    made = scale.implicit(classes, features)
    W = made.dense().double()
    x, labels = points(9, features), torch.arange(9)
    true = (1.5 * x.cpu().double() @ W.T - F.one_hot(labels, classes)).square().sum(dim=1).mean()
    for given in (made, W.float().cuda()):
        found = scale.squared_error(x, given, labels.cuda(), scale=1.5)
        assert relative(found, true) < 2e-6
        with torch.autocast("cuda", dtype=torch.bfloat16):
            inside = scale.squared_error(x, given, labels.cuda(), scale=1.5)
        assert relative(inside, true) < 2e-6


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_the_loss_of_drawn_classes_is_that_of_the_drawn_classes(place):
    W = torch.randn(200, 16, generator=torch.Generator().manual_seed(3))
    x, labels = points(6, 16), torch.tensor([5, 6, 7, 8, -100, 199])
    leaf = W.cuda().requires_grad_()

    def generator():
        return torch.Generator(place).manual_seed(5)

    drawn = scale.sample_classes(labels.cuda(), 200, generator=generator())
    loss = scale.sampled_cross_entropy(x, leaf, labels.cuda(), generator=generator())
    exact = W.double().requires_grad_()
    z = x.cpu().double() @ exact[drawn.classes.cpu()].T
    true = F.cross_entropy(z, drawn.labels.cpu())
    assert relative(loss, true) < 2e-6
    (found,), (pull,) = torch.autograd.grad(loss, leaf), torch.autograd.grad(true, exact)
    assert relative(found, pull) < 5e-6


@pytest.mark.parametrize("kind", ["features", "autocast"])
@pytest.mark.parametrize("vectors", ["random", "implicit", "learned"])
def test_a_head_in_bfloat16_loses_what_rounding_explains(monkeypatch, kind, vectors):
    learned = vectors == "learned"
    name = "random" if learned else vectors
    head = ClassificationHead(64, 3_000, vectors=name, scale=10.0, learn_vectors=learned).cuda()
    x, labels = points(20, 64).bfloat16().float(), torch.arange(20, device="cuda")
    rows = head.class_vectors.dense()
    directions = F.normalize(x.double(), dim=1)
    true = F.cross_entropy(10 * directions @ F.normalize(rows.double(), dim=1).T, labels)
    monkeypatch.setattr(vectors, "MANY_LOGITS_ELSEWHERE", 0)
    monkeypatch.setattr(ClassificationHead, "classify", None)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=kind == "autocast"):
        leaf = x.to(torch.bfloat16 if kind == "features" else torch.float32).requires_grad_()
        loss = head.loss(leaf, labels)
    assert loss.dtype == torch.float32
    assert float((loss - true).abs().detach()) < 2 * 10 * 2.0**-8
    loss.backward()
    assert leaf.grad.dtype == leaf.dtype
    if learned:
        assert head.vectors.grad.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_head_and_its_losses_on_features_run_under_autocast(dtype):
    labels = torch.arange(8, device="cuda")
    for loss in ("dot-regression", "squared-cosine", "arcface:0.3", "cross-entropy:0.1"):
        head = ClassificationHead(64, 1_000, vectors="implicit", scale=9.0, loss=loss).cuda()
        x = points(8, 64).requires_grad_()
        plain = head.loss(x, labels)
        with torch.autocast("cuda", dtype=dtype):
            found = head.loss(x, labels)
        found.backward()
        assert x.grad.isfinite().all()
        assert relative(found, plain) < 2e-2


def test_an_implicit_head_on_cuda_gives_its_matrix_and_certificate():
    here = ClassificationHead(32, 600, vectors="implicit", scale=9.0)
    there = ClassificationHead(32, 600, vectors="implicit", scale=9.0).cuda()
    assert torch.equal(there.vectors.cpu(), here.vectors)
    found, true = there.certificate(), here.certificate()
    assert found.abs_cosine_max == pytest.approx(true.abs_cosine_max, abs=1e-6)
    there.grow(700)
    assert there.loss(points(2, 32), torch.tensor([0, 699], device="cuda")).isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_million_classes_hold_no_logits(dtype):
    made = scale.implicit(1_000_000, 64).to(torch.device("cuda", 0))
    x, labels = points(512, 64, dtype).requires_grad_(), torch.arange(512, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    loss = scale.linear_cross_entropy(x, made, labels, scale=2.0)
    (gradient,) = torch.autograd.grad(loss, x)
    assert torch.cuda.max_memory_allocated() - before < 400 * 2**20  # all logits are 2 GB
    few = slice(0, 3)
    wide = x[few].detach().double().requires_grad_()
    true = F.cross_entropy(2 * wide @ made.dense(torch.float64).T, labels[few], reduction="none")
    (pull,) = torch.autograd.grad(true.sum(), wide)
    part = scale.linear_cross_entropy(x[few], made, labels[few], scale=2.0, reduction="none")
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    assert relative(part, true) < tolerance
    assert relative(512 * gradient[few], pull) < 3 * tolerance


def test_more_than_two_to_the_31_logits_are_walked_over():
    """N·K = 2.6·10⁹ of codes in 16 dimensions, against the same rows in small batches."""
    made = scale.implicit(1_300_000, 16, family="random").to(torch.device("cuda", 0))
    x = points(2_000, 16)
    labels = torch.arange(2_000, device="cuda") + 1_298_000
    found = scale.linear_cross_entropy(x, made, labels, reduction="none")
    near = scale.linear_cross_entropy(x[-5:], made, labels[-5:], reduction="none")
    assert relative(found[-5:], near) < 1e-5
