"""One suite that every kind of class vectors inherits from two methods: make it, and its matrix.

Each value and gradient is compared with the plain formulae in float64. The allowance is what the
same formulae in float32 lose against float64, plus a little.
"""

from abc import ABC, abstractmethod

import pytest
import torch
from torch import Tensor

from fixhead import RequestError, losses
from fixhead import logits as formulae
from fixhead import many_classes as scale

LITTLE = 4e-7
SIZES = [(2, 16, 3), (17, 16, 1), (1000, 64, 37), (333, 48, 5), (5000, 32, 70)]


def relative(found: Tensor, true: Tensor) -> float:
    found, true = found.detach().cpu().double(), true.detach().cpu().double()
    return float((found - true).norm() / true.norm().clamp(min=1e-30))


def plain_logits(x, W, kind, S, bias):
    if kind == "unit-features":
        x, kind = formulae.unit(x), "dot"
    made = formulae.cosine if kind == "cosine" else formulae.dot
    return made(x, W, scale=S, bias=bias)


def plain_loss(x, W, labels, *, logits="dot", scale=1.0, bias=None, z_loss=0.0, **options):
    """The same, with logits, from the finished rooms."""
    prior, tau = options.pop("prior", None), options.pop("tau", 1.0)
    cosface, arcface = options.pop("cosface", None), options.pop("arcface", None)
    if cosface is not None or arcface is not None:
        cosines = plain_logits(x, W, "cosine", 1.0, None)
        given = (cosines, labels)
        if cosface is not None:
            return losses.cosface(*given, scale=scale, margin=cosface, **options)
        return losses.arcface(*given, scale=scale, margin=arcface, **options)
    z = plain_logits(x, W, logits, scale, bias)
    if prior is not None:
        return losses.logit_adjustment(z, labels, prior, tau=tau, **options)
    if z_loss:
        squares = torch.logsumexp(z, dim=1).square()
        nats = losses.cross_entropy(z, labels, **{**options, "reduction": "none"})
        counted = labels != options.get("ignore_index", -100)
        return ((nats + z_loss * squares) * counted).sum() / counted.sum()
    return losses.cross_entropy(z, labels, **options)


def cast(options: dict, dtype: torch.dtype) -> dict:
    return {
        name: value.detach().to(dtype).requires_grad_(value.requires_grad)
        if isinstance(value, Tensor) and value.is_floating_point()
        else value
        for name, value in options.items()
    }


def moved(options: dict, device: str) -> dict:
    return {
        name: value.detach().to(device).requires_grad_(value.requires_grad)
        if isinstance(value, Tensor)
        else value
        for name, value in options.items()
    }


def allowance(near: float, device: str) -> float:
    """What a result may be off where the plain formulae in float32 on the CPU are off ``near``."""
    return near + LITTLE if device == "cpu" else 3 * near + 5 * LITTLE


def evaluate(function, x, W, labels, options, weights=None):
    """The loss, and the gradients of everything that asks for one."""
    leaves = {"features": x, **{k: v for k, v in options.items() if isinstance(v, Tensor)}}
    if isinstance(W, Tensor):
        leaves["vectors"] = W
    leaves = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    loss = function(x, W, labels, **options)
    total = loss.sum() if weights is None else (loss * weights.to(loss.dtype)).sum()
    gradients = torch.autograd.grad(total, list(leaves.values()))
    return loss, dict(zip(leaves, gradients, strict=True))


