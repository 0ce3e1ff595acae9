"""The pictures of the layer pages: one function each, numbers from `visus.reference`.

A picture is a function that returns a matplotlib figure and registers itself with
`@pictures.member`; its docstring is the caption. Blue is forward, orange is backward, everywhere.
"""

from __future__ import annotations

from visus.family import Family

pictures = Family("picture", package=__name__)
