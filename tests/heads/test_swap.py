import copy
import gc
import pickle
import time
import weakref

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import weight_norm

from fixhead import ClassificationHead, RequestError
from fixhead.heads.swap import swap_head, swapped_heads, unswap
from fixhead.vectors import build


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=2, size=8):
    return torch.randn(n, 3, size, size, generator=generator())


class Net(nn.Module):
    """A model that says nothing about its head: a name of its own, functions in between."""

    def __init__(self, classes=10):
        super().__init__()
        self.body = nn.Linear(3 * 8 * 8, 16)
        self.out = nn.Linear(16, classes)

    def forward(self, x):
        return self.out(torch.relu(self.body(x.flatten(1))))


class DataDependent(Net):
    def forward(self, x):
        logits = super().forward(x)
        return {"logits": logits if x.sum() > -1e9 else -logits}


def conv_model(classes=10):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, classes, 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )  # fmt: skip


def test_the_swapped_layer_is_the_head_on_the_same_features():
    model = Net()
    features = torch.relu(model.body(images().flatten(1)))
    swap_head(model, "simplex@7", classes=5, generator=generator(3))
    expected = ClassificationHead.from_preset("simplex@7", 16, 5, generator=generator(3))(features)
    torch.testing.assert_close(model(images()), expected)


def test_unswap_gives_the_very_same_layer_back():
    model = Net()
    old, before = model.out, model(images())
    swap_head(model, "random-cosine", classes=4)
    assert model(images()).shape == (2, 4)
    unswap(model)
    assert model.out is old
    assert torch.equal(model(images()), before)
    assert "_fixhead_swap" not in vars(model)


def test_classes_stay_as_they_are_where_none_are_given():
    model = Net(classes=6)
    swap_head(model, "simplex")
    assert model(images()).shape == (2, 6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_new_head_has_the_dtype_of_the_old_one(dtype):
    model = Net().to(dtype)
    swap_head(model, "simplex@auto", classes=5)
    assert model.out.vectors.dtype == dtype
    assert model(images().to(dtype)).dtype == dtype


def test_the_new_head_has_the_device_of_the_old_one():
    model = Net().to("meta")
    swap_head(model, "simplex", classes=5)
    assert {own.device.type for own in model.out.buffers()} == {"meta"}


def test_a_model_converted_after_the_swap_gets_its_old_head_converted():
    model = Net()
    swap_head(model, "simplex", classes=5)
    model.double()
    unswap(model)
    assert model.out.weight.dtype == torch.float64
    assert model(images().double()).shape == (2, 10)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_kept_both_ways(training):
    model = Net().train(training)
    swap_head(model, "simplex-dr", classes=5)
    assert [own.training for own in model.modules()] == [training] * len(list(model.modules()))
    model.train(not training)
    unswap(model)
    assert model.out.training is not training


def test_hooks_of_the_old_layer_see_the_new_one_and_their_handles_remove_them():
    model, seen = Net(), []
    handle = model.out.register_forward_hook(lambda *_: seen.append("after"))
    model.out.register_forward_pre_hook(lambda *_, **__: seen.append("before"), with_kwargs=True)
    model.out.register_full_backward_hook(lambda *_: seen.append("backward"))
    swap_head(model, "simplex", classes=5)
    model(images()).sum().backward()
    assert seen == ["before", "after", "backward"]
    handle.remove()
    seen.clear()
    model(images())
    assert seen == ["before"]
    unswap(model)
    seen.clear()
    model(images()).sum().backward()
    assert seen == ["before", "backward"]


def test_hooks_added_after_the_swap_stay_after_unswap():
    model, seen = Net(), []
    swap_head(model, "simplex", classes=5)
    model.out.register_forward_hook(lambda *_: seen.append(1))
    unswap(model)
    model(images())
    assert seen == [1]


def test_a_convolution_gets_the_head_at_every_position():
    model = conv_model()
    maps = model[1](model[0](images()))
    swap_head(model, "random-cosine", classes=5)
    logits = model[2](maps)
    assert logits.shape == (2, 5, 6, 6)
    torch.testing.assert_close(logits[:, :, 2, 3], model[2].head(maps[:, :, 2, 3]))
    model(images()).sum().backward()
    assert model[0].weight.grad.abs().sum() > 0


def test_a_head_with_batchnorm_works_at_every_position():
    model = conv_model().train()
    swap_head(model, "simplex-dr", classes=5)
    assert model(images()).shape == (2, 5)


def test_a_relu_behind_the_head_is_said():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    assert any("ReLU" in note for note in swap_head(model, "simplex", classes=3).notes)


def test_class_vectors_may_be_given():
    rows = build("orthonormal", 5, 16, generator=generator())
    model = Net()
    swap_head(model, rows)
    torch.testing.assert_close(model.out.vectors, rows)
    assert model(images()).shape == (2, 5)


def test_a_head_may_be_given():
    model, head = Net(), ClassificationHead(16, 5, vectors="random", logits="dot", scale=1.0)
    swap_head(model, head)
    assert model.out is head


def test_a_head_of_another_size_is_refused_and_changes_nothing():
    model = Net()
    old = model.out
    with pytest.raises(RequestError, match="features=16"):
        swap_head(model, ClassificationHead(17, 5))
    with pytest.raises(RequestError, match=r"simplex\(\) needs"):
        swap_head(model, "simplex", classes=99)
    assert model.out is old


def test_the_report_counts_what_is_no_longer_trained():
    report = swap_head(Net(), "simplex", classes=10)
    assert (report.trainable_before, report.trainable_after) == (170, 0)
    assert report.parameters_saved == 170
    assert report.gradient_bytes_saved == 4 * 170
    assert report.optimizer_bytes_saved(2) == 2 * 4 * 170
    assert "170 -> 0" in str(report)
    assert "680 B per step" in str(report)


def test_the_report_of_a_learned_head_saves_only_the_bias():
    report = swap_head(Net(), "learned-cosine", classes=10)
    assert report.parameters_saved == 10


def test_a_module_is_understood_by_the_end_of_its_graph():
    assert swap_head(Net(), "simplex", classes=5).found == "the graph's end"


def test_an_mlp_is_swapped_at_its_last_layer_behind_a_softmax():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.LogSoftmax(dim=1))
    report = swap_head(model, "simplex", classes=3)
    assert [place.name for place in report.places] == ["2"]


