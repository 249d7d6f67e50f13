"""The three strategies side by side, on one page of HTML that needs nothing but a browser.

    python tutorials/side_by_side.py [PAGE.html]

All code on it is the files' own. Every part of their outline is a band of the table; in it equal
lines face each other, and colours say how many of the files have a line.
"""

import re
import sys
from difflib import SequenceMatcher
from html import escape
from itertools import combinations
from pathlib import Path
from string import Template
from typing import NamedTuple

from outline import IMPORTS, PICTURE, Source, in_common, merged, similarity
from pygments.token import Comment, Keyword, Name, Operator, String

HERE = Path(__file__).resolve().parent
STRATEGIES = HERE.parent / "minidl" / "parallel"
FILES = [STRATEGIES / name for name in ("sync.py", "async_ps.py", "hybrid.py")]

DIFFERENCES = {
    ("sync.py", "async_ps.py"): "The sum over all ranks becomes a message to a server, which makes "
    "the update and answers with the new parameters. What the server does is added at the end.",
    ("async_ps.py", "hybrid.py"): "A group sends one message instead of one a worker: before it, "
    "the gradients are summed at the group's root; after the answer, the root broadcasts. What the "
    "server does is the same.",
    ("sync.py", "hybrid.py"): "The all-reduce is taken apart, into a reduce to the group's root "
    "and a broadcast from it, and the server's update stands between the two.",
}
ABSENT = {
    ("sync.py", "_answer_needed"): "No answer to pass on: every rank makes the update itself.",
    ("async_ps.py", "_answer_needed"): "Nobody to pass the answer on to: a group of one rank.",
    ("sync.py", "_sum_ready"): "Nothing to pass on: all-reduce leaves the sum on every rank.",
    ("async_ps.py", "_sum_ready"): "No sum to wait for: `_gradient_ready` sends the gradient.",
    ("sync.py", "serve"): "No server: every rank makes the update, in `_parameters_needed`.",
    ("sync.py", "finish"): "Nothing to fetch: every rank has the final network already.",
}
DOCSTRING = re.compile('"""' + r"\w")  # its first line
STYLES = [
    (String.Doc, "prose"),
    (Comment, "prose"),
    (String, "string"),
    (Keyword, "keyword"),
    (Operator.Word, "keyword"),
    (Name.Class, "name"),
    (Name.Function, "name"),
]


class Line(NamedTuple):
    """A line of a file: where it stands, what it says, and how that is shown."""

    number: int
    indent: int
    text: str
    html: str


def lines_of(source):
    painted = paint(source.tokens)
    return [
        Line(number, len(line) - len(line.lstrip()), line.strip(), html)
        for number, (line, html) in enumerate(zip(source.lines, painted, strict=True), start=1)
    ]


def paint(tokens):
    """The lines as HTML. What calls MPI, and so sends or waits, is painted in a way of its own."""
    pieces = []
    befores, afters = [(None, ""), *tokens], [*tokens[1:], (None, "")]
    for (_, before), (kind, value), (_, after) in zip(befores, tokens, afters, strict=False):
        style = next((style for general, style in STYLES if kind in general), None)
        if before == "." and value[0].isupper() and after.startswith("("):
            style = "message"
        text = escape(value, quote=False)
        # A span ends with its line, indentation stays outside.
        pieces.append(
            re.sub(r"\S.*", rf'<span class="{style}">\g<0></span>', text) if style else text
        )
    return "".join(pieces).splitlines()


def aligned(columns):
    """Rows of a line or None a column. Equal lines face each other, and lines that are similar."""
    rows = [(line,) for line in columns[0]]
    for width, column in enumerate(columns[1:], start=1):
        rows = [(*(row or [None] * width), line) for row, line in paired(rows, column)]
    return rows


def paired(rows, lines):
    """Pair rows and lines, both in their order, so that their likenesses add up to the most."""
    best = {}  # how many rows and lines are used -> the sum, and what the last step used
    for r in range(len(rows) + 1):
        for n in range(len(lines) + 1):
            steps = [(0.0, (0, 0))]
            if r and n and (alike := likeness(rows[r - 1], lines[n - 1])):
                steps.append((best[r - 1, n - 1][0] + alike, (1, 1)))
            if n:
                steps.append((best[r, n - 1][0], (0, 1)))
            if r:
                steps.append((best[r - 1, n][0], (1, 0)))
            best[r, n] = max(steps)
    pairs, r, n = [], len(rows), len(lines)
    while r or n:
        _, (row_used, line_used) = best[r, n]
        pairs.append((rows[r - 1] if row_used else None, lines[n - 1] if line_used else None))
        r, n = r - row_used, n - line_used
    return pairs[::-1]


