"""The chunk-wise trainer takes the plain step: loss, gradients and rows in float64; refusals."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fixhead import ClassificationHead, RequestError
from fixhead.many_classes import ChunkwiseTrainer

OPTIMISERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.3, "momentum": 0.9}),
    "nesterov": (
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
    ),
    "adam": (torch.optim.Adam, {"lr": 0.05, "eps": 1e-4}),
    "adamw": (torch.optim.AdamW, {"lr": 0.05, "weight_decay": 0.1, "eps": 1e-4}),
}
"""With Adam's own ε the rounding of a gradient of zero would move a number by 1e-9."""


def plain_loss(x, W, labels, logits, scale, bias):
    if logits != "dot":
        x = F.normalize(x)
    if logits == "cosine":
        W = F.normalize(W)
    z = scale * x @ W.T
    return F.cross_entropy(z if bias is None else z + bias, labels)


def drawn(classes, width, rows, seed=0, dtype=torch.float64):
    draws = torch.Generator().manual_seed(seed)
    W = torch.randn(classes, width, generator=draws, dtype=dtype)
    x = torch.randn(rows, width, generator=draws, dtype=dtype)
    labels = torch.randint(classes, (rows,), generator=draws)
    bias = torch.randn(classes, generator=draws, dtype=dtype)
    return W, x, labels, bias


