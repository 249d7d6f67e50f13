"""A run with every way to sum, on the ranks that there are. Arguments: strategy, data, a folder."""

import sys
from pathlib import Path
from typing import get_args, get_type_hints

from rich.console import Console

from minidl.cli.training_command import train_command
from minidl.settings import Settings
from minidl.virtual import Virtual

WAYS = get_args(get_type_hints(Settings)["all_reduce"])


def train(strategy: str, way: str, data: Path, out: Path, virtual_ranks: int | None = None) -> None:
    """Make six updates; all workers are one group, so that the run repeats itself."""
    settings = Settings(
        data=(data,), strategy=strategy, groups=1 if strategy == "hybrid" else None, width=4,
        iterations=6, batch_size=4, algorithm="im2col", optimizer="sgd", all_reduce=way,
        options={},
    )  # fmt: skip
    console, virtual = Console(quiet=True), Virtual(virtual_ranks=virtual_ranks)
    train_command("hep", settings, virtual, out, False, None, False, None, console)


if __name__ == "__main__":
    strategy, data, out = sys.argv[1:]
    for way in WAYS:
        train(strategy, way, Path(data), Path(out) / way)