def test_the_only_linear_is_the_head_where_the_graph_cannot_be_traced():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.last = nn.Linear(4, 10)

        def forward(self, x):
            x = self.conv(x).mean((2, 3))
            return self.last(x if x.sum() > 0 else -x)

    model = Odd()
    assert swap_head(model, "simplex", classes=3).found == "the only Linear"
    assert model(images()).shape == (2, 3)


def test_what_is_not_understood_is_refused_with_the_candidates():
    model = DataDependent()
    with pytest.raises(RequestError, match=r"body \(192 -> 16\), out \(16 -> 10\).*where="):
        swap_head(model, "simplex", classes=5)
    assert isinstance(model.out, nn.Linear)


def test_an_example_shows_which_layer_it_is_and_leaves_modes_as_they_were():
    model = DataDependent()
    model.body.eval()
    report = swap_head(model, "simplex", classes=5, example=images())
    assert [place.name for place in report.places] == ["out"]
    assert model(images())["logits"].shape == (2, 5)
    assert (model.training, model.body.training) == (True, False)


def test_a_name_settles_it():
    model = DataDependent()
    swap_head(model, "simplex", classes=5, where="out")
    assert model(images())["logits"].shape == (2, 5)


@pytest.mark.parametrize("where", ["nowhere", ""])
def test_a_name_that_names_no_layer_is_refused_with_the_candidates(where):
    with pytest.raises(RequestError, match="candidates are body"):
        swap_head(DataDependent(), "simplex", classes=5, where=where)


def test_two_layers_with_heads_names_are_not_guessed_between():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.head = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(x) + self.head(x)

    with pytest.raises(RequestError, match=r"fc \(4 -> 4\), head \(4 -> 4\)"):
        swap_head(Two(), "simplex", classes=3)


def test_a_model_without_a_linear_says_so():
    with pytest.raises(RequestError, match="neither a Linear nor"):
        swap_head(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), "simplex")


def test_a_second_swap_is_refused():
    model = Net()
    swap_head(model, "simplex", classes=5)
    with pytest.raises(RequestError, match="unswap"):
        swap_head(model, "simplex", classes=5)


def test_unswap_without_a_swap_is_refused():
    with pytest.raises(RequestError, match="did not"):
        unswap(Net())


