"""Figures as a paper prints them, and where we have them from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["paper", "recalled", "missing"]


@dataclass(frozen=True)
class Printed:
    """A figure of a paper, as a fraction where it is an accuracy; None where it prints no number.

    ``source``: ``"paper"``, read in its text; ``"recalled"``, from memory, unverified;
    ``"missing"``, the text at hand has no such figure. ``note`` says what else to know.
    """

    value: float | None
    source: Source = "paper"
    note: str = ""


NOT_AT_HAND = Printed(None, "missing", "not at hand: empty in the text that we have")


def percent(value: float | None, note: str = "") -> Printed:
    """``percent(94.2)``: an accuracy as the table prints it."""
    return Printed(None if value is None else value / 100, "paper", note)


def recalled(value: float, note: str = "") -> Printed:
    """An accuracy in per cent that nobody could look up again: shown as recalled, unverified."""
    return Printed(value / 100, "recalled", note)
