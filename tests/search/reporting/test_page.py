"""`report.html`: that it answers, that it needs nothing beside itself, and that nothing in it is anybody's markup."""

import base64
import gzip
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from answered_search import write_search
from hostile_names import CATEGORIES, CLASSES
from plotly.offline import get_plotlyjs

from fashion_core.escaping import show_text
from search.records.events import SearchStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.records.record import load_record
from search.reporting.answers import Source
from search.reporting.page import QUESTIONS, find_answer, read_part, write_page
from search.reporting.won import Confusion, write_confusion
from search.reporting.words import describe_search

VOID = ("meta", "br", "img", "hr")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> [red] \x1b[31m %{x} </pre></section>"


class Page(HTMLParser):
    """A page as a browser takes it apart: its elements in order, attributes, texts, and what is drawn."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.texts, self.figures = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append((tag, dict(attributes).get("type")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        where = self.open[-1] if self.open else ("", None)
        if where == ("script", "application/json"):
            self.figures.append(json.loads(data))
        elif where[0] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def write(layout):
    record = load_record(layout)
    return write_page(layout, record, describe_search(record)).read_text()


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return write_search(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def text(layout):
    return write(layout)


def test_six_questions_are_answered_at_the_top_and_below(text):
    page = Page(text)
    assert not page.open  # every element ends
    for number, (name, question, _) in enumerate(QUESTIONS, 1):
        assert page.text.count(f"{number}. {question}") == 2 and ("href", f"#{name}") in page.attributes
        assert ("id", name) in page.attributes
    assert "left out" not in page.text.replace("Classes and confusion are left out", "")
    assert page.tags.count("figure") == len(page.figures) >= 6


def test_it_needs_nothing_beside_itself(text):
    page = Page(text)
    links = [value for name, value in page.attributes if name in ("src", "href", "data", "action", "srcset")]
    assert all(value.startswith(("#", "data:")) for value in links)
    assert "link" not in page.tags and "url(" not in text and "@import" not in text
    packed = re.search(r'<script id="library"[^>]*>([^<]+)</script>', text)[1]
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    assert text.count(packed) == 1 and len(text) < 2_200_000


def test_names_of_strangers_are_no_markup(tmp_path):
    plain = Page(write(write_search(tmp_path, "one", categories=[f"c{n}" for n in range(len(CATEGORIES))])))
    layout = write_search(tmp_path, "two", categories=CATEGORIES, classes=CLASSES, reason=HOSTILE)
    matrices = {name: [[1] * len(CLASSES)] * len(CLASSES) for name in CATEGORIES}
    text = write(layout)
    hostile = Page(text)
    assert hostile.tags == plain.tags and not hostile.open
    assert {name for name, _ in hostile.attributes} == {name for name, _ in plain.attributes}
    for name in CATEGORIES:
        assert " ".join(show_text(name).split()) in hostile.text
    assert "\x1b" not in text and "onerror=alert" in hostile.text
    classes = {name: list(CLASSES) for name in CATEGORIES}
    write_confusion(layout, Confusion(trial=1, epoch=4, classes=classes, matrices=matrices))
    confused = Page(write(layout))
    assert all(" ".join(show_text(name).split()) in confused.text for name in CLASSES)
    assert set(confused.tags) - set(hostile.tags) <= {"summary", "details", "b"} and not confused.open


def test_a_search_that_runs_has_a_page(tmp_path):
    page = Page(write(write_search(tmp_path, ended=False)))
    assert "It has not ended" in page.text and "Trial 1" in page.text


def test_a_search_that_has_just_begun_has_a_page(tmp_path):
    layout = SearchLayout(tmp_path, "new")
    with Ledger(layout.ledger) as ledger:
        ledger.append(SearchStarted(name="new"))
    page = Page(write(layout))
    assert "No trial has a score yet." in page.text and not page.figures


def test_what_cannot_be_answered_costs_that_answer_alone(layout):
    record = load_record(layout)

    def fail(source):
        raise ZeroDivisionError("nothing <b>there</b>\nat all")

    answer = find_answer(fail, Source(layout, record, describe_search(record)))
    assert "This is left out" in answer.short and "&lt;b&gt;" in answer.parts[0]


def test_answers_that_are_damaged_cost_no_page(tmp_path):
    layout = write_search(tmp_path)
    record = load_record(layout)
    for trial in record.trials.values():
        object.__setattr__(trial.end, "correct", "no base64")
    text = write_page(layout, record, describe_search(record)).read_text()
    assert "1. What won?" in text and "without each image" in text


def test_the_matrix_of_what_is_taken_for_what_stands_beside_it(layout):
    matrices = {"sleeve": [[30, 10], [4, 36]], "fit": [[39, 1], [0, 40]]}
    classes = {name: ["long", "short"] for name in matrices}
    write_confusion(layout, Confusion(trial=1, epoch=4, classes=classes, matrices=matrices))
    page = Page(write(layout))
    assert "sleeve: weakest class long, 75% of 40 images right" in page.text
    layout.confusions.write_text(layout.confusions.read_text().replace('"trial": 1', '"trial": 9'))
    assert "Classes and confusion are left out" in Page(write(layout)).text
    layout.confusions.write_text("{")
    assert "Classes and confusion are left out" in Page(write(layout)).text
    layout.confusions.unlink()


def compute_light(colour):
    """Relative luminance, as WCAG 2 has it."""
    parts = [value / 255 for value in colour]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def compute_contrast(one, two):
    high, low = sorted((compute_light(one), compute_light(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(scheme):
    """By WCAG 2's 4.5 to 1, on cells of every depth too."""
    css = read_part("page.css")
    found = dict(re.findall(r"--(\w+): (#[0-9a-f]{6}|\d+%);", css.split("@media", 1)[0]))
    if scheme == "dark":
        dark = css.split("(prefers-color-scheme: dark)")[1].split("\n}", 1)[0]
        found |= dict(re.findall(r"--(\w+): (#[0-9a-f]{6}|\d+%);", dark))
    colours = {name: [int(value[n : n + 2], 16) for n in (1, 3, 5)] for name, value in found.items() if "#" in value}
    for behind in ("paper", "card"):
        for name in ("ink", "muted", "c0", "good", "bad"):
            assert compute_contrast(colours[name], colours[behind]) >= 4.5, (name, behind)
    assert css.count("calc(var(--share) * var(--depth)), var(--card))") == 3
    for name in ("c0", "c1"):
        for share in (0.25, 0.5, 0.75, 1.0):
            part = share * int(found["depth"].rstrip("%")) / 100
            cell = [part * top + (1 - part) * card for top, card in zip(colours[name], colours["card"], strict=True)]
            assert compute_contrast(colours["ink"], cell) >= 4.5, (name, share)


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_draws_all_of_it(text, tmp_path, width):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no browser")
    probe = (
        "<script>setInterval(() => { document.title = [document.querySelectorAll('.plot.drawn .main-svg').length > 0,"
        "document.querySelectorAll('.plot').length - document.querySelectorAll('.plot.drawn').length,"
        "document.documentElement.scrollWidth <= innerWidth,"
        "[...document.querySelectorAll('.verdict')].every(each => each.getBoundingClientRect().right <= innerWidth),"
        "[...document.querySelectorAll('.reasons td:last-child')].some(each => each.offsetWidth > 200)].join(); }, 200)"
        "</script></body>"
    )
    frame, inner = tmp_path / "frame.html", tmp_path / "page.html"
    inner.write_text(text.replace("</body>", probe))
    frame.write_text(
        f'<iframe src="page.html" width="{width}" height="900" onload="setInterval(() => '
        'document.body.dataset.found = this.contentDocument.title, 200)"></iframe>'
    )
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=60000", "--dump-dom", frame.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert 'data-found="true,0,true,true,true"' in shown
