"""Reading a recipe: what is taken, and the one line for what is not."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visus.errors import RecipeError
from visus.training import Recipe, load_recipe
from visus.training.reading import differences, paths, validate
from visus.training.values import duration


def refused(*sets: str, **overrides) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(None, sets, **overrides)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 300, text
    return text


@pytest.mark.parametrize(
    ("edit", "parts"),
    [
        ("optimizer.rat=0.1", ["'optimizer.rat'", "did you mean 'rate'"]),
        ("optimizer.nesterof=true", ["'optimizer.nesterof'", "did you mean 'nesterov'"]),
        ("training.epohs=3", ["'training.epohs'", "did you mean 'epochs'"]),
        ("trainin.epochs=3", ["'trainin'", "did you mean 'training'"]),
        ("epoch=3", ["'epoch'", "did you mean 'training.epochs'"]),
        ("lr=3", ["'lr'", "did you mean 'optimizer.rate'"]),
        ("weight_decay=3", ["did you mean 'regularization.l2'"]),
        ("optimizer=adm", ["'adm'", "did you mean 'adamw'"]),
        ("schedule=one_cycle", ["'one_cycle'", "one-cycle"]),
        ("jitter=flop", ["'flop'", "did you mean 'flip'"]),
        ("model.nrom=batch", ["'model.nrom'", "did you mean 'norm'"]),
        ("model.norm=bach", ["'bach'", "did you mean 'batch'"]),
        ("loss.label_smoothin=0.1", ["'loss.label_smoothin'", "did you mean 'label_smoothing'"]),
        ("optimizer.rate=fast", ["optimizer.rate = 'fast'", "number", "'auto'"]),
        ("optimizer.rate=nan", ["optimizer.rate"]),
        ("optimizer.rate=inf", ["optimizer.rate"]),
        ("optimizer.rate=-1", ["optimizer.rate = -1", "greater than 0"]),
        ("optimizer.momentum=abc", ["optimizer.momentum = 'abc'", "a number", "0.9"]),
        ("epochs=0", ["training.epochs = 0", "greater than or equal to 1"]),
        ("training.precision=int8", ["training.precision = 'int8'", "bfloat16"]),
        ("training.time_limit=soon", ["training.time_limit = 'soon'", "'20m'"]),
        ("data.validation=1.0", ["data.validation = 1.0", "less than 1"]),
        ("data.channels=2", ["data.channels = 2", "1 or 3"]),
        ("seed=-1", ["seed = -1"]),
        ("seed=abc", ["seed = 'abc'", "integer"]),
        ("training=3", ["training = 3", "a table"]),
        ("optimizer=3", ["optimizer = 3"]),
        ("model.name=cmn", ["'cmn'", "did you mean 'cnn'"]),
        ("foo", ["'foo'", "key=value"]),
        ("=3", ["'=3'", "key=value"]),
    ],
)
def test_one_line_names_place_value_and_way_out(edit, parts):
    text = refused(edit)
    assert all(part in text for part in parts), text


def test_names_options_and_short_keys():
    recipe = load_recipe(
        None, ["optimizer=adamw", "optimizer.beta1=0.8", "epochs=3", "jitter.crop.padding=2"],
        optimizer__rate=0.01, time_limit="20m", model={"name": "cnn", "width": 8},
    )  # fmt: skip
    assert recipe.optimizer.name == "adamw" and recipe.optimizer.options() == {"beta1": 0.8}
    assert recipe.optimizer.rate == 0.01 and recipe.training.epochs == 3
    assert recipe.training.time_limit == 1200 and recipe.jitter == {"crop": {"padding": 2}}
    assert recipe.model.options() == {"width": 8}


def test_later_wins_over_earlier_and_edits_over_the_file(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('optimizer = "sgd"\n[training]\nepochs = 2\nclip = 1.5\n')
    recipe = load_recipe(path, ["epochs=3", "epochs=4", "optimizer.momentum=0.5"])
    assert recipe.training.epochs == 4 and recipe.training.clip == 1.5
    assert recipe.optimizer.options() == {"momentum": 0.5}
    assert load_recipe(path, ["epochs=3"], epochs=5).training.epochs == 5


@pytest.mark.parametrize(
    ("text", "jitter"),
    [("none", "none"), ("flip", {"flip": {}}), ("flip,crop", {"flip": {}, "crop": {}}),
     ('["flip"]', {"flip": {}}), ("{flip = true, crop = false}", {"flip": {}})],
)  # fmt: skip
def test_ways_to_write_a_jitter(text, jitter):
    assert load_recipe(None, [f"jitter={text}"]).jitter == jitter


@pytest.mark.parametrize("text", ["not toml [", 'seed = "x', "\x00"])
def test_a_file_that_is_no_toml(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="is not TOML"):
        load_recipe(path)


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(RecipeError, match="cannot read"):
            load_recipe(path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="is not TOML"):
        load_recipe(tmp_path / "binary.toml")


def test_toml_reads_back_to_an_equal_recipe():
    sets = ["jitter.crop.padding=2", "data.drop=a,b", "model.dropout=0.2", "training.clip=1",
            "optimizer=adamw", "schedule.warmup=0.1", "data.path=./a \"b\".csv"]  # fmt: skip
    recipe = load_recipe(None, sets)
    assert validate(tomllib.loads(recipe.to_toml())) == recipe
    assert validate(tomllib.loads(Recipe().to_toml())) == Recipe()


def test_a_recipe_does_not_change_in_place_and_edits_give_a_new_one():
    recipe = load_recipe()
    with pytest.raises(Exception, match="frozen"):
        recipe.training.epochs = 3  # type: ignore[misc]
    edited = recipe.edited(["optimizer.rate=0.2", "training.clip=1"])
    assert (edited.optimizer.rate, edited.training.clip) == (0.2, 1.0)
    assert recipe == Recipe()


def test_differences_ignore_what_was_left_to_choose():
    held = load_recipe(None, ["optimizer.rate=0.05", "epochs=3", "batch_size=32", "model=cnn"])
    assert differences(load_recipe(), held) == []
    assert differences(load_recipe(None, ["epochs=4"]), held) == [
        "training.epochs is 3 there and 4 here"
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("20m", 1200), ("1.5h", 5400), (".5m", 30), (7, 7)],
)
def test_durations(text, seconds):
    assert duration(text) == seconds


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_any_edit_is_taken_or_refused_in_one_line(key, value):
    try:
        load_recipe(None, [f"{key}={value}"])
    except RecipeError as error:
        assert str(error)


def test_every_key_is_documented():
    from visus.training.recipe_docs import page

    text = page()
    for path in paths():
        assert f"`{path.rpartition('.')[2]}`" in text, path
    for section in Recipe.model_fields:
        assert section in text
