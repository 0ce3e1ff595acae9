"""Charts and words: positions against closed forms, ticks, odd numbers, cut names."""

# pyright: reportArgumentType=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visus.report import evidence, lettering, words
from visus.report.charts import (
    Axis,
    Bar,
    Dot,
    Mark,
    Series,
    bar_chart,
    dot_chart,
    heat_map,
    line_chart,
)
from visus.report.charts.scale import Scale

FLOATS = st.floats(allow_nan=True, allow_infinity=True)
NAMES = st.text(max_size=40)


def parts(markup) -> list[ElementTree.Element]:
    found = [
        ElementTree.fromstring(svg)
        for svg in re.findall(r"<svg.*?</svg>", lettering.clean(str(markup)), re.S)
    ]
    assert len(found) == 2, "one for a desktop, one for a phone"
    for root in found:
        numbers = [
            e.get(k)
            for e in root.iter()
            for k in ("x", "y", "cx", "cy", "x1", "y1", "d", "width", "height")
        ]
        assert not [n for n in numbers if n and re.search(r"nan|inf", n)]
        assert not [n for n in numbers if n and n.startswith("-") and n == root.get("width")]
    return found


def test_linear_and_log_scales_put_values_where_the_formula_says():
    linear = Scale(Axis("x", low=0, high=10), [3], 100, 200, 5)
    assert [linear(0), linear(5), linear(10)] == [100, 150, 200]
    log = Scale(Axis("x", log=True), [0.01, 1], 0, 100, 5)
    assert log(0.1) == pytest.approx((log(0.01) + log(1)) / 2)
    assert math.isfinite(log(0))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e12, 1e12), max_size=6), st.booleans(), st.booleans(), st.booleans())
def test_ticks_lie_inside_their_axis_and_are_few(values, log, zero, whole):
    scale = Scale(Axis("x", log=log, zero=zero, whole=whole), values, 0, 100, 5)
    assert 1 <= len(scale.ticks) <= 14
    assert all(-1 <= scale(tick) <= 101 for tick in scale.ticks)
    inside = [v for v in values if not log or v > 1e-100]
    assert all(-1e-6 <= scale(v) <= 100 + 1e-6 for v in inside)
    assert not whole or log or all(tick == round(tick) for tick in scale.ticks)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), FLOATS), min_size=1, max_size=30), NAMES, st.booleans()
)
def test_any_curve_is_well_formed(points, name, log):
    xs, ys = zip(*points, strict=True)
    axis = Axis("y", log=log)
    name = lettering.clean(name)
    parts(line_chart("title", [Series(name, xs, ys)], Axis("x"), axis, marks=[Mark(xs[0], name)]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(NAMES, FLOATS), max_size=8))
def test_any_bars_are_well_formed(values):
    parts(
        bar_chart(
            "title", [Bar(lettering.clean(name), [(v, "train")], None, "v") for name, v in values]
        )
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, 10**6), min_size=n, max_size=n), min_size=n, max_size=n
        )
    )
)
def test_any_matrix_is_well_formed(matrix):
    parts(heat_map("title", [f"<{i}>" for i in range(len(matrix))], matrix, "true", "said"))


def test_a_curve_breaks_at_nan_and_marks_it():
    root = parts(
        line_chart("t", [Series("a", [1, 2, 3, 4], [1, math.nan, 3, 4])], Axis("x"), Axis("y"))
    )[0]
    path = next(e.get("d") for e in root.iter("path"))
    assert path.count("M") == 2 and path.count("L") == 1
    assert [e.text for e in root.iter("text")].count("×") == 1


def test_many_points_keep_their_extremes():
    ys = [1.0] * 5000
    ys[1234], ys[4321] = 9.0, -3.0
    root = parts(line_chart("t", [Series("a", list(range(5000)), ys)], Axis("x"), Axis("y")))[0]
    path = next(e.get("d") for e in root.iter("path"))
    heights = [float(p.split()[1]) for p in re.split("[ML]", path)[1:]]
    assert len(heights) < 600
    assert len({h for h in heights if h != heights[0]}) == 2


def test_end_labels_do_not_overlap():
    series = [Series(f"s{i}", [1, 2], [1, 1 + i / 1000]) for i in range(4)]
    root = parts(line_chart("t", series, Axis("x"), Axis("y", zero=True)))[0]
    at = sorted(
        float(e.get("y")) for e in root.iter("text") if (e.get("class") or "").startswith("name")
    )
    assert all(b - a >= 30 for a, b in itertools.pairwise(at))


def test_what_a_pointer_reads_is_what_was_given():
    root = parts(
        line_chart("t", [Series("loss", [1, 2], [0.5, 0.25])], Axis("epoch", whole=True), Axis("y"))
    )[0]
    titles = [e.text for e in root.iter("title")]
    assert "epoch 1\nloss 0.5" in titles and "epoch 2\nloss 0.25" in titles