def test_unswap_refuses_where_another_head_was_put_since():
    model = Net()
    swap_head(model, "simplex", classes=5)
    model.out = nn.Linear(16, 3)
    with pytest.raises(RequestError, match="put there since"):
        unswap(model)
    swap_head(model, "simplex", classes=5)  # and it can be swapped anew
    unswap(model)
    assert model.out.out_features == 3


def test_an_old_head_that_is_not_kept_frees_its_memory_and_cannot_come_back():
    model = Net()
    old = weakref.ref(model.out)
    swap_head(model, "simplex", classes=5, keep_old=False)
    gc.collect()
    assert old() is None
    with pytest.raises(RequestError, match="keep_old"):
        unswap(model)


def test_weight_norm_is_refused():
    model = Net()
    with pytest.warns(FutureWarning):
        weight_norm(model.out)
    with pytest.raises(RequestError, match="WeightNorm"):
        swap_head(model, "simplex", classes=5)


def test_nothing_of_the_old_head_is_in_parameters_or_the_state_dict():
    model = Net()
    swap_head(model, "simplex", classes=5)
    assert [name for name, _ in model.named_parameters()] == ["body.weight", "body.bias"]
    assert {name for name in model.state_dict() if name.startswith("out.")} == {
        "out.vectors", "out.scale", "out._extra_state"
    }  # fmt: skip


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_can_be_unswapped_on_its_own(copier):
    model = Net()
    before = model(images())
    swap_head(model, "simplex", classes=5)
    twin = copier(model)
    unswap(twin)
    assert torch.equal(twin(images()), before)
    assert model(images()).shape == (2, 5)


def test_a_wrapped_model_is_refused_and_a_compiled_one_is_swapped_inside():
    with pytest.raises(RequestError, match="DataParallel"):
        swap_head(nn.DataParallel(Net()), "simplex", classes=5)
    model = Net()
    swap_head(torch.compile(model, backend="eager"), "simplex", classes=5)
    assert isinstance(model.out, ClassificationHead)


def test_the_global_generator_is_not_touched():
    model = Net()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    swap_head(model, "random-cosine", classes=5)
    assert torch.equal(torch.rand(1), expected)


def test_losses_are_called_on_the_swapped_heads():
    model = Net()
    swap_head(model, "simplex", classes=5)
    [head] = swapped_heads(model)
    features, labels = torch.randn(4, 16, generator=generator()), torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(
        head.loss(features, labels), cross_entropy(model.out(features), labels)
    )


def test_a_wrapper_round_a_timm_model_is_swapped_inside():
    class Timm(Net):
        num_classes = 10

        def get_classifier(self):
            return self.out

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.timm_model = Timm()

        def forward(self, x):
            return self.timm_model(x)

    model = Wrapper()
    report = swap_head(model, "simplex", classes=5)
    assert [place.name for place in report.places] == ["timm_model.out"]
    assert model.timm_model.num_classes == 5
    unswap(model)
    assert model.timm_model.num_classes == 10


def test_a_sharded_layer_is_refused():
    model = Net()
    model.out.weight = type("DTensor", (nn.Parameter,), {})(torch.zeros(10, 16))
    with pytest.raises(RequestError, match="before sharding"):
        swap_head(model, "simplex", classes=5)


def test_a_layer_that_has_not_seen_data_is_no_candidate():
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
    with pytest.raises(RequestError, match="neither a Linear nor"):
        swap_head(model, "simplex", classes=5)


def test_an_mlp_that_could_feed_itself_is_not_taken_for_two_heads():
    class Mlp(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.second = nn.Linear(4, 4)

    class Model(nn.Module):
        num_classes = 4

        def __init__(self):
            super().__init__()
            self.head = Mlp()

        def forward(self, x):
            return self.head.second(self.head.first(x))

    report = swap_head(Model(), "simplex", classes=3)
    assert [place.name for place in report.places] == ["head.second"]
    assert report.found == "the graph's end"


def test_a_swap_takes_less_than_fifty_milliseconds_beside_the_vectors():
    model, head = Net(), ClassificationHead(16, 1000, vectors="random", scale=20.0)
    model.out = nn.Linear(16, 1000)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        swap_head(model, head)
        seconds.append(time.perf_counter() - start)
        unswap(model)
    assert min(seconds) < 0.05
