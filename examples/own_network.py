"""A network of your own, trained, tested and reported by visus.

python examples/own_network.py [EPOCHS]
"""

import sys
import tempfile

from torch import nn

import visus
from visus.layers import BatchInstanceNorm2d, Conv2d, Linear, MaxPool2d

network = nn.Sequential(
    Conv2d(1, 16, 3, padding=1), BatchInstanceNorm2d(16, act="relu"), MaxPool2d(2),
    Conv2d(16, 32, 3, padding=1), BatchInstanceNorm2d(32, act="relu"), MaxPool2d(2),
    nn.Flatten(), Linear(32 * 4, 10),
)  # fmt: skip

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
out = tempfile.mkdtemp() + "/run"
run = visus.train("digits", model=network, epochs=epochs, out=out)
low, high = run.metrics["test_interval"]
print(f"test error {run.metrics['test_error']:.2%} (95 % interval {low:.2%} to {high:.2%})")
print(f"report: {run.folder}/report.html")
