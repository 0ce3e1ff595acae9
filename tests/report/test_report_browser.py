"""The page in a real browser: no console message, no request, nothing wider than the window."""

from __future__ import annotations

import re

import pytest

from visus.report import compose

NAMES = [
    "whole",
    "nothing",
    "findings",
    "hundred classes",
    "long names",
    "evil",
    "not finite",
    "wrong types",
    "begun",
    "watched",
    "watched deep",
    "watched long",
    "watched odd",
]
OVER = """
const wide = document.documentElement.scrollWidth;
const out = [...document.querySelectorAll('main *, header *')].filter(e => {
  if (e.closest('.scroll') || e.closest('nav') || e.closest('.unseen')) return false;
  const r = e.getBoundingClientRect();
  return r.width && r.height && (r.right > innerWidth + 1 || r.left < -1);
});
return [wide, innerWidth, out.slice(0, 3).map(e => e.outerHTML.slice(0, 200))];
"""
OUTSIDE = """
const out = [];
for (const svg of document.querySelectorAll('.chart svg')) {
  const frame = svg.getBoundingClientRect();
  if (!frame.width) continue;
  for (const text of svg.querySelectorAll('text')) {
    const r = text.getBoundingClientRect();
    if (r.right > frame.right + 2 || r.left < frame.left - 2 || r.bottom > frame.bottom + 2 || r.top < frame.top - 2)
      out.push([svg.querySelector('title').textContent, text.textContent, r.left - frame.left, r.right - frame.right, r.top - frame.top]);
  }
}
return out.slice(0, 5);
"""
OVERLAP = """
const out = [];
for (const svg of document.querySelectorAll('.chart svg')) {
  if (!svg.getBoundingClientRect().width || svg.classList.contains('big')) continue;
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent && !t.classList.contains('odd') && !t.closest('.band')).map(t => [t, t.getBoundingClientRect()]);
  for (let i = 0; i < texts.length; i++) for (let j = i + 1; j < texts.length; j++) {
    const a = texts[i][1], b = texts[j][1];
    const x = Math.min(a.right, b.right) - Math.max(a.left, b.left), y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (x > 2 && y > 4) out.push([svg.querySelector('title').textContent, texts[i][0].textContent, texts[j][0].textContent]);
  }
}
return out.slice(0, 5);
"""


@pytest.fixture(scope="module")
def browser(driver, tmp_path_factory):
    missing = driver.missing()
    if missing:
        pytest.skip(missing)
    with driver.Browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def show(browser, ledgers, tmp_path):
    def show(case: str, width: int, dark: bool = False):
        page = compose(ledgers.CASES[case]())
        assert not page.broken
        path = tmp_path / "report.html"
        path.write_text(page.html, encoding="utf-8")
        browser.requests(), browser.log("browser")
        browser.open(path, width, dark=dark)
        return path

    return show


@pytest.mark.parametrize("width", [1280, 390, 360])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_asked_for_nothing_is_wrong_nothing_is_wider(browser, show, name, width):
    path = show(name, width, dark=width == 360)
    assert browser.run(OVER) == [width, width, []]
    assert browser.run(OUTSIDE) == []
    assert browser.run(OVERLAP) == []
    assert {url for url in browser.requests() if not url.startswith("data:")} == {path.as_uri()}
    assert browser.log("browser") == []


def test_the_browser_checks_see_faults(browser, show):
    path = show("whole", 1280)
    bad = (
        '<p style="width:1500px">wide</p><img src="https://example.org/x.png">'
        '<div class="chart"><svg width="100" height="50"><title>t</title>'
        '<text x="10" y="20">one text</text><text x="12" y="21">over another, and out</text></svg></div></main>'
    )
    html = path.read_text(encoding="utf-8").replace(
        "default-src 'none'; img-src data:", "default-src *; img-src *"
    )
    path.write_text(html.replace("</main>", bad), encoding="utf-8")
    browser.requests(), browser.log("browser")
    browser.open(path, 1280)
    wide, _window, out = browser.run(OVER)
    assert wide > 1280 and out
    assert browser.run(OUTSIDE) and browser.run(OVERLAP)
    assert any("example.org" in url for url in browser.requests())
    assert browser.log("browser")


def test_the_theme_follows_the_system_and_the_button(browser, show):
    paper = "return getComputedStyle(document.body).backgroundColor"
    show("whole", 1280)
    light = browser.run(paper)
    browser.run("document.getElementById('theme').click()")
    dark = browser.run(paper)
    assert light != dark
    browser.run("document.getElementById('theme').click()")
    assert browser.run(paper) == light
    browser.run("try { localStorage.clear() } catch (e) {}")
    show("whole", 1280, dark=True)
    assert browser.run(paper) == dark


def test_the_toggle_works_without_storage(browser, show):
    path = show("whole", 1280)
    html = path.read_text(encoding="utf-8")
    refuse = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }});"
    html = re.sub(r"script-src 'sha256-[^']+'", "script-src 'unsafe-inline'", html)
    path.write_text(
        html.replace("<script>", f"<script>{refuse}</script><script>", 1), encoding="utf-8"
    )
    browser.open(path, 1280)
    browser.run("document.getElementById('theme').click()")
    assert browser.run("return document.documentElement.dataset.theme") == "dark"
    assert browser.log("browser") == []


def test_a_script_that_slipped_in_would_not_run(browser, show):
    path = show("whole", 1280)
    html = path.read_text(encoding="utf-8")
    path.write_text(
        html.replace("</main>", "<script>document.title = 'owned'</script></main>"),
        encoding="utf-8",
    )
    browser.open(path, 1280)
    assert browser.run("return document.title") != "owned"


def test_a_heading_sorts_its_table_and_back(browser, show):
    show("whole", 1280)
    column = "[...document.querySelectorAll('#per-class tbody tr')].map(r => parseFloat(r.cells[1].textContent))"
    press = "document.querySelectorAll('#per-class th button')[1].click();"
    up = browser.run(f"{press} return {column}")
    down = browser.run(f"{press} return {column}")
    assert up == sorted(up) and down == sorted(up, reverse=True) and len(set(up)) > 2


CONTRAST = """
const lum = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
  return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
const probe = document.createElement('i'); document.body.append(probe);
const color = name => { probe.style.color = `var(--${name})`; return lum(getComputedStyle(probe).color); };
const ratio = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
const out = {};
for (const on of ['card', 'paper', 'tint']) for (const ink of ['ink', 'soft', 'train', 'validation', 'test', 'right', 'good', 'warn', 'bad'])
  out[ink + ' on ' + on] = ratio(color(ink), color(on));
out['wrong on card'] = ratio(color('wrong'), color('card'));
return out;
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast(browser, show, dark):
    show("whole", 1280, dark)
    ratios = browser.run(CONTRAST)
    low = {
        name: round(value, 2)
        for name, value in ratios.items()
        if value < (3 if "wrong" in name else 4.5)
    }
    assert not low


def test_pointing_at_a_curve_shows_the_values(browser, show):
    show("whole", 1280)
    band = "document.querySelector('#learning-curves .wide .band .area')"
    x, y = browser.run(
        f"{band}.scrollIntoView({{block: 'center', behavior: 'instant'}}); const r = {band}.getBoundingClientRect(); return [r.x + r.width / 2, r.y + 20]"
    )
    browser.devtools("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert (
        browser.run(
            "return getComputedStyle(document.querySelector('#learning-curves .wide .band .spot')).opacity"
        )
        == "1"
    )
