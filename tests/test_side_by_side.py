"""The page that shows the strategies side by side has every line of them, and stands alone."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tutorials"))

import side_by_side
from outline import PICTURE, Source, merged

SOURCES = [Source(path) for path in side_by_side.FILES]
VOID = {"meta", "br"}


class Page(HTMLParser):
    """The cells of the table of files, and what the page refers to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells, self.targets, self.anchors = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append([attributes, ""])
        self.targets += [attributes[name] for name in ("href", "src") if name in attributes]
        self.anchors += [attributes["id"]] if "id" in attributes else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open:
            self.cells[-1][1] += data


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    side_by_side.write(path)
    return path.read_text(encoding="utf-8")


def test_every_line_of_every_file_is_shown_once(text):
    shown = [
        (int(attributes["data-line"]), said.strip())
        for attributes, said in Page(text).cells
        if "data-line" in attributes
    ]
    pictures = [said for attributes, said in Page(text).cells if not attributes and said]
    expected = []
    for source in SOURCES:
        for name, places in source.parts.items():
            lines = [source.lines[place] for place in places]
            if name == PICTURE:
                assert "\n".join(lines) in pictures
            else:
                expected += zip([place + 1 for place in places], map(str.strip, lines), strict=True)
    assert sorted(shown) == sorted(expected)


def test_equal_lines_of_a_part_face_each_other(text):
    body = text[text.index('id="start"') : text.index('id="step"')]
    rows = re.findall("<tr>(.*?)</tr>", body)
    assert rows
    for row in rows:
        cells = Page(f"<table>{row}</table>").cells
        assert len({said for _, said in cells}) == 1
        assert [attributes["class"] for attributes, _ in cells] == ["all"] * 3


def test_colours_tell_how_many_files_have_a_line():
    files = [
        [side_by_side.Line(number, 0, line, line) for number, line in enumerate(lines)]
        for lines in (
            ["one", "same in all three", "here and elsewhere"],
            ["same in all three", "in two of the files"],
            ["same in all three", "in two of the files", "below", "here and elsewhere"],
        )
    ]
    rows = side_by_side.aligned(files)
    colours = [
        [line and (line.text, side_by_side.colour(line, row, files)) for line in row]
        for row in rows
    ]
    assert [("same in all three", "all")] * 3 in colours
    assert [None, *[("in two of the files", "two")] * 2] in [[row[0], *row[1:]] for row in colours]
    assert ("one", "one") in colours[0]


def test_the_page_needs_nothing_from_elsewhere(text):
    page = Page(text)
    assert all(target.removeprefix("#") in page.anchors for target in page.targets)
    assert len(page.targets) == len(merged(SOURCES)) == len(set(page.anchors))
    assert not re.search(r"https?:|url\(|@import|<script|\$\w", text)


def test_the_page_says_why_a_part_is_absent():
    absent = [
        (source.name, name)
        for name in merged(SOURCES)
        for source in SOURCES
        if name not in source.parts
    ]
    assert sorted(absent) == sorted(side_by_side.ABSENT), "tell it in side_by_side.ABSENT"
