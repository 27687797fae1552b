"""What records say of their origin."""

from __future__ import annotations

import pytest

from fixhead.runs import machine


def test_a_copy_without_its_repository_says_the_commit_that_it_was_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "_git", lambda folder, *arguments: None)
    monkeypatch.delenv("FIXHEAD_COMMIT", raising=False)
    assert machine.commit() is None
    monkeypatch.setenv("FIXHEAD_COMMIT", "4d19d36")
    assert machine.commit() == "4d19d36"
