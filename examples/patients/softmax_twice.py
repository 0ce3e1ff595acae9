"""The network ends in a softmax, and so does the loss.

The fault is the one reported at
https://github.com/jindongwang/Deep-learning-activity-recognition/issues/10
(`F.softmax` in `forward`, then `nn.CrossEntropyLoss`); the program is written anew, on digits.
It trains, slowly, and its loss never gets below 1.46: the report's author saw nothing odd.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(10)
x, y = load_digits(return_X_y=True)
x = torch.tensor(x / 16.0, dtype=torch.float32).view(-1, 1, 8, 8)
y = torch.tensor(y)
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=0)
train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True)
test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=64)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.conv2 = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.fc1 = nn.Linear(64 * 2 * 2, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)

    def forward(self, src):
        out = self.conv2(self.conv1(src))
        out = out.view(-1, 64 * 2 * 2)
        out = F.relu(self.fc1(out))
        out = F.relu(self.fc2(out))
        return F.softmax(self.fc3(out), dim=1)


def train(model, optimizer):
    criterion = nn.CrossEntropyLoss()
    for e in range(14):
        model.train()
        correct, total = 0, 0
        for sample, target in train_loader:
            output = model(sample)
            loss = criterion(output, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            correct += (output.argmax(1) == target).sum().item()
            total += len(target)
        print(
            f"Epoch: [{e + 1}/14], loss: {loss.item():.4f}, train acc: {100 * correct / total:.2f}%"
        )
        model.eval()
        with torch.no_grad():
            right = sum((model(s).argmax(1) == t).sum().item() for s, t in test_loader)
        print(f"          test acc: {100 * right / len(y_test):.2f}%")


model = Network()
train(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
