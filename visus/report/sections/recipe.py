"""The recipe: every choice of this training."""

from __future__ import annotations

from markupsafe import Markup

from visus.report.blocks import code, facts, flat, join, lead, tag
from visus.report.section import Section, sections
from visus.report.story import Story


@sections.member
class Recipe(Section):
    title, place, reads = "Recipe", 110, ("recipe",)

    def body(self, story: Story) -> Markup | None:
        recipe = story.last("recipe").get("recipe")
        if not isinstance(recipe, dict) or not recipe:
            return None
        loose = {key: item for key, item in recipe.items() if not isinstance(item, dict)}
        tables = {key: item for key, item in recipe.items() if isinstance(item, dict)}
        groups = [("general", loose)] if loose else []
        said = (
            "Every choice of this run. Any line can be changed with ",
            tag("code", "--set key=value"),
            ".",
        )
        blocks = [_group(name, items) for name, items in [*groups, *tables.items()]]
        return join(lead(*said), tag("div", blocks, class_="groups"))


def _group(name: str, items: dict) -> Markup:
    pairs = [(key, code(value)) for key, value in flat(items) if key]
    return tag("div", tag("h3", name), facts(pairs), class_="group")
