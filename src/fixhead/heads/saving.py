"""The part of a head that is saved with its weights, and checked before they are loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .. import many_classes as large
from .code import Code
from .identity import HeadIdentity, check, digest, encode, stored_code


class Saved(nn.Module, ABC):
    """A module with class vectors, stored (``vectors``) or not (``implicit``).

    Its ``_extra_state`` says what the head is, with the digest of fixed vectors; for a code also
    the words that make it, in place of the vectors.
    """

    vectors: Tensor
    implicit: Code | None
    learn_vectors: bool
    _digest: tuple[object, str] | None = None

    @property
    @abstractmethod
    def identity(self) -> HeadIdentity:
        """What must agree between a checkpoint and the head that loads it."""

    def get_extra_state(self) -> Tensor:
        if self.implicit is not None:
            held = self.implicit.vectors
            return encode(self.identity, large.digest(held), large.words_of(held))
        return encode(self.identity, None if self.learn_vectors else self._frozen_digest())

    def set_extra_state(self, state: Tensor) -> None:
        check(state, self.identity, None)
        if self.implicit is not None:
            self.implicit.adopt(stored_code(state))

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # Checked before anything is copied: a refused checkpoint leaves the head as it was.
        stored = state_dict.get(prefix + "_extra_state")
        if stored is not None:
            check(stored, self.identity, state_dict.get(prefix + "vectors"))
            if self.implicit is not None:
                stored_code(stored)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _frozen_digest(self) -> str:
        rows = self.vectors
        key = (rows.data_ptr(), rows.dtype, rows.shape, rows._version)
        if self._digest is None or self._digest[0] != key:
            self._digest = (key, digest(rows))
        return self._digest[1]
