"""A table as it came: columns from 0.001 to 4000 go into a tanh network.

A case of our own (scikit-learn's breast cancer table, 30 columns in their own units).
"""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

torch.manual_seed(3)
table, diagnosis = load_breast_cancer(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    table, diagnosis, test_size=0.25, random_state=3
)
x_train, x_test = torch.tensor(x_train).float(), torch.tensor(x_test).float()
y_train, y_test = torch.tensor(y_train).float(), torch.tensor(y_test).float()


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden1 = torch.nn.Linear(30, 32)
        self.hidden2 = torch.nn.Linear(32, 16)
        self.out = torch.nn.Linear(16, 1)

    def forward(self, x):
        x = torch.tanh(self.hidden1(x))
        x = torch.tanh(self.hidden2(x))
        return self.out(x).squeeze(1)


model = Classifier()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
criterion = torch.nn.BCEWithLogitsLoss()

for epoch in range(22):
    model.train()
    order = torch.randperm(len(x_train))
    for rows in order.split(32):
        optimizer.zero_grad()
        loss = criterion(model(x_train[rows]), y_train[rows])
        loss.backward()
        optimizer.step()
    if epoch % 5 == 0:
        model.eval()
        with torch.no_grad():
            out = model(x_test)
        accuracy = ((out > 0) == (y_test > 0.5)).float().mean()
        print(f"epoch {epoch}: loss {criterion(out, y_test):.4f}, test accuracy {accuracy:.3f}")
