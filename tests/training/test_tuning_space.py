"""What varies: ranges hold their defaults, every end of every range is a recipe that works."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Annotated

import pytest
import tiny_data

from visus.errors import UsageError
from visus.family import Choice, Family, Range
from visus.training import Session, load_recipe
from visus.training.judge import better
from visus.training.members import NOUNS, family
from visus.training.reading import validate
from visus.training.tuning import Space, given
from visus.training.tuning.attempt import rank
from visus.training.tuning.dimension import Dimension


def space(*sets: str, vary: tuple[str, ...] = (), **data) -> Space:
    return Space(given(load_recipe(None, sets)), tiny_data.blobs(**data), vary)


def names(found: Space) -> set[str]:
    return {dimension.name for dimension in found.dimensions}


def check_range(default, search) -> None:
    """What every declaration must hold; raises where it does not."""
    if isinstance(search, Choice):
        assert not search.values or default in search.values
        return
    assert search.low < search.high and (search.low > 0 or not search.log)
    inside = 1.0 if search.times else default
    assert search.low <= inside <= search.high, f"{default} is outside {search}"
    assert not search.times or (isinstance(default, (int, float)) and default > 0)


def declared():
    for noun in NOUNS:
        for name in family(noun):
            for option, search in family(noun).searches(name).items():
                yield pytest.param(noun, name, option, search, id=f"{noun}.{name}.{option}")


@pytest.mark.parametrize(("noun", "name", "option", "search"), list(declared()))
def test_every_range_holds_the_default(noun, name, option, search):
    check_range(family(noun).options(name)[option].default, search)


def test_a_range_without_its_default_is_seen():
    broken = Family("broken")

    @broken.member
    def one(*, rate: Annotated[float, Range(0.1, 0.5)] = 0.9) -> None: ...

    with pytest.raises(AssertionError, match="outside"):
        check_range(broken.options("one")["rate"].default, broken.searches("one")["rate"])


def ends(found: Space, high: bool):
    def ask(dimension: Dimension):
        how = dimension.search
        if isinstance(how, Choice):
            return dimension.options[-1 if high else 0]
        return how.high if high else how.low

    return found.recipe(found.draw(ask))


@pytest.mark.parametrize("high", [False, True], ids=["low", "high"])
@pytest.mark.parametrize("vary", [(), ("model.norm", "model.activation", "init.name", "schedule.name",
                                       "schedule.warmup", "training.clip", "training.ema")])  # fmt: skip
def test_both_ends_of_all_ranges_train(high, vary):
    found = space("epochs=1", "training.threads=1", "model=cnn", vary=vary)
    tree, values = ends(found, high)
    session = Session(validate(tree), tiny_data.blobs())
    for _ in session.run():
        break
    for key, value in values.items():
        assert (
            Space.read(found, session.recipe, {d.name: 0 for d in found.dimensions})[key] == value
        )


def test_what_is_set_stays_and_what_is_named_varies():
    assert "optimizer.rate" in names(space())
    assert "optimizer.rate" not in names(space("optimizer.rate=0.1"))
    assert "optimizer.rate" in names(space("optimizer.rate=auto"))
    assert not any("sgd" in name for name in names(space("optimizer=adamw")))
    assert names(space("optimizer.rate=0.1", vary=("optimizer.rate",))) == {"optimizer.rate"}
    with pytest.raises(UsageError, match=r"vary: 'optimizer.rat' .* did you mean 'optimizer.rate'"):
        space(vary=("optimizer.rat",))
    with pytest.raises(UsageError, match="nothing is left to vary"):
        sets = ["optimizer={name='sgd', rate=0.1, momentum=0.9}", "model.width=8", "dropout=0.1", "l2=0.1",
                "loss.label_smoothing=0.1", "schedule.warmup=0.1", "batch_size=8", "jitter=none"]  # fmt: skip
        space(*sets, "model.name=cnn")


def test_the_rate_follows_the_optimizer_and_the_batch():
    found = space("jitter=none")
    plain = found.draw(found.default)
    del plain["optimizer.sgd.momentum"]
    answers = plain | {"optimizer.name": "adamw", "training.batch_size": 4.0, "optimizer.rate": 2.0}
    tree, values = found.recipe(answers)
    batch = values["training.batch_size"]
    assert values["optimizer.rate"] == pytest.approx(2 * 6e-3 * math.sqrt(batch / 128), rel=0.01)
    assert values["regularization.l2"] == 0.05
    assert load_recipe(None, (), **tree).optimizer.name == "adamw"


def test_one_jitter_tuned_leaves_the_others_on():
    found = space("jitter=flip,cutout", vary=("jitter.cutout.size",))
    tree, values = found.recipe({"jitter.cutout.size": 0.4})
    assert tree["jitter"] == {"flip": {}, "cutout": {"size": 0.4}}
    assert found.filled(values)["jitter"] == tree["jitter"]


def test_the_rank_orders_as_the_judge_does():
    n = 40
    seen = [(k / n, loss) for k in (0, 1, 2, 40) for loss in (0.0, 0.3, 5.0, math.inf)]
    line = [dict(zip(("validation_error", "validation_loss"), pair, strict=True)) for pair in seen]
    ranks = [rank(error, loss, n) for error, loss in seen]
    assert ranks == sorted(ranks)
    assert all(better(a, b) for a, b in itertools.pairwise(line))
    assert rank(0.1, math.nan, n) == rank(0.1, math.inf, n)


def test_dimensions_are_facts_for_the_ledger():
    for dimension in space().dimensions:
        facts = dimension.facts()
        assert facts["name"] and facts["key"] and ("low" in facts) != ("choices" in facts)
    assert dataclasses.is_dataclass(Dimension)
