"""A trained linear head becomes a fixed one, and a fixed one becomes a plain nn.Linear.

Run: python examples/convert_a_trained_model.py
"""

from __future__ import annotations

import torch
from digits import SmallNet, accuracy, batches, digits
from torch.nn.functional import cross_entropy

from fixhead.training import finetune_head


def trained() -> SmallNet:
    """What somebody else's training script left behind."""
    torch.manual_seed(0)
    model, (train, _) = SmallNet(), digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = torch.Generator().manual_seed(0)
    for _ in range(12):
        for images, labels in batches(train, 64, order):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
    return model


def main() -> tuple[float, float]:
    train, test = digits()
    model = trained()
    order = torch.Generator().manual_seed(1)
    report = finetune_head(
        model, list(batches(train, 64, order)), "simplex", validation=[test], epochs=2
    )
    print(report)
    with_head = accuracy(model, test)
    # Cosine logits divide by the feature's length; a Linear with the same predictions does not.
    model.fc = model.fc.to_linear(keep="ranking")
    print(f"folded into {model.fc}: accuracy {accuracy(model, test):.3f}, before {with_head:.3f}")
    return with_head, accuracy(model, test)


if __name__ == "__main__":
    main()
