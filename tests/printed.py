"""A console whose output a test can read."""

import io

from rich.console import Console


class Printed(Console):
    """Collects what is printed to it; ``text`` is all of it."""

    def __init__(self):
        super().__init__(file=io.StringIO(), soft_wrap=True, highlight=False, width=100)

    @property
    def text(self):
        return self.file.getvalue()
