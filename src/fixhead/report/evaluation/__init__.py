"""``evaluation.json`` → its page: one file per section, each a function from the record alone."""

from __future__ import annotations

from .page import write_evaluation_page

__all__ = ["write_evaluation_page"]
