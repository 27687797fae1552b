"""A plain PyTorch loop: swap the head, make the optimiser, train as always.

Run: python examples/plain_pytorch.py
"""

from __future__ import annotations

import torch
from digits import SmallNet, accuracy, batches, digits
from torch.nn.functional import cross_entropy

from fixhead.heads.swap import swap_head


def main() -> float:
    torch.manual_seed(0)
    train, test = digits()
    model = SmallNet()
    print(swap_head(model, "simplex"))  # before the optimiser is made
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = torch.Generator().manual_seed(0)
    for epoch in range(4):
        model.train()
        for images, labels in batches(train, 64, order):
            loss = cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: test accuracy {accuracy(model, test):.3f}")
    return accuracy(model, test)


if __name__ == "__main__":
    main()
