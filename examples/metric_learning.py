"""A pytorch-metric-learning trainer whose classifier is a fixed head: it needs no second optimiser.

The trainer says that ``classifier_optimizer`` is missing. That is right: nothing there is trained.

Needs: pip install pytorch-metric-learning
Run: python examples/metric_learning.py
"""

from __future__ import annotations

import logging

import torch
from digits import CLASSES, SmallNet, accuracy, digits
from pytorch_metric_learning import losses, trainers
from torch import nn
from torch.utils.data import TensorDataset

from fixhead import ClassificationHead


def main() -> float:
    torch.manual_seed(0)
    logging.disable(logging.INFO)
    train, test = digits()
    trunk = SmallNet()
    trunk.fc = nn.Identity()
    head = ClassificationHead.from_preset("simplex", 64, CLASSES)
    vectors = head.vectors.clone()
    trainer = trainers.TrainWithClassifier(
        models={"trunk": trunk, "classifier": head},
        optimizers={"trunk_optimizer": torch.optim.SGD(trunk.parameters(), lr=0.05, momentum=0.9)},
        batch_size=64,
        loss_funcs={
            "classifier_loss": nn.CrossEntropyLoss(),
            "metric_loss": losses.TripletMarginLoss(margin=0.1),
        },
        dataset=TensorDataset(*train),
        loss_weights={"classifier_loss": 1.0, "metric_loss": 0.1},
        data_device=torch.device("cpu"),
        dataloader_num_workers=0,
    )
    trainer.train(num_epochs=4)
    assert torch.equal(head.vectors, vectors)
    result = accuracy(nn.Sequential(trunk, head), test)
    print(f"test accuracy {result:.3f}")
    return result


if __name__ == "__main__":
    main()
