"""The outline that source files share: their parts, one order for all, and how alike they are.

A part is what stands under one name: the picture in the module's docstring, the imports and
constants, the head of a class, a function. Parts of the same name are to be compared.
"""

import ast
from difflib import SequenceMatcher
from pathlib import Path

from pygments import lex  # comes with rich
from pygments.lexers import PythonLexer
from pygments.token import Comment, String

PICTURE, IMPORTS = "picture", "imports and constants"


class OutlineError(Exception):
    """The files share no outline."""


class Source:
    """A file and its parts.

    Attributes
    ----------
    lines : list of str
    parts : dict of str to range
        Places in ``lines``, in order; between two parts there are only blank lines.
    tokens : list of (type, str)
        The whole text, as pygments takes it apart.
    """

    def __init__(self, path: Path) -> None:
        text = path.read_text()
        self.name, self.lines = path.name, text.splitlines()
        self.tokens = list(lex(text, PythonLexer(stripnl=False)))
        self.parts = self._parts(ast.parse(text))

    def _parts(self, module):
        starts = {}
        for node in members(module):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                name = node.name
                if name in starts:
                    raise OutlineError(f"{self.name}: two parts are called {name}")
            elif node is module.body[0] and ast.get_docstring(module):
                name = PICTURE
            else:
                name = IMPORTS
            decorators = getattr(node, "decorator_list", [])
            start = min(each.lineno for each in (node, *decorators)) - 1
            while start and self.lines[start - 1].lstrip().startswith("#"):
                start -= 1
            starts.setdefault(name, start)
        parts = {}
        ends = [*starts.values(), len(self.lines)][1:]
        for (name, start), end in zip(starts.items(), ends, strict=True):
            while not self.lines[end - 1].strip():
                end -= 1
            parts[name] = range(start, end)
        return parts

    def statements(self, prose=False):
        """The lines without blank ones and indentation; docstrings and comments if asked for."""
        said = "".join(
            "" if not prose and (kind in String.Doc or kind in Comment) else value
            for kind, value in self.tokens
        )
        return [line.strip() for line in said.splitlines() if line.strip()]


def members(module):
    """The statements of a module and the methods of its classes."""
    for node in module.body:
        yield node
        if isinstance(node, ast.ClassDef):
            yield from (inner for inner in node.body if isinstance(inner, ast.FunctionDef))


def merged(sources):
    """All parts in one order, which is that of every file.

    As Python finds one order for the methods of several base classes: take the first name that no
    file has further down.
    """
    left, order = [list(source.parts) for source in sources], []
    while any(left):
        heads = [names[0] for names in left if names]
        further_down = {name for names in left for name in names[1:]}
        free = [name for name in heads if name not in further_down]
        if not free:
            raise OutlineError(
                f"{', '.join(source.name for source in sources)} have no common order: next is "
                f"{' or '.join(dict.fromkeys(heads))}, and each stands further down in another file"
            )
        order.append(free[0])
        left = [names[1:] if names[:1] == free[:1] else names for names in left]
    return order


def in_common(first, second, prose=False):
    """How many lines both files have, in the same order; and how many each has at all."""
    one, other = first.statements(prose), second.statements(prose)
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks), len(one), len(other)


def similarity(first, second, prose=False):
    """The lines in common as a share of all lines: 0 for nothing, 1 for the same file."""
    shared, one, other = in_common(first, second, prose)
    return 2 * shared / (one + other)