def test_a_dot_stands_at_its_value():
    dots = [Dot("a", 0.0, "train"), Dot("b", 0.5, "test", 0.4, 0.6)]
    root = parts(dot_chart("t", dots, Axis("x", low=0.0, high=1.0)))[0]
    first, second = (float(e.get("cx")) for e in root.iter("circle"))
    span = next(e for e in root.iter("line") if e.get("class") == "span")
    assert second == pytest.approx((float(span.get("x1")) + float(span.get("x2"))) / 2, abs=0.1)
    assert first < second


def test_the_diagonal_and_the_errors_of_a_matrix_are_told_apart():
    root = parts(heat_map("t", ["a", "b"], [[9, 1], [0, 10]], "true", "said"))[0]
    classes = [e.get("class") for e in root.iter("rect")]
    assert classes == ["cell c-right", "cell c-wrong", "cell c-wrong", "cell c-right"]
    assert "a: 1 of 10 taken for b" in [e.text for e in root.iter("title")]


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.174, "17.4 %"), (0.0125, "1.25 %"), (0.00083, "0.083 %"), (0, "0 %"), (1, "100 %"), (0.09951, "10.0 %"),
     (0.999, "99.9 %"), ("nan", "not a number"), ("inf", "infinite"), (None, "–"), ("x", "–"), ([], "–"), (True, "–")],
)  # fmt: skip
def test_percent(value, said):
    assert words.percent(value).replace("\u202f", " ") == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (59.6, "1 min 00 s"), (245, "4 min 05 s"), (7620, "2 h 07 min"), (360_000, "4 d 4 h"), (-1, "–"), ("nan", "–")],
)  # fmt: skip
def test_seconds(value, said):
    assert words.seconds(value).replace("\u202f", " ") == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.081, "0.081"), (1230, "1 230"), (1e-5, "1e-5"), (1.234e-7, "1.23e-7"), (3e9, "3e9"), (-0.5, "-0.5"), (0, "0"), ("-inf", "-infinite")],
)  # fmt: skip
def test_plain_numbers(value, said):
    assert words.plain(value).replace("\u202f", " ") == said


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.text(),
        FLOATS,
        st.integers(),
        st.lists(st.integers()),
        st.dictionaries(st.text(), FLOATS),
    )
)
def test_no_value_is_too_odd_for_words(value):
    for say in (
        words.plain,
        words.whole,
        words.short,
        words.percent,
        words.seconds,
        words.moment,
        words.text,
        words.shape,
        words.interval,
    ):
        assert isinstance(say(value), str)


@given(st.text(), st.integers(2, 40))
def test_cut_names_fit_and_short_ones_stay(name, room):
    cut = lettering.cut(name, room)
    assert lettering.width(cut) <= max(room, 1)
    assert lettering.width(name) > room or cut == name


@given(st.text())
def test_clean_text_is_safe_and_done_once(text):
    clean = lettering.clean(text)
    assert not [
        c
        for c in clean
        if (ord(c) < 32 and c not in "\n\t") or 0xD800 <= ord(c) < 0xE000 or c == "\u202e"
    ]
    assert lettering.clean(clean) == clean
    ElementTree.fromstring(f"<a>{''.join(c for c in clean if c not in '<&>')}</a>")


def test_every_kind_of_evidence_has_its_picture(ledgers):
    kinds = sorted((kind() for kind in evidence.pictures.values()), key=lambda kind: kind.first)
    found = {}
    for line in ledgers.findings():
        told = line.get("evidence") if line["kind"] == "finding" else {}
        for name, value in evidence.paired(told or {}).items():
            found[name] = next((type(k).__name__ for k in kinds if k.fits(value)), None)
    assert found == {
        "loss_ratio": "Threshold", "beta": None, "loss along the gradient": "Curve", "dead_share": "Threshold",
        "history": "Curve", "share by layer": "Places", "examples": "Images",
    }  # fmt: skip
    assert {name for name in found.values() if name} == {type(kind).__name__ for kind in kinds}


def test_a_threshold_is_drawn_where_it_lies():
    root = parts(evidence.draw({"share": {"value": 0.8, "threshold": 0.4}})[0])[0]
    bar = next(e for e in root.iter("rect"))
    mark = next(float(e.get("x1")) for e in root.iter("line"))
    assert mark - float(bar.get("x")) == pytest.approx(float(bar.get("width")) / 2, abs=0.1)


def test_thinning_keeps_the_extremes_beside_values_that_are_not_finite():
    from visus.report.charts.series import thin

    ys = [math.nan if n % 3 == 0 else 1.0 for n in range(3000)]
    ys[1000], ys[2000] = 50.0, -50.0
    kept = thin(Series("a", list(range(3000)), ys)).ys
    assert 50.0 in kept and -50.0 in kept
