"""Images and labels are shuffled, each by a permutation of its own.

A case of our own: one line, `np.random.permutation` called twice, and every label belongs to
another image. Nothing fails; the loss stays at ln 10 and only falls where images are learned
by heart.
"""

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

np.random.seed(5)
torch.manual_seed(5)

X, y = load_digits(return_X_y=True)
X = (X - X.mean()) / X.std()
X_train, y_train = X[:1400][np.random.permutation(1400)], y[:1400][np.random.permutation(1400)]
X_val, y_val = X[1400:], y[1400:]

X_train, X_val = torch.FloatTensor(X_train), torch.FloatTensor(X_val)
y_train, y_val = torch.LongTensor(y_train), torch.LongTensor(y_val)

model = nn.Sequential(
    nn.Linear(64, 128),
    nn.BatchNorm1d(128),
    nn.ReLU(),
    nn.Linear(128, 64),
    nn.BatchNorm1d(64),
    nn.ReLU(),
    nn.Linear(64, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(7):
    model.train()
    for i in range(0, 1400, 32):
        pred = model(X_train[i : i + 32])
        loss = loss_fn(pred, y_train[i : i + 32])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    with torch.no_grad():
        pred = model(X_val)
        print(
            f"epoch {epoch}: val loss {loss_fn(pred, y_val):.3f}, val acc {(pred.argmax(1) == y_val).float().mean():.3f}"
        )
