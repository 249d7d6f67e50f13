"""The ``minidl`` command as a whole: its help page, and what its subcommands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

from cyclopts import App, ArgumentCollection, Group, Parameter
from rich.console import Console

from .. import __version__
from ..errors import UserError

console = Console(soft_wrap=True, highlight=False)

# The order of the help page: that of the work.
DATA, MODEL, RUN, ELSEWHERE, MACHINE = (
    Group(name, sort_key=place)
    for place, name in enumerate(
        ("Data", "The network", "A run", "Machines that are not here", "This machine")
    )
)

LISTS = (tuple[int, ...], tuple[float, ...], tuple[str, ...])


def split_lists(_: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take 1,2,4 for 1 2 4 where several values are expected."""
    for argument in arguments:
        if any(kind in LISTS for kind in (argument.hint, *get_args(argument.hint))):
            argument.tokens = [
                token.evolve(value=value)
                for token in argument.tokens
                for value in token.value.strip(",").split(",")
            ]


def check_whole(_: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Raise ``UserError`` for 2.5 where a whole number is expected; cyclopts would round it."""
    for argument in arguments:
        hints = (argument.hint, *get_args(argument.hint))
        if int in hints or tuple[int, ...] in hints:
            for token in argument.tokens:
                if "." in token.value:
                    raise UserError(f"{argument.name} {token.value}: expected a whole number")


app = App(
    name="minidl",
    version=__version__,
    help="Train NumPy networks on scientific images, on one rank or on many.\n\n"
    "A first run: `make demo`. Any command: `minidl COMMAND --help`.",
    help_format="markdown",
    group_commands=Group("Help", sort_key=9),
    suppress_keyboard_interrupt=False,
    config=(split_lists, check_whole),
    default_parameter=Parameter(negative=(), consume_multiple=True, show_choices=True),
)

ModelName = Annotated[str, Parameter(help="hep, or the import path of a module of your own.")]
RunFolder = Annotated[Path, Parameter(help="Folder of a run.")]
