"""What a head's name means, in words: from the sentence that its runs' records carry."""

from __future__ import annotations

from dataclasses import dataclass

from .records import ComparisonRecords

_VECTORS = {"linear": "nn.Linear", "simplex": "simplex", "hadamard": "Hadamard"}
_LOGITS = {"dot": "dot-product", "cosine": "cosine"}


@dataclass(frozen=True)
class ArmWords:
    """A head's switches as its records say them; all empty where no record does."""

    name: str
    vectors: str = ""
    logits: str = ""
    scale: str = ""
    learned: bool | None = None
    code_width: str = ""

    @property
    def phrase(self) -> str:
        """``frozen random vectors``, or the bare name where nothing is known."""
        if self.learned is None:
            return self.name
        if self.learned:
            return "learned vectors"
        mapped = (
            f" behind a learned map to {self.code_width}" if self.code_width.isdecimal() else ""
        )
        return f"frozen {_VECTORS.get(self.vectors, self.vectors)} vectors{mapped}"

    @property
    def setting(self) -> str:
        """``cosine logits at S = 1``: what a frozen and a learned arm may share."""
        logits = f"{_LOGITS.get(self.logits, self.logits)} logits"
        if self.logits == "dot" and self.scale in ("", "1"):
            return logits
        if self.scale == "learned":
            return f"{logits} with a learned scale"
        if self.scale == "auto":
            return f"{logits} at the solved scale"
        return f"{logits} at S = {self.scale}"

    @property
    def description(self) -> str:
        """One line for the table: ``frozen random vectors, cosine logits at S = 1``."""
        if self.learned is None:
            return ""
        start = "" if not self.learned else f", started from {_start(self.vectors)}"
        return f"{self.phrase}{start}; {self.setting}"


def arms_by_name(records: ComparisonRecords) -> dict[str, ArmWords]:
    """Every arm's head, in order."""
    sentences = {run["head"]: run.get("head_sentence") for run in records.runs}
    return {name: parse(name, sentences.get(name)) for name in records.heads}


def parse(name: str, sentence: str | None) -> ArmWords:
    """``vectors=random,logits=cosine,scale=1,bias=no,learn=no`` → its switches."""
    parts = dict(
        part.split("=", 1) for part in (sentence or "").replace(" ", "").split(",") if "=" in part
    )
    if not {"vectors", "logits", "learn"} <= parts.keys():
        return ArmWords(name)
    return ArmWords(
        name,
        parts["vectors"],
        parts["logits"],
        parts.get("scale", ""),
        parts["learn"] == "yes",
        parts.get("code_width", ""),
    )


def matched(a: ArmWords, b: ArmWords) -> bool:
    """Two arms that differ in one thing only: random vectors frozen, or learned."""
    if a.learned is None or b.learned is None or a.learned == b.learned:
        return False
    frozen = b if a.learned else a
    alike = (a.logits, a.scale) == (b.logits, b.scale)
    return alike and frozen.vectors == "random" and frozen.code_width in ("", "none")


def _start(vectors: str) -> str:
    return "nn.Linear's own" if vectors == "linear" else f"{_VECTORS.get(vectors, vectors)} ones"