def likeness(row, line):
    """2 where the row has the line, 0 where they must not meet."""
    texts = {other.text for other in row if other}
    if line.text in texts:
        return 2.0 if line.text else 0.1
    if DOCSTRING.match(line.text) and any(map(DOCSTRING.match, texts)):
        return 1.0
    ratios = [SequenceMatcher(None, text, line.text).ratio() for text in texts if text]
    return max((ratio for ratio in ratios if ratio > 0.6), default=0.0)


def colour(line, row, files):
    """How many files have the line here; "moved" if another has it elsewhere."""
    here = sum(other is not None and other.text == line.text for other in row)
    if not line.text or here == len(files):
        return "all"
    if here > 1:
        return "two"
    elsewhere = sum(line.text in {other.text for other in lines} for lines in files) > 1
    return "moved" if elsewhere and len(line.text) > 12 else "one"


def cell(line, row, files):
    if line is None:
        return "<td></td>"
    return (
        f'<td class="{colour(line, row, files)}" data-line="{line.number}" '
        f'style="--indent: {line.indent}"><code>{line.html.strip()}</code></td>'
    )


def band(name, sources, files):
    """A part of the outline: its heading, and its lines in rows."""
    title = name if name in (PICTURE, IMPORTS) else f"<code>{name}</code>"
    rows = [f'<tr class="part" id="{anchor(name)}"><th colspan="{len(sources)}">{title}</th></tr>']
    columns = [
        [lines[place] for place in source.parts[name]] if name in source.parts else []
        for source, lines in zip(sources, files, strict=True)
    ]
    if name == PICTURE:  # is looked at as a whole
        pictures = ["\n".join(line.html for line in column) for column in columns]
        cells = [f'<td><div class="picture"><pre>{each}</pre></div></td>' for each in pictures]
        return f"<tbody>{rows[0]}\n<tr>{''.join(cells)}</tr></tbody>"
    table = aligned(columns)
    for place, row in enumerate(table):
        cells = []
        for source, line in zip(sources, row, strict=True):
            if name in source.parts:
                cells.append(cell(line, row, files))
            elif place == 0:
                why = ABSENT.get((source.name, name), "Not in this file.")
                cells.append(f'<td class="absent" rowspan="{len(table)}">{prose(why)}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "<tbody>" + "\n".join(rows) + "</tbody>"


def anchor(name):
    return name.replace(" ", "-")


def prose(text):
    """Text with `code` in it, as HTML."""
    return re.sub("`(.*?)`", r"<code>\1</code>", escape(text, quote=False))


def comparison(first, second):
    """A row of the summary: how alike two files are, and what is different."""
    shared, one, other = in_common(first, second)
    return (
        f"<tr><th>{first.name}<br>{second.name}</th>"
        f"<td>{similarity(first, second):.2f}</td>"
        f"<td>{similarity(first, second, prose=True):.2f}</td>"
        f"<td>{shared} of {one}<br>{shared} of {other}</td>"
        f"<td>{prose(DIFFERENCES[first.name, second.name])}</td></tr>"
    )


def page(sources):
    """The whole page."""
    names, files = merged(sources), [lines_of(source) for source in sources]
    return Template((HERE / "side_by_side.html").read_text()).substitute(
        comparisons="\n".join(comparison(*pair) for pair in combinations(sources, 2)),
        contents="\n".join(f'<a href="#{anchor(name)}">{name}</a>' for name in names),
        files="".join(f"<th>{source.name}</th>" for source in sources),
        bands="\n".join(band(name, sources, files) for name in names),
    )


def write(path):
    """Write the page, and return what it is about: the files."""
    sources = [Source(file) for file in FILES]
    path.write_text(page(sources), encoding="utf-8")
    return sources


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "output" / "side_by_side.html")
    target.parent.mkdir(parents=True, exist_ok=True)
    write(target)
    print(f"wrote {target}")
