import math

import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from torch import nn
from torch.nn.functional import cross_entropy

from fixhead import ClassificationHead, RequestError
from fixhead.heads.swap import unswap
from fixhead.training import finetune_head
from fixhead.training.finetune import aligned, logits_of
from fixhead.vectors import build

K, D = 6, 16


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def data(n=300, seed=0):
    """Six blobs in eight dimensions: easy, not trivial."""
    centres = 1.4 * torch.randn(K, 8, generator=generator(99))
    labels = torch.arange(n) % K
    return centres[labels] + torch.randn(n, 8, generator=generator(seed)), labels


def batches(n=300, seed=0, size=50):
    x, y = data(n, seed)
    return [(x[i : i + size], y[i : i + size]) for i in range(0, n, size)]


@pytest.fixture
def trained():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, D), nn.ReLU(), nn.Linear(D, K))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(30):
        for x, y in batches():
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


def test_a_trained_model_keeps_its_accuracy_under_a_fixed_head(trained):
    report = finetune_head(trained, batches(), validation=batches(600, seed=1), epochs=4)
    assert isinstance(trained[2], ClassificationHead)
    assert report.accuracy_before > 0.85
    assert report.accuracy_after >= report.accuracy_before - 0.02
    assert report.agreement > 0.9
    assert [epoch.epoch for epoch in report.epochs] == [1, 2, 3, 4]
    assert report.epochs[-1].loss < report.epochs[0].loss
    assert "before" in str(report)
    assert report.swap.parameters_saved == K * (D + 1)


def test_aligned_vectors_do_better_before_any_training(trained):
    held = batches(600, seed=1)
    turned = finetune_head(trained, batches(), validation=held, epochs=0)
    unswap(trained)
    plain = finetune_head(trained, batches(), validation=held, epochs=0, align=False)
    assert turned.accuracy_swapped > plain.accuracy_swapped + 0.2
    assert turned.aligned_cosine > plain.aligned_cosine + 0.3
    assert turned.accuracy_after == turned.accuracy_swapped


def test_alignment_changes_no_cosine_between_the_vectors():
    W, A = build("simplex", K, D, generator=generator()), torch.randn(K, D, generator=generator(1))
    turned = aligned(W, A)
    torch.testing.assert_close(turned @ turned.T, W @ W.T, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("rows", "columns"), [(5, 9), (9, 9), (12, 7)])
def test_alignment_is_the_procrustes_rotation_of_scipy(rows, columns):
    W = torch.randn(rows, columns, generator=generator()).double()
    A = torch.randn(rows, columns, generator=generator(1)).double()
    A = A - A.mean(dim=0)
    target = A / A.norm(dim=1, keepdim=True)
    R, _ = orthogonal_procrustes(W.numpy(), target.numpy())
    best = float((W @ torch.from_numpy(R) * target).sum())
    assert float((aligned(W, A) * target).sum()) == pytest.approx(best, rel=1e-10)


def test_modes_and_the_old_head_come_back(trained):
    old = trained[2]
    trained.eval()
    finetune_head(trained, batches(), epochs=1)
    assert not any(module.training for module in trained.modules())
    unswap(trained)
    assert trained[2] is old


def test_the_heads_own_loss_is_used_on_the_features(trained):
    report = finetune_head(
        trained,
        batches(),
        "vectors=simplex,loss=squared-cosine",
        epochs=1,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0),
    )
    x, y = data()
    features = torch.relu(trained[0](x)).detach()
    cosines = torch.cosine_similarity(features, trained[2].vectors[y], dim=1)
    assert report.epochs[0].loss == pytest.approx(float((1 - cosines).square().mean()), rel=1e-4)


def test_a_rising_scale_has_its_value_in_the_last_epoch(trained):
    scales = []

    def make(parameters):
        optimizer = torch.optim.SGD(parameters, lr=0.0)
        optimizer.register_step_pre_hook(lambda *_: scales.append(float(trained[2].scale)))
        return optimizer

    finetune_head(trained, batches(), "simplex@8:rising", epochs=2, optimizer=make)
    assert scales == [5.0] * 6 + [8.0] * 6


def test_an_optimizer_may_be_given(trained):
    made = []

    def make(parameters):
        made.extend(parameters)
        return torch.optim.SGD(parameters, lr=0.0)

    before = trained[0].weight.clone()
    finetune_head(trained, batches(), epochs=1, optimizer=make)
    assert torch.equal(trained[0].weight, before)
    assert len(made) == 2


def test_vectors_with_meaningful_coordinates_are_not_turned_and_nothing_is_changed(trained):
    old = trained[2]
    with pytest.raises(RequestError, match="align=False"):
        finetune_head(trained, batches(), "hadamard", epochs=1)
    assert trained[2] is old
    finetune_head(trained, batches(), "hadamard", epochs=1, align=False)


def test_a_diverging_run_is_stopped_with_its_place(trained):
    with pytest.raises(RequestError, match="epoch 1"):
        finetune_head(trained, [(torch.full((4, 8), math.nan), torch.zeros(4).long())], epochs=1)


def test_convolutional_and_double_heads_are_refused():
    conv = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(RequestError, match="one linear head"):
        finetune_head(conv, batches(), epochs=1)


@pytest.mark.parametrize("epochs", [-1, 1.5, True])
def test_epochs_must_be_a_whole_number(trained, epochs):
    with pytest.raises(RequestError, match="epochs"):
        finetune_head(trained, batches(), epochs=epochs)


def test_empty_batches_are_refused(trained):
    with pytest.raises(RequestError, match="at least one batch"):
        finetune_head(trained, [], epochs=1)


def test_an_output_that_holds_no_logits_is_refused():
    with pytest.raises(RequestError, match="tuple"):
        logits_of((torch.zeros(2, 3), torch.zeros(2, 3)))
