"""One suite that every kind of head over very many classes inherits from two methods.

``make`` builds it, and ``matrix`` gives the (K, D) class vectors as they would be stored. Logits,
loss and all gradients are compared with the plain formulae in float64, as in ``agreement``.
"""

from abc import ABC, abstractmethod

import pytest
import torch
from agreement import LITTLE, allowance, plain_logits, plain_loss, relative
from torch import Tensor

from fixhead import ClassificationHead, losses

SIZES = [(2, 16, 3), (17, 16, 1), (300, 48, 5), (2109, 64, 20)]


def wide(value):
    return None if value is None else value.detach().cpu().double()


class HeadAgreement(ABC):
    """Inherit it as ``class TestX(HeadAgreement)``."""

    device = "cpu"

    @abstractmethod
    def make(self, classes: int, features: int, **switches) -> ClassificationHead: ...

    @abstractmethod
    def matrix(self, head: ClassificationHead) -> Tensor: ...

    def agree(self, classes=1000, features=64, rows=7, *, length=3.0, ignored=0, **switches):
        head = self.make(classes, features, **switches)
        if head.bias is not None:
            with torch.no_grad():
                head.bias.copy_(torch.randn(classes, generator=torch.Generator().manual_seed(2)))
        generator = torch.Generator().manual_seed(classes)
        x = torch.randn(rows, features, generator=generator)
        x = (length * x / x.norm(dim=1, keepdim=True)).to(self.device).requires_grad_()
        labels = torch.randint(classes, (rows,), generator=generator)
        if rows > 2:
            labels[0], labels[1] = classes - 1, 0
        labels[rows - ignored :] = -100
        labels = labels.to(self.device)
        leaves = {"features": x, **dict(head.named_parameters())}
        loss = head.loss(x, labels)
        found = torch.autograd.grad(loss, list(leaves.values()))
        true, near = (
            self.reference(head, leaves, labels, t) for t in (torch.float64, torch.float32)
        )
        assert loss.dtype == torch.float32
        assert relative(loss, true[0]) <= allowance(relative(near[0], true[0]), self.device)
        for name, gradient, exact, rounded in zip(leaves, found, true[1], near[1], strict=True):
            # One number's relative error is chance: a sum over all rows may nearly cancel.
            little = LITTLE if gradient.numel() > 1 else 19 * LITTLE
            allowed = allowance(relative(rounded, exact), self.device) + little
            assert relative(gradient, exact) <= allowed, name
        return head

    def reference(self, head, leaves, labels, dtype):
        """The loss and its gradients, from the formulae and the matrix."""
        labels = labels.cpu()
        W = self.matrix(head).to("cpu", dtype)
        copies = {n: leaf.detach().to("cpu", dtype).requires_grad_() for n, leaf in leaves.items()}
        points = copies["features"]
        if "neck.weight" in copies:
            points = points @ copies["neck.weight"].T + copies["neck.bias"]
        if "code_map" in copies:
            points = points @ copies["code_map"].T
        scale = copies.get("scale", 1.0 if head.scale is None else head.scale.to("cpu", dtype))
        name, option = head.loss_name.name, head.loss_name.option
        options = {"scale": scale, "logits": head.logit_kind, "bias": copies.get("bias")}
        if name in ("cosface", "arcface"):
            options = {"scale": scale, name: option}
        elif name == "balanced-softmax":
            options["prior"] = head.class_counts.cpu()
        elif option is not None:
            options["label_smoothing"] = option
        if head.class_weights is not None:
            options["weight"] = head.class_weights.to("cpu", dtype)
        loss = plain_loss(points, W, labels, **options)
        return loss, torch.autograd.grad(loss, list(copies.values()))

    @pytest.mark.parametrize(("classes", "features", "rows"), SIZES)
    def test_awkward_sizes_agree(self, classes, features, rows):
        self.agree(classes, features, rows, scale=9.0)
        self.agree(classes, features, rows, logits="dot", scale=1.0)

    @pytest.mark.parametrize(
        "switches",
        [
            {"logits": "unit-features", "scale": "learned:3", "bias": True},
            {"logits": "dot", "scale": 2.0, "bias": True},
            {"scale": "learned:20", "bias": True},
            {"scale": 30.0, "loss": "cross-entropy:0.1"},
            {"scale": "learned:30", "loss": "cosface:0.3"},
            {"scale": 64.0, "loss": "arcface:0.5"},
            {"scale": 9.0, "loss": "normface"},
            {"scale": 9.0, "neck": "linear"},
        ],
        ids=str,
    )
    def test_every_switch_agrees(self, switches):
        self.agree(**switches)
        self.agree(**switches, ignored=2)

    def test_counts_and_weights_of_classes_agree(self):
        counts = torch.arange(1, 301)
        self.agree(300, 32, class_counts=counts, loss="balanced-softmax", scale=9.0)
        head = self.make(300, 32, class_counts=counts, reweight=1, scale=9.0)
        head.begin_epoch(2)
        assert head.class_weights is not None
        x = torch.randn(5, 32, generator=torch.Generator().manual_seed(1)).to(self.device)
        labels = torch.arange(5)
        z = plain_logits(wide(head.project(x)), wide(self.matrix(head)), "cosine", 9.0, None)
        true = losses.cross_entropy(z, labels, weight=wide(head.class_weights))
        assert relative(head.loss(x, labels.to(self.device)), true) < 1e-6

    @pytest.mark.parametrize("length", [1e-3, 100.0, 1e4])
    def test_features_of_any_length_agree(self, length):
        self.agree(length=length, logits="dot", scale=1.0)
        self.agree(length=length, scale=20.0)

    @pytest.mark.parametrize("kind", ["dot", "cosine", "unit-features"])
    def test_logits_and_top_classes_agree(self, kind):
        head = self.make(500, 32, logits=kind, scale=5.0, bias=True)
        x = torch.randn(6, 32, generator=torch.Generator().manual_seed(3)).to(self.device)
        with torch.no_grad():
            points = wide(head.project(x))
            z = plain_logits(points, wide(self.matrix(head)), kind, 5.0, wide(head.bias))
            assert relative(head(x), z) < 1e-6
        x.requires_grad_()
        weights = torch.randn(6, 500, generator=torch.Generator().manual_seed(5))
        (found,) = torch.autograd.grad((weights.to(self.device) * head(x)).sum(), x)
        wider = wide(x).requires_grad_()
        points = wider if head.code_map is None else wider @ wide(head.code_map).T
        logits = plain_logits(points, wide(self.matrix(head)), kind, 5.0, wide(head.bias))
        (true,) = torch.autograd.grad((weights * logits).sum(), wider)
        assert relative(found, true) < 2e-6
        x = x.detach()
        for answer, true in ((head.topk(x, 3), z), (head.predict_proba(x, 3), z.softmax(dim=1))):
            assert relative(answer.values, true.topk(3, dim=1).values) < 2e-6
            assert torch.equal(answer.classes.cpu(), true.topk(3, dim=1).indices)

    def test_the_loss_and_the_logits_of_one_pass_are_those_of_two(self):
        head = self.make(200, 32, scale=5.0)
        x, labels = torch.randn(6, 32, device=self.device), torch.arange(6, device=self.device)
        loss, logits = head.loss_and_logits(x, labels)
        assert relative(loss, head.loss(x, labels)) < 2e-6
        assert relative(logits, head(x)) < 1e-6

    @pytest.mark.parametrize("loss", ["dot-regression", "dot-regression:none", "squared-cosine"])
    def test_losses_on_features_agree(self, loss):
        head = self.make(300, 32, loss=loss, scale=1.0)
        x = torch.randn(5, 32, generator=torch.Generator().manual_seed(4))
        labels = torch.tensor([299, 4, 4, 7, 250])
        points, W = wide(head.project(x.to(self.device))), wide(self.matrix(head))
        if loss == "squared-cosine":
            true = losses.squared_cosine(points, W, labels)
        else:
            lengths = "none" if loss.endswith("none") else "batch"
            unit = points / points.norm(dim=1, keepdim=True)
            true = losses.dot_regression(unit, W, labels, lengths=lengths)
        x, there = x.to(self.device), labels.to(self.device)
        assert relative(head.loss(x, there), true) < 1e-6
        assert relative(head.loss_and_logits(x, there)[0], true) < 1e-6
