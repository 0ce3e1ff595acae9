"""Validation in the middle of an epoch; the network stays in eval mode until the next one.

The fault is the one reported at https://github.com/wkentaro/pytorch-fcn/issues/57
("the training loss will suddenly become larger when a new epoch starts"): `validate` calls
`model.eval()` and nobody calls `model.train()` before the epoch goes on. Written anew as a
small trainer class on digits, with the fcn's dropout.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class FCN(nn.Module):
    def __init__(self, n_class=10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc6 = nn.Conv2d(32, 128, 4)
        self.drop6 = nn.Dropout2d()
        self.fc7 = nn.Conv2d(128, 128, 1)
        self.drop7 = nn.Dropout2d()
        self.score = nn.Conv2d(128, n_class, 1)

    def forward(self, x):
        h = self.pool(F.relu(self.conv2(F.relu(self.conv1(x)))))
        h = self.drop6(F.relu(self.fc6(h)))
        h = self.drop7(F.relu(self.fc7(h)))
        return self.score(h).flatten(1)


class Trainer:
    def __init__(self, model, optimizer, train_loader, val_loader, max_iter, interval_validate):
        self.model, self.optim = model, optimizer
        self.train_loader, self.val_loader = train_loader, val_loader
        self.max_iter, self.interval_validate = max_iter, interval_validate
        self.iteration = 0

    def validate(self):
        self.model.eval()
        val_loss, right = 0.0, 0
        for data, target in self.val_loader:
            with torch.no_grad():
                score = self.model(data)
            val_loss += F.cross_entropy(score, target, reduction="sum").item()
            right += (score.argmax(1) == target).sum().item()
        n = len(self.val_loader.dataset)
        print(
            f"iteration {self.iteration}: valid/loss {val_loss / n:.4f}, valid/acc {right / n:.3f}"
        )

    def train_epoch(self):
        self.model.train()
        for data, target in self.train_loader:
            if self.iteration % self.interval_validate == 0:
                self.validate()
            self.optim.zero_grad()
            score = self.model(data)
            loss = F.cross_entropy(score, target)
            loss.backward()
            self.optim.step()
            self.iteration += 1
            if self.iteration >= self.max_iter:
                break

    def train(self):
        while self.iteration < self.max_iter:
            self.train_epoch()


if __name__ == "__main__":
    torch.manual_seed(1337)
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    dataset = TensorDataset((images - images.mean()) / images.std(), torch.tensor(labels))
    train_set, val_set = random_split(dataset, [1437, 360])
    model = FCN()
    optim = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    Trainer(
        model,
        optim,
        DataLoader(train_set, batch_size=32, shuffle=True),
        DataLoader(val_set, batch_size=60),
        max_iter=300,
        interval_validate=30,
    ).train()
