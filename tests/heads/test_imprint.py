"""Class vectors at class means and the layer before them at discriminants, against closed forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fixhead import ClassificationHead, RequestError
from fixhead.heads import HeadSpec, ImprintWarning, parse_head
from fixhead.heads.imprint import ClassMoments, discriminant_, imprinted, parse_initial


def clusters(classes=5, per_class=40, width=12, seed=0, least=0.1):
    """Features (N, D) of classes apart in three directions, noise unequal by direction."""
    draws = torch.Generator().manual_seed(seed)
    means = torch.zeros(classes, width)
    means[:, :3] = torch.randn(classes, 3, generator=draws)
    labels = torch.arange(classes).repeat_interleave(per_class)
    noise = torch.randn(len(labels), width, generator=draws) * torch.linspace(least, 3, width)
    return means[labels] + noise + 7.0, labels


def linear(width, out):
    layer = nn.Linear(width, out, device="meta").to_empty(device="cpu")
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(out, width, generator=draws) / width**0.5)
        layer.bias.zero_()
    return layer


def moments_of(features, labels, classes, pooled=True):
    seen = ClassMoments(classes, features.shape[1], pooled=pooled)
    for part in range(0, len(labels), 23):
        seen.add(features[part : part + 23], labels[part : part + 23])
    return seen


def test_moments_in_batches_are_those_of_all_features_in_float64():
    features, labels = clusters()
    seen = moments_of(features, labels, 6)
    wide = features.double()
    means = torch.stack([wide[labels == k].mean(dim=0) for k in range(5)])
    apart = wide - means[labels]
    torch.testing.assert_close(seen.means[:5].double(), means, rtol=1e-5, atol=1e-5)
    assert not seen.means[5].any()
    assert seen.present.tolist() == [0, 1, 2, 3, 4]
    within = apart.T @ apart / (len(labels) - 5)
    torch.testing.assert_close(seen.within().double(), within, rtol=1e-4, atol=1e-4)


def test_the_discriminants_span_those_of_scikit_learn():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    features, labels = clusters(per_class=400)
    layer = linear(12, 3)
    discriminant_(layer, moments_of(features, labels, 5))
    fitted = LinearDiscriminantAnalysis(solver="eigen", n_components=3)
    fitted.fit(features.double().numpy(), labels.numpy())
    theirs = torch.from_numpy(fitted.scalings_[:, :3]).T
    ours = layer.weight.detach().double()
    cosines = torch.linalg.svdvals(
        torch.linalg.qr(theirs.T)[0].T @ torch.linalg.qr(ours.T)[0]
    )  # of the angles between the two spans; the ridge turns ours a little
    assert float(cosines.min()) > 0.99


def test_outputs_of_a_fully_whitened_layer_vary_alike_within_classes():
    features, labels = clusters(per_class=400, least=1.0)
    layer = linear(12, 3)
    discriminant_(layer, moments_of(features, labels, 5))
    out = layer(features).detach().double()
    apart = out - torch.stack([out[labels == k].mean(dim=0) for k in range(5)])[labels]
    covariance = apart.T @ apart / len(labels)
    spread = covariance.diagonal().sqrt()
    assert float(spread.max() / spread.min()) < 1.15
    correlation = covariance / spread.outer(spread)
    assert float((correlation - torch.eye(3)).abs().max()) < 0.1
    assert (
        float(torch.stack([out[labels == k].mean(dim=0) for k in range(5)]).mean(0).norm()) < 1e-4
    )


def test_no_whitening_gives_the_principal_directions_of_the_class_means():
    features, labels = clusters()
    layer = linear(12, 2)
    discriminant_(layer, moments_of(features, labels, 5), whitening=0.0)
    means = torch.stack([features[labels == k].double().mean(dim=0) for k in range(5)])
    _, _, axes = torch.linalg.svd(means - means.mean(dim=0), full_matrices=False)
    rows = layer.weight.detach().double()
    cosines = (rows @ axes[:2].T).abs().diagonal() / rows.norm(dim=1)
    torch.testing.assert_close(cosines, torch.ones(2).double(), rtol=0, atol=1e-4)


def test_a_layer_keeps_its_mean_row_length_and_rows_beyond_the_discriminants_vary_little():
    features, labels = clusters(classes=3)
    layer = linear(12, 6)
    before = layer.weight.detach().norm(dim=1).mean()
    own = layer.weight.detach().clone()
    discriminant_(layer, moments_of(features, labels, 3))
    assert float(layer.weight.detach()[:2].norm(dim=1).mean()) == pytest.approx(float(before))
    spread = layer(features).detach().std(dim=0)
    assert float(spread[2:].max()) < 0.3 * float(spread[:2].min())
    cosines = torch.cosine_similarity(layer.weight.detach()[2:], own[2:], dim=1)
    torch.testing.assert_close(cosines.abs(), torch.ones(4))


@given(st.integers(2, 9), st.integers(2, 6), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_class_vectors_are_the_unit_means_whatever_the_batches(classes, width, seed):
    draws = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(classes), torch.randint(classes, (20,), generator=draws)])
    features = torch.randn(len(labels), width, generator=draws)
    head = ClassificationHead(
        width, classes, vectors="linear", scale=9.0, learn_vectors=True, initial="class-means"
    )
    head.imprint(features, labels)
    unit = features.double() / features.double().norm(dim=1, keepdim=True)
    means = torch.stack([unit[labels == k].mean(dim=0) for k in range(classes)])
    true = means / means.norm(dim=1, keepdim=True)
    torch.testing.assert_close(head.vectors.detach().double(), true, rtol=1e-3, atol=1e-4)


def test_dot_vectors_are_centred_means_as_long_as_the_heads_own():
    features, labels = clusters(classes=4, width=6)
    head = ClassificationHead.from_preset("learned-dot:imprint", 6, 4)
    own = head.vectors.detach().norm(dim=1).mean()
    head.imprint(features, labels)
    means = torch.stack([features[labels == k].mean(dim=0) for k in range(4)])
    rows = head.vectors.detach()
    assert float(rows.norm(dim=1).mean()) == pytest.approx(float(own), rel=1e-4)
    cosines = torch.cosine_similarity(rows, means - means.mean(dim=0), dim=1)
    torch.testing.assert_close(cosines, torch.ones(4), rtol=0, atol=1e-4)


def test_an_imprinted_head_predicts_the_nearest_class_mean():
    features, labels = clusters(classes=5, width=12)
    head = ClassificationHead.from_preset("learned-cosine:imprint@20", 12, 5)
    head.imprint(features, labels)
    unit = features / features.norm(dim=1, keepdim=True)
    means = torch.stack([unit[labels == k].mean(dim=0) for k in range(5)])
    nearest = (unit @ (means / means.norm(dim=1, keepdim=True)).T).argmax(dim=1)
    assert torch.equal(head(features).argmax(dim=1), nearest)


def test_a_linear_neck_is_set_before_the_means_are_taken():
    features, labels = clusters(per_class=200)
    spec = "vectors=random,learn=yes,scale=20,neck=linear:3,initial={}"
    right = {}
    for word in ("class-means", "imprint", "imprint:0.5"):
        head = ClassificationHead.from_preset(spec.format(word), 12, 5)
        head.imprint(features, labels)
        right[word] = float((head(features).argmax(dim=1) == labels).float().mean())
    assert right["imprint"] > right["class-means"] + 0.1
    head = ClassificationHead.from_preset(spec.format("discriminant"), 12, 5)
    before = head.vectors.detach().clone()
    head.imprint(features, labels)
    assert torch.equal(head.vectors, before)


def test_a_class_without_an_image_keeps_its_own_vector_and_is_named():
    features, labels = clusters(classes=4, width=6)
    head = ClassificationHead.from_preset("learned-cosine:imprint@20", 6, 6)
    before = head.vectors.detach().clone()
    with pytest.warns(ImprintWarning, match="class 4, 5 had no image"):
        head.imprint(features, labels)
    assert torch.equal(head.vectors[4:], before[4:])
    assert not torch.equal(head.vectors[:4], before[:4])


def test_of_many_classes_without_an_image_five_are_named():
    with pytest.warns(ImprintWarning, match="class 1, 2, 3, 4, 5 and 4 more had no image"):
        imprinted(torch.ones(10, 2), torch.tensor([1.0] + 9 * [0.0]), torch.ones(10, 2), "cosine")


def test_a_head_that_awaits_data_refuses_its_loss_until_it_has_seen_some():
    features, labels = clusters(classes=5, width=12)
    head = ClassificationHead.from_preset("learned-cosine:imprint@20", 12, 5)
    for loss in (head.loss, head.loss_and_logits):
        with pytest.raises(RequestError, match=r"call head\.imprint"):
            loss(features, labels)
    assert torch.isfinite(head.eval().loss(features, labels))
    trained = ClassificationHead.from_preset("learned-cosine@20", 12, 5)
    head.train().load_state_dict(trained.state_dict())
    assert torch.isfinite(head.loss(features, labels))


def test_presets_and_specs_say_where_they_start():
    spec = parse_head("learned-cosine:imprint@20:rising")
    assert spec == HeadSpec("random", scale="20:rising", learn_vectors=True, initial="imprint")
    assert str(spec).endswith(",initial=imprint")
    assert parse_head(str(spec)) == spec
    assert "initial" not in str(parse_head("learned-cosine@20"))  # as records have always said it
    assert parse_head("learned-dot:paired:imprint").vectors == "random"
    assert parse_initial("discriminant:0.25").whitening == 0.25


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("simplex:imprint", "needs learned class vectors"),
        ("vectors=codes,initial=class-means", "needs learned class vectors"),
        ("vectors=random,learn=yes,initial=lucky", "initial must be one of own"),
        ("vectors=random,learn=yes,initial=class-means:1", "initial must be one of own"),
        ("vectors=random,learn=yes,initial=imprint:2", "a whitening from 0 to 1"),
        ("vectors=random,learn=yes,initial=imprint:", "a whitening from 0 to 1"),
    ],
)
def test_a_start_that_cannot_be_is_refused(text, match):
    with pytest.raises(RequestError, match=match):
        parse_head(text)


def test_features_that_do_not_do_are_refused():
    head = ClassificationHead.from_preset("learned-cosine:imprint@20", 6, 3)
    labels = torch.arange(3)
    with pytest.raises(RequestError, match="features that are not all zero"):
        head.imprint(torch.zeros(3, 6), labels)
    with pytest.raises(RequestError, match="needs finite features"):
        head.imprint(torch.full((3, 6), torch.nan), labels)
    with pytest.raises(RequestError, match="classes with two images or more"):
        discriminant_(linear(6, 3), moments_of(torch.randn(3, 6), labels, 3))
    with pytest.raises(RequestError, match="images of two classes"):
        discriminant_(linear(6, 3), moments_of(torch.randn(3, 6), torch.zeros(3).long(), 3))
    same = moments_of(torch.eye(3, 6).repeat(2, 1), labels.repeat(2), 3)
    with pytest.raises(RequestError, match="vary within classes"):
        discriminant_(linear(6, 3), same)
    with pytest.raises(RequestError, match="use initial=class-means"):
        ClassMoments(10, 20_000, pooled=True)
    bare = ClassificationHead.from_preset("vectors=random,learn=yes,initial=discriminant", 6, 3)
    with pytest.raises(RequestError, match="needs a linear layer right before"):
        bare.imprint(torch.randn(3, 6), labels)
    frozen = ClassificationHead(6, 3, vectors="random")
    with pytest.raises(RequestError, match="frozen random ones"):
        frozen.imprint(torch.randn(3, 6), labels)
    with pytest.raises(RequestError, match=r"means \(K, d\) = \(3, 6\)"):
        head.imprint_means(torch.ones(4, 6), torch.ones(4))
