"""Every network: shapes, gradients for every weight, its layer table against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visus.errors import DataError, RecipeError
from visus.layers import Conv2d, Linear, MaxPool2d
from visus.models import adopt, build, choose, networks, summary, total_flops

SMALL = {
    "cnn": {"width": 8},
    "fast": {"width": 8},
    "resnet18": {"width": 8},
    "all-cnn": {"width": 8},
    "mlp": {"width": 16},
    "linear": {},
    "pyramid": {"width": 8},
}


def make(name: str, channels=3, classes=5, size=(16, 16), **options) -> nn.Module:
    torch.manual_seed(0)
    return build(name, channels, classes, size, **SMALL.get(name, {}), **options)


def check(name: str, model: nn.Module, channels: int, classes: int, size: tuple[int, int]) -> None:
    """The contract of a network: raises where logits or gradients are not as they must be."""
    x = torch.randn(4, channels, *size)
    out = model.train()(x)
    pixels = size if name in networks and getattr(networks[name], "per_pixel", False) else ()
    assert out.shape == (4, classes, *pixels), f"{name}: logits {tuple(out.shape)}"
    out.square().sum().backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not dead, f"{name}: no finite gradient for {dead}"
    model.eval()
    alone = torch.cat([model(x[i : i + 1]) for i in range(4)])
    assert torch.allclose(alone, model(x), atol=1e-4), (
        f"{name}: an image's logits depend on its batch mates"
    )


@pytest.mark.parametrize("name", list(networks))
@pytest.mark.parametrize(
    ("channels", "size"), [(1, (8, 8)), (3, (32, 32)), (3, (15, 17)), (3, (70, 66))]
)
def test_contract(name, channels, size):
    check(name, make(name, channels, 5, size), channels, 5, size)


def test_the_contract_sees_a_broken_network():
    class Mates(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(12, 5)

        def forward(self, x):
            x = x.flatten(1)
            return self.linear(x - x.mean(0))

    with pytest.raises(AssertionError, match="batch mates"):
        check("mates", Mates(), 3, 5, (2, 2))
    with pytest.raises(AssertionError, match="no finite gradient"):
        check(
            "frozen",
            nn.Sequential(nn.Flatten(), nn.Linear(12, 5).requires_grad_(False), nn.Linear(5, 5)),
            3,
            5,
            (2, 2),
        )


@pytest.mark.parametrize("name", [n for n in networks if n != "linear"])
@pytest.mark.parametrize("norm", ["none", "group", "batch-instance"])
def test_norms_activations_and_dropout_are_options(name, norm):
    if (name, norm) == ("mlp", "batch-instance"):
        with pytest.raises(RecipeError, match="more than one pixel"):
            make(name, norm=norm)
        return
    model = make(name, norm=norm, activation="leaky-relu", dropout=0.3)
    check(name, model, 3, 5, (16, 16))
    kinds = {type(m).__name__ for m in model.modules()}
    assert norm != "none" or not any("BatchNorm" in kind for kind in kinds)
    assert any(kind.startswith("Dropout") for kind in kinds)


def test_resnet18_is_torchvisions():
    model = build("resnet18", 3, 1000, (224, 224))
    assert sum(p.numel() for p in model.parameters()) == 11_689_512
    rows = summary(model, 3, (224, 224))
    conv_and_linear = sum(row["flops"] for row in rows if row["type"] in ("Conv2d", "Linear"))
    assert conv_and_linear == 2 * 1_814_073_344  # multiply-adds as published tools count them
    assert model.state_dict()["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)


def test_summary_of_a_chain_by_hand():
    model = nn.Sequential(
        Conv2d(3, 4, 3, padding=1),
        MaxPool2d(2),
        Conv2d(4, 8, 3, 2, 1, dilation=2),
        nn.Flatten(),
        Linear(72, 5),
    )
    model.train()
    rows = summary(model, 3, (16, 16))
    assert [row["receptive_field"] for row in rows] == [3, 4, 12, 16]
    assert [row["output"] for row in rows] == [[4, 16, 16], [4, 8, 8], [8, 3, 3], [5]]
    assert rows[0]["flops"] == 2 * 27 * 4 * 256
    assert rows[0]["parameters"] == 112
    assert total_flops(rows) == sum(row["flops"] for row in rows)
    assert model.training


def test_the_widest_branch_counts():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.last = Conv2d(1, 1, 5, padding=2), Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.last(x + self.wide(x))

    assert [row["receptive_field"] for row in summary(Fork(), 1, (16, 16))] == [5, 7]


def test_size_chooses_the_network():
    assert [choose((s, s)) for s in (8, 16, 28, 96, 160)] == [
        "cnn",
        "cnn",
        "fast",
        "fast",
        "resnet18",
    ]
    assert type(build("auto", 1, 10, (8, 8))) is type(build("cnn", 1, 10, (8, 8)))


def test_unknown_names_and_options_name_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'resnet18'"):
        build("resnet19", 3, 10, (32, 32))
    with pytest.raises(RecipeError, match="did you mean 'width'"):
        build("cnn", 3, 10, (32, 32), widht=8)


def test_pretrained_weights_leave_the_head_fresh(tmp_path):
    from safetensors.torch import save_file

    donor, model = make("cnn", classes=7), make("cnn", classes=5)
    save_file(donor.state_dict(), tmp_path / "donor.safetensors")
    fresh = adopt(model, tmp_path / "donor.safetensors")
    assert fresh == [n for n, _ in model.named_parameters() if "linear" in n]
    assert torch.equal(model[0][0].weight, donor[0][0].weight)
    with pytest.raises(DataError, match="fits 2 of 8"):
        adopt(make("mlp"), tmp_path / "donor.safetensors")
    (tmp_path / "bad.safetensors").write_text("not a tensor")
    for name in ("bad.safetensors", "missing.safetensors"):
        with pytest.raises(DataError, match="cannot read"):
            adopt(model, tmp_path / name)
