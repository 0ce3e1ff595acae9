"""The page: whole for every ledger, offline, escaped; and these checks see what they should."""

# pyright: reportArgumentType=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from visus import ledger as book
from visus import report
from visus.errors import RunError
from visus.report import events
from visus.report.page import compose
from visus.report.section import Section, ordered, sections

VOID = {"meta", "link", "img", "br", "input", "hr"}
# fmt: off
LOADS = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href", "formaction"}
PLACES = ["x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "d", "viewBox", "transform"]
# fmt: on


class Tree(HTMLParser):
    """Reads a page as a browser does, and raises where an element is not closed in its order."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.ids = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def check(page: report.Page) -> Tree:
    """What holds for every report; raises where it does not."""
    assert not page.broken, page.broken
    tree = Tree(page.html)
    assert len(tree.ids) == len(set(tree.ids)), "an id is used twice"
    _offline(tree, page.html)
    for svg in re.findall(r"<svg.*?</svg>", page.html, re.S):
        root = ElementTree.fromstring(svg)
        if root.get("aria-hidden") is None:
            assert root.find("title").text and root.find("desc").text and root.get("role") == "img"
        assert not re.search(r"\b(nan|inf|None)\b", " ".join(_geometry(root))), svg[:300]
    scripts = [attrs for tag, attrs in tree.tags if tag == "script"]
    assert len(scripts) == 1, "one script, ours"
    return tree


def _geometry(root):
    return [element.get(key) for element in root.iter() for key in PLACES if element.get(key)]


def _offline(tree: Tree, html: str) -> None:
    for tag, attrs in tree.tags:
        for key in LOADS & attrs.keys():
            value = attrs[key] or ""
            assert value.startswith(("#", "data:image/png;base64,")) or value == "data:,", (
                tag,
                key,
                value[:80],
            )
        assert not [key for key in attrs if key.startswith("on")], (tag, attrs)
    assert "url(" not in html and "@import" not in html
    policy = next(
        a["content"] for t, a in tree.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy


def sections_of(tree: Tree) -> list[str]:
    return [attrs["id"] for tag, attrs in tree.tags if tag == "section"]


def test_every_ledger_gives_a_whole_page(case, lines):
    check(compose(lines))


def test_a_whole_run_fills_every_section(ledgers, searches, watched):
    page = compose([*ledgers.ledger(), *ledgers.findings()])
    other = ["tuning"]  # what only a search has
    other += [name for name, section in ordered() if section.of[0] != "run"]
    shown = sections_of(check(page))
    assert shown == [name for name, _ in ordered() if name not in other]
    assert set(page.missing) <= {"Tuning"}
    under_the_doctor = compose(watched.watched())
    assert sections_of(check(under_the_doctor)) == [n for n, s in ordered() if "watch" in s.of]
    assert not under_the_doctor.missing
    assert sections_of(check(compose(searches.search())))[0] == "tuning"


def test_the_answer_stands_first(ledgers):
    tree = check(compose(ledgers.ledger(best_error=0.174)))
    text = " ".join(" ".join(tree.text).split())
    assert text.index("Test error") < text.index("17.4 %") < text.rindex("Learning curves")
    for part in (
        "95 % interval 16.7 to 18.2 % on 10 000 images",
        "all planned steps are done",
        "20 of 20 epochs",
    ):
        assert part in text


def test_without_a_look_the_validation_error_is_the_answer(ledgers):
    text = " ".join(check(compose(ledgers.ledger(until="look"))).text)
    assert "The test images have not been looked at" in text


def test_a_look_in_two_lines_counts_once_and_metrics_stand_in(ledgers):
    whole = ledgers.ledger(best_error=0.174)
    bare = [
        {k: v for k, v in line.items() if k not in ("error", "interval", "loss")}
        if line["kind"] == "look"
        else line
        for line in whole
    ]
    bare[-1] = {
        **bare[-1],
        "metrics": {"test_error": 0.111, "test_interval": [0.1, 0.12], "test_n": 77},
    }
    assert "11.1\u202f%" in compose(bare).html
    look = next(line for line in whole if line["kind"] == "look")
    text = " ".join("".join(check(compose([*bare, look])).text).split())
    assert "17.4 %" in text and "11.1 %" not in text and "Looks at test1each" in text


def test_empty_ledger_and_missing_sections_are_said(ledgers):
    page = compose([])
    check(page)
    assert "Learning curves" in page.missing
    assert "the ledger holds nothing on it" in page.html


# What a user brings is text, wherever it lands.


def test_hostile_strings_stay_text(ledgers):
    page = compose(ledgers.evil())
    tree = check(page)
    assert "<script>alert" not in page.html and "<img src=x" not in page.html
    assert not [
        attrs for tag, attrs in tree.tags if tag == "img" and not attrs["src"].startswith("data:")
    ]
    assert "{{ 7 * 7 }}" in page.html and "49" not in re.findall(r"\{\{.*?\}\}", page.html)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\u202a-\u202e]", page.html)
    text = "".join(tree.text)
    for name in ("<script>alert(1)</script>", "\"quoted' & <b>bold</b>", "ünïcödé 犬 🐕 עברית"):
        assert name in text, name


def test_an_unescaped_name_is_seen_by_these_checks(ledgers, monkeypatch):
    from markupsafe import Markup

    from visus.report import markup

    monkeypatch.setattr(markup, "escape", Markup)
    with pytest.raises((AssertionError, ElementTree.ParseError)):
        check(compose(ledgers.evil()))


@pytest.mark.parametrize(
    "bait", ['<img src="https://example.org/a.png">', '<p onclick="x()">', "<p><b></p>", "<script>1</script>",
             '<svg role="img"><title>a</title></svg>', '<i id="glance"></i>', '<style>a{background:url(x)}</style>'],
)  # fmt: skip
def test_the_checks_see_each_fault(ledgers, bait):
    page = compose(ledgers.ledger(epochs=1))
    page.html = page.html.replace("</main>", bait + "</main>")
    with pytest.raises((AssertionError, AttributeError)):
        check(page)


# What only some tasks have.

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
TASKED = [
    {"kind": "task", "t": 1.0, "name": "dichotomy", "how": "asked for", "outputs": ["a", "b"],
     "loss": "logistic", "noun": "error", "axis": "share of images misjudged"},
    {"kind": "metrics", "t": 1.0, "split": "test", "rows": [
        {"name": "AUC", "value": 0.9, "interval": [0.8, 0.95], "better": "high", "unit": "share"},
        {"name": "odd", "value": None, "interval": None, "better": "low", "unit": "plain"}]},
    {"kind": "scatter", "t": 1.0, "plots": [{"name": "x", "true": [1, 2], "said": [1.5, 1.9]}]},
    {"kind": "roc", "t": 1.0, "positive": "b", "false": [0, 0.5, 1], "true": [0, 1, 1],
     "at": [0.5, 1.0], "threshold": 0.4},
    {"kind": "calibration", "t": 1.0, "positive": "b",
     "rows": [{"probability": 0.3, "share": 0.2, "interval": [0.1, 0.4], "n": 9}]},
    {"kind": "shares", "t": 1.0, "rows": [{"class": "a", "true": 0.4, "said": 0.5}]},
    {"kind": "cases", "t": 1.0, "title": "Worst", "items": [
        {"name": "1.png", "png": PNG, "true": "3", "said": "<b>4"}]},
    {"kind": "overlays", "t": 1.0, "colors": [{"class": "a", "color": "#ff0000;x"}], "items": [
        {"name": "1.png", "error": 0.2, "png": PNG, "true": PNG, "said": PNG}]},
]  # fmt: skip


def test_the_sections_of_tasks_show_what_there_is(ledgers):
    page = compose([*ledgers.ledger(epochs=2), *TASKED])
    names = {name for name, section in ordered() if section.of[0] == "task"}
    assert names <= set(sections_of(check(page)))
    assert "#ff0000;x" not in page.html and "<b>4" not in page.html
    assert not names & set(sections_of(check(compose(ledgers.ledger(epochs=2)))))


# One section's bug costs one section, and is seen.


@pytest.mark.parametrize("name", [name for name, _ in ordered()])
def test_a_broken_section_costs_only_itself_and_is_seen(
    ledgers, searches, watched, monkeypatch, name
):
    def body(self, story):
        raise ZeroDivisionError("planted")

    lines = (
        searches.search() if name == "tuning" else [*ledgers.ledger(epochs=2), *ledgers.findings()]
    )
    if sections[name].of[0] == "watch":
        lines = watched.watched()
    if sections[name].of[0] == "audit":
        lines = [
            {"kind": "audit", "n": 3},
            {"kind": "gallery", "name": "leaks", "items": [{"pngs": [], "caption": "a"}]},
        ]
    if sections[name].of[0] == "task":
        lines = [*ledgers.ledger(epochs=2), *TASKED]
    whole = sections_of(check(compose(lines)))
    monkeypatch.setattr(sections[name], "body", body)
    page = compose(lines)
    assert list(page.broken) == [name] and f'data-broken="{name}"' in page.html
    assert sections_of(Tree(page.html)) == whole
    with pytest.raises(AssertionError, match="planted"):
        check(page)


def test_a_new_section_is_one_class(ledgers, monkeypatch):
    class Extra(Section):
        title, place, reads = "Extra", 75, ("extra",)

        def body(self, story):
            return report.page.tag("p", story.last("extra").get("said"))

    monkeypatch.setitem(sections._load(), "extra", Extra)
    page = compose([*ledgers.ledger(epochs=1), {"kind": "extra", "t": 1.0, "said": "<hello>"}])
    assert "extra" in sections_of(check(page)) and "&lt;hello&gt;" in page.html


# Every kind of line is shown, or left out knowingly.


def test_every_kind_is_read_by_a_section_or_told_in_the_timeline(ledgers):
    read = {kind for _, section in ordered() for kind in section.reads}
    assert read | set(events.events) | events.QUIET >= set(ledgers.KINDS)
    assert set(ledgers.KINDS) <= read | {"note"} | set(events.events)


def test_the_timeline_tells_every_event(ledgers):
    text = "".join(check(compose([*ledgers.resumed(), *ledgers.findings()])).text)
    for said in ("resumed from step 180", "look 1 at test", "range test: learning rate 0.081", "trial of model.norm=group, not kept",
                 "error: learning-rate-too-large at optimizer", "checkpoint at step 360"):  # fmt: skip
        assert said in text, said


def test_an_unknown_kind_is_told_by_its_fields():
    assert "brand-new" in compose([{"kind": "brand-new", "t": 1.0, "answer": 42}]).html
    assert events.say({"kind": "brand-new", "t": 1.0, "answer": 42}) == "brand-new: answer=42"


def test_what_a_resume_took_back_is_not_drawn(ledgers):
    page = compose(ledgers.resumed())
    check(page)
    rows = re.search(r"All epochs as a table.*?</table>", page.html, re.S)
    assert rows and [int(n) for n in re.findall(r"<tr><td[^>]*>(\d+)", rows[0])] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]


def test_time_at_work_leaves_the_pause_out(ledgers):
    from visus.report.story import Story

    plain, cut = Story(ledgers.ledger(epochs=6)).seconds, Story(ledgers.resumed()).seconds
    assert plain and cut and plain <= cut < plain + 60


# The sizes that hurt.


def test_a_hundred_classes_stay_readable(ledgers):
    html = compose(ledgers.CASES["hundred classes"]()).html
    big = [
        ElementTree.fromstring(svg)
        for svg in re.findall(r"<svg.*?</svg>", html, re.S)
        if "Confusion matrix" in svg
    ]
    assert len(big) == 2
    for root in big:
        sizes = {float(e.get("font-size")) for e in root.iter("text") if e.get("font-size")}
        assert min(sizes) >= 8
        assert len([e for e in root.iter("text") if e.get("class") == "tick"]) == 200
    assert float(big[0].get("width")) <= 920


def test_a_thousand_classes_show_the_worst_hundred(ledgers):
    html = compose(ledgers.CASES["thousand classes"]()).html
    assert "100 of 1000 classes with most confusions" in html
    assert len(html) < 2_000_000


def test_two_thousand_steps_stay_small(ledgers):
    assert len(compose(ledgers.ledger(epochs=20, steps=100)).html) < 500_000


def test_long_histories_are_cut_with_a_count(ledgers):
    lines = ledgers.ledger(epochs=1)
    for line in lines:
        if line["kind"] == "data":
            line["bad"] = [{"name": f"{i}.jpg", "reason": "torn"} for i in range(5000)]
    html = compose(lines).html
    assert "4\u202f800 files more in the ledger" in html and len(html) < 400_000


# Writing.


def test_write_leaves_one_file_in_the_run(ledgers, tmp_path):
    ledger = book.Ledger(tmp_path)
    for line in ledgers.ledger(epochs=2):
        ledger.write(line["kind"], **{k: v for k, v in line.items() if k not in ("kind", "t")})
    path = report.write(tmp_path)
    assert path == tmp_path / "report.html"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ledger.jsonl", "report.html"]
    check(report.Page(path.read_text(encoding="utf-8")))


def test_a_torn_ledger_still_gives_a_report(ledgers, tmp_path):
    ledger = book.Ledger(tmp_path)
    ledger.write("run", folder="x", name="\udcff")
    (tmp_path / book.NAME).open("ab").write(b'{"kind": "step", "st')
    check(report.Page(report.write(tmp_path).read_text(encoding="utf-8")))


def test_a_folder_without_a_ledger_is_refused_in_one_line(tmp_path):
    with pytest.raises(RunError, match=r"no ledger at .*; give a folder"):
        report.write(tmp_path)


def test_the_same_ledger_gives_the_same_page(ledgers):
    assert compose(ledgers.ledger()).html == compose(ledgers.ledger()).html


def test_classes_without_images_come_last_and_leaks_are_said(ledgers):
    lines = ledgers.ledger(epochs=1)
    for line in lines:
        if line["kind"] == "per-class":
            line["rows"][4] |= {"recall": None, "precision": None, "n": 0}
    html = compose(lines).html
    table = html[html.index('<section id="per-class"') :]
    names = re.findall(r'<tr><td data-key="(\w+)"', table)[:10]
    assert names[-1] == "deer" and len(set(names)) == 10
    assert "3 images, byte for byte the same" in html


def test_a_run_without_mistakes_says_so(ledgers):
    lines = ledgers.ledger(best_error=0.0, epochs=2)
    for line in lines:
        if line["kind"] == "mistakes":
            line["items"] = []
    assert "No test image was misjudged." in "".join(check(compose(lines)).text)
