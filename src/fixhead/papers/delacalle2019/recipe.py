"""Data, network, arms and training of de la Calle et al. 2019."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...backbones import NeckName
from ...comparison.config import Choose, Initial
from ...training.recipe import Optimizer, ScheduleName
from ..cells import TrainingCell
from ..item import Request
from ..recipe import PaperRecipe, ours, paper

NAME = "delacalle2019"

ARMS = {
    # For K = 10 and d = 2 nn.Linear's own bound, 1/√2, is Xavier's: √(6 / (2 + 10)).
    "random": "vectors=linear,logits=dot,scale=1,bias=no,learn=yes",
    "guided": "guided",
    "guided, valley order": "vectors=guided:valley,logits=dot,scale=1,bias=no,learn=yes",
}
GONE = "classes without an area"
UNKNOWN = (
    "The paper does not say how many epochs it trained in all, which digit has which rank in the "
    "tail (here digit c has rank c), at which angles and lengths guided vectors start (here the "
    "unit circle, largest class at angle 0), or how large the images were that ResNet-101 got.",
    "Guided order: sorted round the ring, which puts the largest class beside the smallest; the "
    "valley order (1, 3, 5, …, 6, 4, 2) has no such seam. The paper's text does not say which.",
)


@dataclass(frozen=True)
class Recipe2019(PaperRecipe):
    """Section 3 of the paper, with ResNet-101 in ImageNet's layout as in its reference."""

    data: str = paper("mnist")
    imbalance: str | None = paper("geometric:0.5")
    backbone: str = paper("timm:resnet101")
    features: int | None = paper(2)
    neck: NeckName = ours("linear")
    initial: Initial = paper("xavier")
    augmentation: str = ours("none")
    choose: Choose = paper("last")
    epochs: int = ours(100)
    batch_size: int = paper(512)
    optimizer: Optimizer = paper("adam")
    lr: float = paper(5e-4)
    weight_decay: float = paper(5e-3)
    schedule: ScheduleName = paper("step")
    warmup_epochs: float = ours(0.0)
    milestones: tuple[int, ...] = paper((15, 80))
    gamma: float = paper(0.2)


def full() -> Recipe2019:
    """ResNet-101, as the paper.

    fixhead paper delacalle2019 variability --scale full --data-dir DIR
    One H200: a minute a run beside eight others. One CPU core: about an hour and a half a run;
    --epochs shortens it.
    """
    return Recipe2019()


def small() -> Recipe2019:
    """The same with the small network.

    fixhead paper delacalle2019 variability --scale small --data-dir DIR
    One CPU core: two to three minutes a run, fifteen runs.
    """
    return replace(Recipe2019(), backbone="small-cnn")


def recipe(request: Request) -> Recipe2019:
    chosen = full() if request.scale == "full" else small()
    return chosen if request.epochs is None else replace(chosen, epochs=request.epochs)


def cells(request: Request, arm: str) -> tuple[TrainingCell, ...]:
    seeds = request.seeds or (3 if request.scale == "full" else 5)
    chosen = recipe(request)
    return tuple(TrainingCell(chosen, ARMS[arm], seed, ("embedding",)) for seed in range(seeds))


def differs(request: Request) -> tuple[str, ...]:
    found = [] if request.scale == "full" else ["a smaller net: small-cnn, not ResNet-101"]
    if request.epochs is not None:
        found.append(f"a shorter schedule: {request.epochs} epochs")
    return tuple(found)
