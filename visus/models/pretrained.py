"""Weights from a local safetensors file put into a network whose head may differ."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from visus.errors import DataError


def adopt(model: nn.Module, path: str | Path) -> list[str]:
    """Copy every tensor of `path` whose name and shape fit into `model`.

    Returns the names of the parameters that stayed fresh (the new head); a fine-tuning run
    gives them the full learning rate and the others a lower one. Raises `DataError` where the
    file cannot be read or less than half of the parameters fit: then it is another network.
    """
    weights, own = _read(Path(path)), model.state_dict()
    fits = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    names = [name for name, _ in model.named_parameters()]
    fresh = [name for name in names if name not in fits]
    if 2 * len(fresh) > len(names):
        raise DataError(
            f"pretrained: {path} fits {len(names) - len(fresh)} of {len(names)} parameters of this "
            "network; choose the network it was made with by --set model.name=..."
        )
    model.load_state_dict(fits, strict=False)
    return fresh


def _read(path: Path):
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"pretrained: cannot read {path}: {reason}; give a .safetensors file"
        ) from None
    # A model that visus wrote keeps its network beside the normalization of its input.
    return {name.removeprefix("network."): weight for name, weight in weights.items()}
