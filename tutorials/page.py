"""What all pages share: the small setting, pictures, and the `minidl` command.

`python tutorials/NN_name.py --small` runs a page in seconds, with less of everything.
"""

import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure

from minidl import picture

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
    words = [str(word.relative_to(ROOT) if isinstance(word, Path) else word) for word in arguments]
    print("$ minidl", *words, flush=True)
    command = str(Path(sys.executable).with_name("minidl"))
    subprocess.run([command, *words], check=True, cwd=ROOT)


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
