"""A Lightning module: the head is swapped in the constructor and used like any other layer.

Needs: pip install lightning
Run: python examples/lightning_module.py
"""

from __future__ import annotations

import lightning
import torch
from digits import SmallNet, accuracy, digits
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from fixhead.heads.swap import swap_head


class Classifier(lightning.LightningModule):
    """Any model with a fixed head; its vectors are buffers, so checkpoints carry them."""

    def __init__(self, head: str = "simplex") -> None:
        super().__init__()
        self.model = SmallNet()
        self.swap = swap_head(self.model, head)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def main() -> float:
    lightning.seed_everything(0, verbose=False)
    train, test = digits()
    module = Classifier()
    print(module.swap)
    vectors = module.model.fc.vectors.clone()
    trainer = lightning.Trainer(
        max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(*train), batch_size=64, shuffle=True))
    assert torch.equal(module.model.fc.vectors, vectors)
    result = accuracy(module, test)
    print(f"test accuracy {result:.3f}")
    return result


if __name__ == "__main__":
    main()
