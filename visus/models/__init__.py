"""Small networks built from layers, found by name, and any that timm knows.

To add a network, define a factory in a file of this folder with `@networks.member`:
`factory(channels, classes, size, *, norm, activation, dropout, ...) -> nn.Module`.
"""

from visus.models.pretrained import adopt
from visus.models.shapes import summary, total_flops
from visus.models.table import build, choose, networks

__all__ = ["adopt", "build", "choose", "networks", "summary", "total_flops"]
