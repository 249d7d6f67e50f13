"""What all pages share: the small setting, pictures, and commands, on one rank or on many.

`python tutorials/NN_name.py --small` runs a page in seconds, with less of everything.
"""

import os
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure

from minidl import picture
from minidl.runs.launcher import find_mpiexec

SMALL = "--small" in sys.argv
ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "tutorials" / "output" / ("small" if SMALL else "")
OUTPUT.mkdir(parents=True, exist_ok=True)


def show(figure: Figure, name: str) -> None:
    """Write a picture to tutorials/output/, and show it where the page runs as a notebook."""
    path = OUTPUT / f"{name}.png"
    picture.save(figure, path)
    print(f"picture: {path.relative_to(ROOT)}")
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(path))


def minidl(*arguments: object) -> None:
    """Run the `minidl` command, and stop the page if it fails."""
    words = _words(arguments)
    print("$ minidl", *words, flush=True)
    command = str(Path(sys.executable).with_name("minidl"))
    subprocess.run([command, *words], check=True, cwd=ROOT)


def mpiexec(ranks: int, program: str, *arguments: object, timeout: float = 600) -> None:
    """Run `minidl` or `python` on so many ranks; stop the page if that fails or never ends."""
    words = _words(arguments)
    print(f"$ mpiexec -n {ranks} {program}", *words, flush=True)
    command = [find_mpiexec(), "-n", str(ranks), str(Path(sys.executable).with_name(program))]
    # Open MPI wants to be asked for more ranks than cores.
    environment = {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", **os.environ}
    subprocess.run([*command, *words], check=True, cwd=ROOT, env=environment, timeout=timeout)


def _words(arguments: tuple[object, ...]) -> list[str]:
    return [str(word.relative_to(ROOT) if isinstance(word, Path) else word) for word in arguments]


def events(kind: str) -> Path:
    """The simulated events to "train" or to "test" on: made once, found again by all pages."""
    seed, count = {"train": (1, 2000), "test": (2, 1000)}[kind]
    size = 64
    if SMALL:
        count, size = 60, 32
    path = OUTPUT / f"{kind}-{count}-events.h5"
    if not path.exists():
        minidl("generate", "hep", "--events", count, "--size", size, "--seed", seed, "--out", path)
    return path


def weather(kind: str) -> list[Path]:
    """The synthetic weather to "train" or to "test" on, a file a year; made once, then found."""
    years, frames = {"train": ((2000, 2001), 160), "test": ((2010,), 120)}[kind]
    size = 192
    if SMALL:
        years, frames, size = years[:1], frames // 10, 96
    folder = OUTPUT / f"weather-{frames}"
    paths = [folder / f"climo_{year}.h5" for year in years]
    if not all(path.exists() for path in paths):
        minidl(
            "generate", "climate", "--years", f"{years[0]}-{years[-1]}", "--frames", frames,
            "--months", "6-11", "--size", size, "--out", folder,
        )  # fmt: skip
    return paths
