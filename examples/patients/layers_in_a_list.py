"""Hidden layers in a plain Python list: the optimizer never hears of them.

The fault is the one reported at https://github.com/meta-pytorch/torchfix/issues/31 (a
`FeedForward` whose `hidden_layers` is a list instead of an `nn.ModuleList`). Written anew, on
digits. It learns something through its last layer, so nothing looks broken.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits


class FeedForward(torch.nn.Module):
    def __init__(self, n_features, n_classes, n_hidden, width):
        super().__init__()
        self.hidden_layers = [
            torch.nn.Linear(n_features if i == 0 else width, width, bias=True)
            for i in range(n_hidden)
        ]
        self.output_layer = torch.nn.Linear(width, n_classes)
        self.activation = torch.nn.ReLU()

    def forward(self, x):
        for layer in self.hidden_layers:
            x = self.activation(layer(x))
        return self.output_layer(x)


def iterate_minibatches(x, y, batch_size, rng):
    order = rng.permutation(len(x))
    for start in range(0, len(x) - batch_size + 1, batch_size):
        rows = order[start : start + batch_size]
        yield torch.from_numpy(x[rows]), torch.from_numpy(y[rows])


if __name__ == "__main__":
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data = load_digits()
    x = (data.data / 16).astype(np.float32)
    x_train, y_train, x_val, y_val = x[:1500], data.target[:1500], x[1500:], data.target[1500:]

    model = FeedForward(n_features=64, n_classes=10, n_hidden=3, width=100)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_fn = torch.nn.CrossEntropyLoss()
    for epoch in range(7):
        for xb, yb in iterate_minibatches(x_train, y_train, 32, rng):
            optimizer.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = (model(torch.from_numpy(x_val)).argmax(1).numpy() == y_val).mean()
        print(
            f"epoch {epoch + 1}: train loss {loss.item():.3f}, validation accuracy {accuracy:.3f}"
        )
