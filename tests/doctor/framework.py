"""A small training in one framework under its callback: `framework.py NAME sick|healthy`.

The sick one has a softmax before the cross entropy. Prints one line of JSON.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "sick"), str(HERE.parents[1])]
from clinic import digits, mlp  # noqa: E402

from visus.doctor import callbacks  # noqa: E402


def mend_torchvision() -> None:
    """Declare what a torchvision built for another torch lacks; see shared/peers.md."""
    try:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        globals()["_kept"] = library
    except RuntimeError:
        pass


def network(sick: bool) -> nn.Sequential:
    return nn.Sequential(mlp(64, 64, 10), *([nn.Softmax(1)] if sick else []))


def lightning(sick: bool):
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network(sick)

        def training_step(self, batch, index):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch, index):
            self.log("loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-3)

    x, y, xv, yv = digits()
    told = callbacks.LightningDoctor()
    trainer = lightning.Trainer(max_epochs=4, callbacks=[told], logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")  # fmt: skip
    train = DataLoader(TensorDataset(x, y), 32, shuffle=True)
    trainer.fit(Module(), train, DataLoader(TensorDataset(xv, yv), 64))
    return told


def transformers(sick: bool):
    from transformers import Trainer, TrainingArguments

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network(sick)

        def forward(self, x, labels=None):
            logits = self.net(x)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    x, y, *_ = digits()
    rows = [{"x": image, "labels": label} for image, label in zip(x, y, strict=True)]
    told = callbacks.TransformersDoctor()
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(folder, num_train_epochs=4, per_device_train_batch_size=32, learning_rate=1e-3,
                                    report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True)  # fmt: skip
        Trainer(Model(), options, train_dataset=rows, callbacks=[told]).train()  # type: ignore[arg-type]
    return told


def keras(sick: bool):
    import keras

    x, y, xv, yv = (t.numpy() for t in digits())
    layers = keras.layers
    model = keras.Sequential([layers.Input((64,)), layers.Dense(64, activation="relu"),
                              layers.Dense(10, activation="softmax" if sick else None)])  # fmt: skip
    model.compile(
        keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    told = callbacks.KerasDoctor()
    model.fit(x, y, batch_size=32, epochs=4, verbose=0, callbacks=[told], validation_data=(xv, yv))
    return told


def fastai(sick: bool):
    from fastai.learner import DataLoaders, Learner

    x, y, xv, yv = digits()
    loaders = DataLoaders.from_dsets(
        TensorDataset(x, y), TensorDataset(xv, yv), bs=32, device="cpu", drop_last=False
    )
    told = callbacks.FastaiDoctor()
    learner = Learner(loaders, network(sick), loss_func=nn.CrossEntropyLoss())
    learner.fit(4, 1e-3, cbs=[told])
    return told


if __name__ == "__main__":
    mend_torchvision()
    told = globals()[sys.argv[1]](sys.argv[2] == "sick")
    seen = told.visit.seen
    print(
        json.dumps(
            {"ids": [f["id"] for f in told.findings], "steps": seen.steps, "errors": seen.errors}
        )
    )
