"""Predictions of shape (N, 1) against targets of shape (N,): the loss compares all with all.

The fault is the one reported at https://github.com/pytorch/pytorch/issues/16045, in the
training loop quoted there (fastai's, where `model(xb)` is (N, 1) and `yb` is (N,)). Written
anew, on scikit-learn's diabetes data. torch only warns; many scripts switch warnings off.
"""

import warnings

import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")


def train_epoch(model: nn.Module, dl: DataLoader, opt: optim.Optimizer, loss_func) -> float:
    model.train()
    total = 0.0
    for xb, yb in dl:
        loss = loss_func(model(xb), yb)
        loss.backward()
        opt.step()
        opt.zero_grad()
        total += loss.item()
    return total / len(dl)


def main():
    torch.manual_seed(42)
    X, y = load_diabetes(return_X_y=True)
    X, y = scale(X), (y - y.mean()) / y.std()
    ds = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32))
    dl = DataLoader(ds, batch_size=32, shuffle=True)
    model = nn.Sequential(
        nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    opt = optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(22):
        loss = train_epoch(model, dl, opt, nn.MSELoss())
        if epoch % 5 == 0:
            print(f"epoch {epoch:2d}  train loss {loss:.4f}")


main()
