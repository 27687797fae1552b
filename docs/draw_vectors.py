"""Draw every construction of class vectors in 2 or 3 dimensions: docs/pictures/NAME.svg.

Run from the repository's root: python docs/draw_vectors.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from fixhead import vectors

FOLDER = Path(__file__).parent / "pictures"
SIZE, RADIUS = 240, 92
STYLE = """
  .ring { fill: none; stroke: #8a8f98; stroke-width: 1 }
  .edge { stroke: #8a8f98; stroke-width: 0.8; stroke-dasharray: 3 3 }
  .arm { stroke: #2563a8; stroke-width: 2; stroke-linecap: round }
  .tip { fill: #2563a8 }
  .far { opacity: 0.35 }
  .other { stroke: #b4551d } .other.tip { fill: #b4551d; stroke: none }
  text { font: 11px system-ui, sans-serif; fill: #3a3f47; text-anchor: middle }
  @media (prefers-color-scheme: dark) {
    .arm { stroke: #7db4f0 } .tip { fill: #7db4f0 } text { fill: #c9ced6 }
    .other { stroke: #f0a36b } .other.tip { fill: #f0a36b }
  }
"""

# The eye: turned about the vertical, then tilted; x to the right, y up, z towards the reader.
_TURN, _TILT = math.radians(28), math.radians(22)
EYE = torch.tensor(
    [
        [math.cos(_TURN), -math.sin(_TURN), 0.0],
        [-math.sin(_TURN) * math.sin(_TILT), -math.cos(_TURN) * math.sin(_TILT), math.cos(_TILT)],
        [math.sin(_TURN) * math.cos(_TILT), math.cos(_TURN) * math.cos(_TILT), math.sin(_TILT)],
    ],
    dtype=torch.float64,
)


def seen(rows: Tensor) -> Tensor:
    """Rows (K, 2 or 3) → (K, 3): right, up, towards the reader."""
    if rows.shape[1] == 2:
        return torch.nn.functional.pad(rows.double(), (0, 1))
    return rows.double() @ EYE.T


def place(point: Iterable[float], middle: float) -> tuple[float, float]:
    right, up, *_ = point
    return round(middle + RADIUS * right, 1), round(SIZE / 2 - RADIUS * up, 1)


def line(kind: str, a: tuple[float, float], b: tuple[float, float], extra: str = "") -> str:
    return f'<line class="{kind}" x1="{a[0]}" y1="{a[1]}" x2="{b[0]}" y2="{b[1]}"{extra}/>'


def ball(middle: float, solid: bool) -> list[str]:
    """The circle, and for three dimensions the equator."""
    shapes = [f'<circle class="ring" cx="{middle}" cy="{SIZE / 2}" r="{RADIUS}"/>']
    if solid:
        flat = round(RADIUS * math.sin(_TILT), 1)
        shapes.append(
            f'<ellipse class="ring far" cx="{middle}" cy="{SIZE / 2}" rx="{RADIUS}" ry="{flat}"/>'
        )
    return shapes


def edges(rows: Tensor, middle: float) -> list[str]:
    """Between the tips of every pair with the largest cosine."""
    gram = rows.double() @ rows.double().T
    gram.fill_diagonal_(-2)
    pairs = (gram > gram.max() - 1e-4).triu(1).nonzero().tolist()
    tips = [place(tip, middle) for tip in seen(rows).tolist()]
    return [line("edge", tips[i], tips[j]) for i, j in pairs]


def arms(
    rows: Tensor, middle: float, *, kind: str = "", labels: list[str] | None = None
) -> list[str]:
    """An arm and a tip for each row, the farthest first."""
    names = labels or [str(k) for k in range(rows.shape[0])]
    shapes = []
    order = sorted(range(rows.shape[0]), key=lambda k: float(seen(rows)[k, 2]))
    for k in order:
        point = seen(rows)[k].tolist()
        far = " far" if point[2] < -1e-9 else ""
        tip = place(point, middle)
        shapes.append(line(f"arm{kind}{far}", place((0.0, 0.0), middle), tip))
        shapes.append(f'<circle class="tip{kind}{far}" cx="{tip[0]}" cy="{tip[1]}" r="3.5"/>')
        length = math.hypot(*point[:2])
        if names[k] and length > 0.05:
            out = [value * (1 + 0.16 / length) for value in point[:2]]
            x, y = place(out, middle)
            shapes.append(f'<text class="{far.strip()}" x="{x}" y="{y + 4:.1f}">{names[k]}</text>')
    return shapes


def single(rows: Tensor, *, joined: bool = False, both_ways: bool = False) -> str:
    """One ball with its vectors; ``both_ways`` draws lines through the middle."""
    middle = SIZE / 2
    shapes = ball(middle, rows.shape[1] == 3)
    if joined:
        shapes += edges(rows, middle)
    if both_ways:
        shapes += arms(-rows, middle, labels=[""] * rows.shape[0])
    return page(shapes + arms(rows, middle), SIZE)


def page(shapes: list[str], width: float) -> str:
    box = f'viewBox="0 0 {width} {SIZE}" width="{width}" height="{SIZE}"'
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>\n<style>{STYLE}</style>\n{body}\n</svg>\n'
    )


def guided() -> str:
    """Both orders in the plane, with counts at the tips."""
    counts = [500, 250, 125, 62, 31, 15, 8, 4]
    shapes = []
    for number, order in enumerate(("circular", "valley")):
        middle = SIZE * (number + 0.5)
        rows = vectors.guided(8, 2, counts=counts, order=order)
        shapes += ball(middle, False) + arms(rows, middle, labels=[str(c) for c in counts])
        shapes.append(f'<text x="{middle - 88}" y="{SIZE - 8}">{order}</text>')
    return page(shapes, 2 * SIZE)


def given() -> str:
    """Somebody's rows, and the unit rows made of them."""
    middle = SIZE / 2
    rows = torch.tensor([[0.3, 0.5], [-0.9, 0.6], [0.4, -0.25], [-0.2, -0.7]])
    unit = vectors.from_tensor(rows)
    shapes = ball(middle, False) + arms(unit, middle)
    return page(shapes + arms(rows, middle, kind=" other", labels=[""] * 4), SIZE)


def shadow() -> str:
    """Kerdock's 12 lines in 4 dimensions (the long diagonals of the 24-cell), seen in the plane."""
    rows = vectors.codes(12, 4, dtype=torch.float64)
    angles = torch.tensor([0.3, 1.15, 2.0, 2.85], dtype=torch.float64)
    plane = torch.linalg.qr(torch.stack([angles.cos(), angles.sin()], dim=1))[0]
    return single(rows @ plane, both_ways=True)


def words() -> str:
    """The nine words of q = 3, n = 2: a row per class, a column per feature, a dot per entry."""
    rows = vectors.block_code(9, 6, blocks=2).words(torch.arange(9))
    shapes = []
    for k, word in enumerate(rows.tolist()):
        y = 24 + 24 * k
        shapes.append(f'<text x="22" y="{y + 4}">{k}</text>')
        for feature in range(6):
            block, letter = divmod(feature, 3)
            x = 52 + 26 * feature + 20 * block
            kind, radius = ("tip", 7) if word[block] == letter else ("ring", 3)
            shapes.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius}"/>')
    return page(shapes, SIZE)


PICTURES: dict[str, Callable[[], str]] = {
    "random": lambda: single(vectors.random(10, 3)),
    "simplex": lambda: single(vectors.simplex(4, 3), joined=True),
    "max_separation": lambda: single(vectors.max_separation(4, 3), joined=True),
    "orthonormal": lambda: single(vectors.orthonormal(3, 3)),
    "hadamard": lambda: single(vectors.hadamard(4, 3), joined=True),
    "one_hot": lambda: single(vectors.one_hot(3, 3)),
    "nonnegative_orthogonal": lambda: single(vectors.nonnegative_orthogonal(2, 3)),
    "orthoplex": lambda: single(vectors.orthoplex(6, 3), joined=True),
    "cube": lambda: single(vectors.cube(8, 3), joined=True),
    "polygon": lambda: single(vectors.polygon(10, rotate=False), joined=True),
    "equiangular": lambda: single(vectors.equiangular(6, 3), both_ways=True),
    "spherical_code": lambda: single(vectors.spherical_code(24, 3), joined=True),
    "codes": shadow,
    "block_codes": words,
    "guided": guided,
    "from_tensor": given,
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
