r"""Do frames without labels help to find storms? And does a network outgrow its noisy labels?

Trains the climate network with a share of the frames' boxes, with and without the reconstruction of
all frames, from several seeds; then with the boxes of the heuristic detector in place of the true
ones. Says the mean average precision on years that were not trained on.

::

    minidl generate climate --years 2000-2002 --frames 160 --months 6-11 --out demo/climate
    minidl generate climate --years 2010 --frames 240 --months 6-11 --out demo/climate
    python benchmarks/semi_supervised.py --data demo/climate/climo_200?.h5 \
        --test demo/climate/climo_2010.h5

Takes hours on two cores; finished runs stay in ``--out``, and are not made again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cyclopts import App, Parameter

SEEDS = (1, 2, 3)
ADAM = ("--batch-size", 8, "--optimizer", "adam", "--learning-rate", 1e-3, "--schedule", "cosine")

app = App(default_parameter=Parameter(consume_multiple=True))


@dataclass(frozen=True)
class Setting:
    """What is compared, each from every seed."""

    labels: str
    labelled: float
    reconstruction: float

    @property
    def name(self) -> str:
        """Of the runs' folders."""
        return f"{self.labels}-{self.labelled}-{self.reconstruction}"


SETTINGS = [
    *(Setting("boxes", share, weight) for share in (0.1, 1.0) for weight in (0, 10)),
    Setting("heuristic", 1.0, 10),
]


@app.default
def main(
    *,
    data: Sequence[Path],
    test: Sequence[Path],
    width: int = 16,
    epochs: int = 20,
    out: Path = Path("runs/semi"),
    workers: int = 2,
) -> None:
    """Make all runs, so many at a time, and print the table."""
    files = [str(path) for path in data], [str(path) for path in test]

    def judged(setting: Setting, seed: int) -> float:
        run = out / f"{setting.name}-{seed}"
        if not (run / "evaluation.json").exists():
            minidl(
                "train", "climate", "--data", *files[0], "--width", width, "--epochs", epochs,
                *ADAM, "--labels", setting.labels, "--labelled", setting.labelled,
                "--reconstruction", setting.reconstruction, "--seed", seed, "--out", run,
                "--overwrite",
            )  # fmt: skip
            minidl("evaluate", run, "--data", *files[1])
        return figures(run)["network"]["0.1"]["mean"]

    with ThreadPoolExecutor(workers) as pool:
        found = {s: [pool.submit(judged, s, seed) for seed in SEEDS] for s in SETTINGS}
        print(f"{'labels':12}{'labelled':>9}{'reconstruction':>16}   mAP at IOU 0.1, each seed")
        for setting, runs in found.items():
            values = np.array([run.result() for run in runs])
            each = " ".join(f"{value:.3f}" for value in values)
            print(
                f"{setting.labels:12}{setting.labelled:9.0%}{setting.reconstruction:16g}   "
                f"{values.mean():.3f} +- {values.std(ddof=1):.3f}   ({each})",
                flush=True,
            )
    rival = figures(out / f"{SETTINGS[-1].name}-{SEEDS[0]}")["rival"]["0.1"]["mean"]
    print(f"the heuristic detector itself: {rival:.3f}")


def minidl(*arguments: object) -> None:
    """Run the command; end with what it says if it fails."""
    command = [str(Path(sys.executable).with_name("minidl")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def figures(run: Path) -> dict:
    """What ``minidl evaluate`` has found."""
    return json.loads((run / "evaluation.json").read_text())


if __name__ == "__main__":
    app()
