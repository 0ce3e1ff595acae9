"""A plain PyTorch program that borrows from visus: fused norms in place, and a layer.

python examples/borrow_layers.py
"""

import torch
from torch import nn

import visus
from visus.layers import ASPP

network = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), ASPP(32, 16, rates=(1, 2, 4)),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
)  # fmt: skip
print(visus.optimize(network))  # what was swapped, what not, and why

images, targets = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))
optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
for _ in range(20):
    loss = nn.functional.cross_entropy(network(images), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"loss after 20 steps on one batch: {loss.item():.3f}")
