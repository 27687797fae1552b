"""Heads over very many classes against the plain formulae, by one inherited suite."""

import pytest
import torch
from head_agreement import HeadAgreement

from fixhead import ClassificationHead


class TestStoredHead(HeadAgreement):
    vectors = "random"

    def make(self, classes, features, **switches):
        return ClassificationHead(features, classes, vectors=self.vectors, **switches)

    def matrix(self, head):
        return head.vectors


class TestStoredHeadBehindAMap(TestStoredHead):
    def make(self, classes, features, **switches):
        return super().make(classes, features, code_width=2 * features, **switches)


class TestImplicitHead(TestStoredHead):
    vectors = "implicit"

    def matrix(self, head):
        return head.class_vectors.dense()


class TestImplicitHeadOnTheTorchPath(TestImplicitHead):
    @pytest.fixture(autouse=True)
    def _path(self, monkeypatch):
        monkeypatch.setenv("FIXHEAD_SCALE_PATH", "torch")


class TestImplicitHeadOfRandomSigns(TestImplicitHead):
    vectors = "implicit:random"


class TestImplicitHeadBehindAMap(TestImplicitHead):
    def make(self, classes, features, **switches):
        head = super().make(classes, features, code_width=3 * features, **switches)
        assert head.code_map.shape == (3 * features, features)
        with torch.no_grad():  # classes that agree in their first columns tie until the map learns
            head.code_map += torch.randn(
                head.code_map.shape, generator=torch.Generator().manual_seed(8)
            )
        return head


def test_an_implicit_head_has_the_vectors_of_codes():
    codes = ClassificationHead(64, 1000, vectors="codes", scale=9.0)
    implicit = ClassificationHead(64, 1000, vectors="implicit", scale=9.0)
    assert torch.equal(implicit.vectors, codes.vectors)
