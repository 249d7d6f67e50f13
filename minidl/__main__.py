"""``python -m minidl``: the command, by the interpreter that is named."""

from .cli import main

main()