class Agreement(ABC):
    """Inherit it as ``class TestX(Agreement)``."""

    learned = False
    device = "cpu"
    times = 1
    """So many times what the plain formulae lose is allowed, where sums are made in another way."""

    @abstractmethod
    def make(self, classes: int, features: int):
        """Class vectors as ``scale.linear_cross_entropy`` takes them."""

    @abstractmethod
    def matrix(self, made) -> Tensor:
        """The same as a (K, d) float32 tensor."""

    def agree(self, classes=1000, features=64, rows=37, *, length=1.0, ignored=0, **options):
        generator = torch.Generator().manual_seed(classes + features)
        made = self.make(classes, features)
        W = self.matrix(made).detach().cpu()
        x = torch.randn(rows, features, generator=generator)
        x = length * x / x.norm(dim=1, keepdim=True)
        labels = torch.randint(classes, (rows,), generator=generator)
        if rows > 2:
            labels[0], labels[1] = classes - 1, 0
        labels[rows - ignored :] = options.get("ignore_index", -100)
        weights = torch.rand(rows, generator=generator)
        weights = weights if options.get("reduction") == "none" else None
        given = made.detach().clone().requires_grad_() if self.learned else made

        loss, found = evaluate(
            scale.linear_cross_entropy,
            x.clone().to(self.device).requires_grad_(),
            given,
            labels.to(self.device),
            moved(options, self.device),
            None if weights is None else weights.to(self.device),
        )
        references = []
        for dtype in (torch.float64, torch.float32):
            leaf = W.to(dtype).requires_grad_(self.learned)
            point = x.to(dtype).requires_grad_()
            references.append(
                evaluate(plain_loss, point, leaf, labels, cast(options, dtype), weights)
            )
        (true, exact), (near, rounded) = references
        assert loss.dtype == torch.float32
        assert relative(loss, true) <= allowance(relative(near, true), self.device)
        assert found.keys() == exact.keys()
        for name, gradient in found.items():
            lost = self.times * relative(rounded[name], exact[name])
            allowed = allowance(lost, self.device)
            assert relative(gradient, exact[name]) <= allowed, name

    @pytest.mark.parametrize(("classes", "features", "rows"), SIZES)
    def test_awkward_sizes_agree(self, classes, features, rows):
        self.agree(classes, features, rows)
        self.agree(classes, features, rows, logits="cosine", scale=20.0)

    @pytest.mark.parametrize("kind", ["dot", "cosine", "unit-features"])
    def test_every_kind_of_logits_agrees(self, kind):
        self.agree(logits=kind, scale=7.0, length=3.0)

    def test_a_learned_scale_gets_its_gradient(self):
        for kind in ("dot", "cosine"):
            self.agree(logits=kind, scale=torch.tensor(5.0).requires_grad_())
        self.agree(logits="cosine", cosface=0.2, scale=torch.tensor(9.0).requires_grad_())

    def test_margins_agree(self):
        self.agree(logits="cosine", scale=64.0, cosface=0.35)
        self.agree(logits="cosine", scale=64.0, arcface=0.5)
        self.agree(logits="cosine", scale=30.0, arcface=0.5, label_smoothing=0.1)

    def test_a_bias_agrees_and_gets_its_gradient(self):
        bias = torch.randn(1000, generator=torch.Generator().manual_seed(3)).requires_grad_()
        self.agree(bias=bias, length=4.0)
        self.agree(bias=bias, length=4.0, label_smoothing=0.2)
        self.agree(bias=(20 * bias.detach()).requires_grad_(), length=90.0)

    def test_label_smoothing_class_weights_and_a_prior_agree(self):
        generator = torch.Generator().manual_seed(4)
        weight = torch.rand(1000, generator=generator)
        prior = 1 + torch.randint(500, (1000,), generator=generator)
        self.agree(label_smoothing=0.1, length=5.0)
        self.agree(weight=weight, length=5.0)
        self.agree(weight=weight, label_smoothing=0.3, length=5.0)
        self.agree(prior=prior, tau=1.5, length=5.0)

    @pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
    def test_reductions_and_ignored_rows_agree(self, reduction):
        weight = torch.rand(1000, generator=torch.Generator().manual_seed(5))
        self.agree(reduction=reduction, ignored=4)
        self.agree(reduction=reduction, ignored=4, weight=weight, ignore_index=-1)

    def test_the_penalty_on_the_log_sum_exp_agrees(self):
        self.agree(z_loss=1e-2, ignored=3)

    @pytest.mark.parametrize("length", [1e-3, 80.0, 100.0, 1e3, 1e4])
    def test_points_of_any_length_agree(self, length):
        self.agree(length=length)
        self.agree(length=length, label_smoothing=0.1)

    def test_long_and_short_points_in_one_batch_agree(self):
        made = self.make(700, 32)
        W = self.matrix(made).detach().cpu()
        x = torch.randn(9, 32, generator=torch.Generator().manual_seed(6))
        x = x * torch.logspace(-3, 4, 9).unsqueeze(1) / x.norm(dim=1, keepdim=True)
        found = scale.log_sum_exp(x.to(self.device), made)
        true = torch.logsumexp(x.double() @ W.double().T, dim=1)
        near = torch.logsumexp(x @ W.T, dim=1)
        assert relative(found, true) <= allowance(relative(near, true), self.device)

    def test_the_log_sum_exp_has_the_mean_vector_as_gradient(self):
        made = self.make(300, 32)
        x = torch.randn(4, 32, generator=torch.Generator().manual_seed(7)).requires_grad_()
        (found,) = torch.autograd.grad(scale.log_sum_exp(x.to(self.device), made).sum(), x)
        W = self.matrix(made).detach().cpu().double()
        true = torch.softmax(x.double() @ W.T, dim=1) @ W
        assert relative(found, true) < allowance(0, self.device)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_features_are_summed_in_float32(self, dtype):
        made = self.make(1000, 64)
        if self.device == "cuda" and dtype == torch.bfloat16:
            pytest.skip("there products are those of bfloat16 numbers: test_half.py")
        x = torch.randn(8, 64, generator=torch.Generator().manual_seed(8)).to(self.device, dtype)
        labels = torch.arange(8, device=self.device)
        loss = scale.linear_cross_entropy(x.requires_grad_(), made, labels)
        (gradient,) = torch.autograd.grad(loss, x)
        same = scale.linear_cross_entropy(x.detach().float(), made, labels)
        assert loss.dtype == torch.float32
        assert relative(loss, same) < LITTLE
        assert gradient.dtype == dtype

    def test_autocast_changes_nothing(self):
        made = self.make(1000, 64)
        x = torch.randn(8, 64, generator=torch.Generator().manual_seed(9)).to(self.device)
        labels = torch.arange(8, device=self.device)
        outside = scale.linear_cross_entropy(x, made, labels, label_smoothing=0.1)
        kind = torch.bfloat16 if self.device == "cpu" else torch.float16
        with torch.autocast(self.device, dtype=kind):
            inside = scale.linear_cross_entropy(x, made, labels, label_smoothing=0.1)
        assert inside.dtype == torch.float32
        assert relative(inside, outside) < LITTLE

    def test_float64_features_are_computed_in_float64(self):
        made = self.make(300, 32)
        W = self.matrix(made).detach().cpu().double()
        x = torch.randn(5, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        found = scale.linear_cross_entropy(x.to(self.device), made, torch.arange(5).to(self.device))
        true = torch.nn.functional.cross_entropy(x @ W.T, torch.arange(5))
        assert relative(found, true) < 1e-7

    def test_a_second_derivative_is_refused(self):
        x = torch.randn(4, 32, device=self.device).requires_grad_()
        loss = scale.log_sum_exp(x, self.make(100, 32)).sum()
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        with pytest.raises(RequestError, match="first derivative only"):
            gradient.sum().backward()
        x, labels = x.detach().requires_grad_(), torch.arange(4, device=self.device)
        loss = scale.linear_cross_entropy(x, self.make(100, 32), labels)
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        with pytest.raises(RequestError, match="first derivative only"):
            gradient.sum().backward()

    def test_a_batch_in_which_nothing_counts_has_no_loss_and_no_gradient(self):
        made = self.make(100, 32)
        for rows in (0, 3):
            x = torch.randn(rows, 32, device=self.device).requires_grad_()
            loss = scale.linear_cross_entropy(
                x, made, torch.full((rows,), -100, device=self.device)
            )
            (gradient,) = torch.autograd.grad(loss, x)
            assert float(loss.detach()) == 0
            assert not gradient.any()

    def test_bad_labels_and_features_are_named(self):
        made = self.make(100, 32)
        if self.device != "cpu":
            pytest.skip("values on a device are not waited for")
        x = torch.randn(4, 32)
        with pytest.raises(RequestError, match="label 100 at position 2"):
            scale.linear_cross_entropy(x, made, torch.tensor([0, 1, 100, 3]))
        x[3, 5] = torch.inf
        with pytest.raises(RequestError, match="row 3"):
            scale.linear_cross_entropy(x, made, torch.arange(4))
        with pytest.raises(RequestError, match=r"features must be \(N, 32\)"):
            scale.linear_cross_entropy(torch.randn(4, 31), made, torch.arange(4))
        with pytest.raises(RequestError, match=r"use fixhead\.losses"):
            scale.linear_cross_entropy(torch.randn(4, 32), made, torch.rand(4, 100))

    def test_nothing_is_written_to_the_inputs(self):
        made = self.make(100, 32)
        x = torch.randn(4, 32, device=self.device)
        labels = torch.tensor([1, -100, 99, 0], device=self.device)
        before = x.clone(), labels.clone()
        scale.linear_cross_entropy(x, made, labels, scale=3.0)
        assert torch.equal(x, before[0])
        assert torch.equal(labels, before[1])