def compare(W, x, labels, bias, optimiser, *, logits, scale, height, held, steps=2):
    kind, options = OPTIMISERS[optimiser]
    plain, ours = nn.Parameter(W.clone()), nn.Parameter(W.clone())
    stepping = kind([plain], **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fixhead.many_classes.chunkwise.NUMBERS", height * W.shape[1])
        trainer = ChunkwiseTrainer(ours, kind, held=held, **options)
    answers = []
    for step in range(steps):
        theirs = [t.clone().requires_grad_() for t in (x + step, bias)]
        mine = [t.clone().requires_grad_() for t in (x + step, bias)]
        stepping.zero_grad()
        true = plain_loss(theirs[0], plain, labels, logits, scale, theirs[1])
        true.backward()
        stepping.step()
        trainer.zero_grad()
        found = trainer.loss(mine[0], labels, logits=logits, scale=scale, bias=mine[1])
        found.backward()
        answers.append((found, true))
        answers += [(one.grad, other.grad) for one, other in zip(mine, theirs, strict=True)]
    assert ours.grad is None
    answers.append((ours, plain))
    # Adam divides a gradient that is nothing but rounding by its ε.
    near = 1e-7 if "adam" in optimiser else 1e-11
    for found, true in answers:
        torch.testing.assert_close(found.detach(), true.detach(), rtol=1e-11, atol=near)


@given(
    st.integers(2, 60),
    st.integers(1, 9),
    st.integers(1, 20),
    st.integers(1, 70),
    st.sampled_from([0.0, 0.3, 1.0, 100.0]),
    st.sampled_from(["dot", "cosine", "unit-features"]),
    st.sampled_from(sorted(OPTIMISERS)),
    st.sampled_from([0.5, 5.0, 300.0]),
)
@settings(max_examples=15, deadline=None)
def test_the_steps_are_the_plain_ones(classes, width, rows, height, held, logits, optimiser, scale):
    given_ = drawn(classes, width, rows, seed=classes)
    compare(*given_, optimiser, logits=logits, scale=scale, height=height, held=held)


@pytest.mark.parametrize("optimiser", sorted(OPTIMISERS))
def test_in_float32_the_steps_are_as_near_to_float64_as_the_plain_ones(optimiser):
    kind, options = OPTIMISERS[optimiser]
    W, x, labels, _ = drawn(3000, 16, 40, dtype=torch.float32)

    def moved(dtype, chunkwise):
        rows = nn.Parameter(W.to(dtype, copy=True))
        stepping = ChunkwiseTrainer(rows, kind, **options) if chunkwise else kind([rows], **options)
        for _ in range(2):
            stepping.zero_grad()
            if chunkwise:
                loss = stepping.loss(x.to(dtype), labels, logits="cosine", scale=20.0)
            else:
                loss = plain_loss(x.to(dtype), rows, labels, "cosine", 20.0, None)
            loss.backward()
            if not chunkwise:
                stepping.step()
        assert loss.dtype == dtype
        return float(loss.detach()), rows.detach().double()

    (true, exact), (near, plain) = moved(torch.float64, False), moved(torch.float32, False)
    found, ours = moved(torch.float32, True)
    assert abs(found - true) <= 2 * abs(near - true) + 1e-6 * true
    assert float((ours - exact).norm()) <= 1.5 * float((plain - exact).norm())


def test_ignored_rows_and_batches_of_none_move_only_what_decays():
    W, x, labels, _ = drawn(30, 4, 6)
    labels[2:] = -100
    plain, ours = nn.Parameter(W.clone()), nn.Parameter(W.clone())
    stepping = torch.optim.SGD([plain], lr=0.3)
    trainer = ChunkwiseTrainer(ours, lr=0.3)
    F.cross_entropy(x @ plain.T, labels).backward()
    stepping.step()
    trainer.loss(x, labels).backward()
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    before = ours.detach().clone()
    for few in (x[:0], x):
        trainer.zero_grad()
        none = torch.full((len(few),), -100)
        loss = trainer.loss(few, none)
        loss.backward()
        assert float(loss.detach()) == 0.0
        assert torch.equal(ours, before)


def test_nothing_moves_without_gradients_or_before_the_backward_pass():
    W, x, labels, _ = drawn(30, 4, 6)
    ours = nn.Parameter(W.clone())
    trainer = ChunkwiseTrainer(ours, lr=0.3)
    with torch.no_grad():
        value = trainer.loss(x, labels)
    assert float(value) == pytest.approx(float(F.cross_entropy(x @ W.T, labels)))
    trainer.loss(x, labels)
    assert torch.equal(ours, W)
    trainer.loss(x, labels).backward()
    assert not torch.equal(ours, W)


def test_a_head_learns_by_it_with_its_neck_and_scale_by_the_usual_optimiser():
    def trained(chunkwise):
        head = ClassificationHead(
            8, 50, vectors="random", learn_vectors=True, scale="learned:5", neck="linear",
            dtype=torch.float64, generator=torch.Generator().manual_seed(1),
        )  # fmt: skip
        _, x, labels, _ = drawn(50, 8, 20)
        others = [p for n, p in head.named_parameters() if n != "vectors"]
        rest = torch.optim.SGD(others, lr=0.1)
        rows = torch.optim.SGD([head.vectors], lr=0.1)
        trainer = ChunkwiseTrainer(head.vectors, lr=0.1)
        for _ in range(3):
            rest.zero_grad(), rows.zero_grad(), trainer.zero_grad()
            if chunkwise:
                points = head.project(x)
                loss = trainer.loss(points, labels, logits="cosine", scale=head.scale)
            else:
                loss = head.loss(x, labels)
            loss.backward()
            rest.step(), rows.step()
        return head.state_dict()

    plain, ours = trained(False), trained(True)
    for name, value in plain.items():
        torch.testing.assert_close(ours[name].double(), value.double(), rtol=1e-11, atol=1e-12)


def test_the_state_of_the_optimiser_goes_on():
    kind, options = OPTIMISERS["adam"]
    W, x, labels, _ = drawn(50, 4, 6)
    whole = nn.Parameter(W.clone())
    trainer = ChunkwiseTrainer(whole, kind, **options)
    for _ in range(2):
        trainer.zero_grad()
        trainer.loss(x, labels).backward()
    first = nn.Parameter(W.clone())
    begun = ChunkwiseTrainer(first, kind, **options)
    begun.loss(x, labels).backward()
    second = nn.Parameter(first.detach().clone())
    gone_on = ChunkwiseTrainer(second, kind, **options)
    gone_on.optimizer.load_state_dict(begun.optimizer.state_dict())
    gone_on.loss(x, labels).backward()
    assert torch.equal(second, whole)


def test_what_would_need_the_whole_gradient_is_refused():
    W, x, labels, _ = drawn(30, 4, 6)
    ours = nn.Parameter(W.clone())
    trainer = ChunkwiseTrainer(ours, lr=0.3)
    with pytest.raises(RequestError, match="cannot clip"):
        trainer.clip_grad_norm_(1.0)
    with pytest.raises(RequestError, match="scaled by 65536"):
        (trainer.loss(x, labels) * 65536.0).backward()
    with pytest.raises(RequestError, match=r"scaled by 0\.25"):
        (trainer.loss(x, labels) / 4).backward()
    assert torch.equal(ours, W)
    first, second = trainer.loss(x, labels), trainer.loss(x, labels)
    with pytest.raises(RequestError, match="cannot accumulate"):
        (first + second).backward()
    with pytest.raises(RequestError, match="cannot accumulate"):
        trainer.loss(x, labels).backward()  # no zero_grad since
    trainer.zero_grad()
    trainer.loss(x, labels).backward()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda W: ChunkwiseTrainer(W, torch.optim.LBFGS), "moves every number by itself"),
        (lambda W: ChunkwiseTrainer(W.half()), "float32 or float64, got"),
        (lambda W: ChunkwiseTrainer(W[0]), r"vectors \(K, d\)"),
        (lambda W: ChunkwiseTrainer(W, held=-1.0), "held must be a number of at least 0"),
        (
            lambda W: ChunkwiseTrainer(W).loss(torch.ones(1, 4).double(), torch.tensor([30])),
            "30",
        ),
        (
            lambda W: ChunkwiseTrainer(W).loss(W[:1], torch.tensor([0]), logits="arc"),
            "logits must be one of",
        ),
    ],
)  # fmt: skip
def test_what_it_cannot_train_is_refused(make, match):
    with pytest.raises(RequestError, match=match):
        make(drawn(30, 4, 1)[0])
