"""Long runs of every strategy: what grows, what stays open, which messages nobody received.

``python tests/soak.py`` prints a table and leaves a picture in ``build/soak``.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from events import write_events
from launch import PROGRAMS, mpiexec
from matplotlib.figure import Figure

from minidl import picture
from minidl.record import load
from minidl.run import read_log
from minidl.settings import Settings

SAMPLES = 64
CHECKPOINTS = 20  # in a run
MEBIBYTE = 2**20

# What a rank's memory may grow by: code and buffers that are used late for the first time, and
# what it keeps for the run's record, at most 27 bytes an entry and as many while room is made.
LATE, ENTRY = 12 * MEBIBYTE, 60  # bytes

# Ranks, groups of workers, and what sets the strategy; hybrid needs a server beside its 4 workers.
STRATEGIES = {
    "serial": (1, 1, {"strategy": "serial"}),
    "sync": (4, 1, {"strategy": "sync"}),
    "async": (4, 3, {"strategy": "async"}),
    "hybrid": (5, 2, {"strategy": "hybrid", "groups": 2}),
}


class Rank(NamedTuple):
    """What one rank saw. ``samples`` has fields updates, memory (bytes), handles, threads."""

    samples: np.ndarray
    entries: int  # that the run's record has of it, and so were kept in memory
    left: list[int]  # communicators on which there still was a message

    @property
    def settled(self) -> np.ndarray:
        """The samples after the first tenth, in which memory is used for the first time."""
        return self.samples[self.samples["updates"] >= 0.1 * self.samples["updates"][-1]]

    @property
    def growth(self) -> int:
        """Bytes of memory from there to the end."""
        memory = self.settled["memory"]
        return int(memory[-1] - memory[0])

    @property
    def problems(self) -> list[str]:
        """What a long run would come to grief by."""
        found = ["messages left"] if self.left else []
        found += [f"more {what}" for what in ("handles", "threads") if self.rise(what) > 0]
        return found + ["memory grows"] * (self.growth > LATE + ENTRY * self.entries)

    def rise(self, what: str) -> int:
        """By how much more handles or threads there usually are in the last third than before."""
        parts = np.array_split(self.settled[what], 3)
        return int(np.median(parts[-1]) - np.median(parts[0]))


def soak(name: str, updates: int, folder: Path) -> list[Rank]:
    """Run a strategy for so many updates of every layer; return what each of its ranks saw.

    Raises
    ------
    AssertionError
        If the run failed, or its log lacks a line.
    """
    ranks, groups, how = STRATEGIES[name]
    iterations = -(-updates // groups)
    folder.mkdir(parents=True)
    settings = Settings(
        data=(write_events(folder / "events.h5", SAMPLES, size=8),),
        batch_size=2,
        iterations=iterations,
        checkpoint_every=-(-iterations // CHECKPOINTS),
        **how,
    )
    (folder / "settings.json").write_text(json.dumps(settings.to_json()))
    done = mpiexec(
        ranks, sys.executable, PROGRAMS / "soaking.py", folder, timeout=60 + 0.1 * updates
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check_log(folder / "run", groups, iterations)
    record = load(folder / "run")
    found = []
    for rank in range(ranks):
        saw = json.loads((folder / f"rank{rank}.json").read_text())
        entries = len(record.spans[rank]) + len(record.updates) * (record.groups[rank] < 0)
        samples = np.load(folder / f"rank{rank}.npy", allow_pickle=False)
        found.append(Rank(samples, entries, saw["left"]))
    return found


def check_log(run: Path, groups: int, iterations: int) -> None:
    """Every iteration of every group has its line, and the run has an end."""
    log = read_log(run)
    steps = [(e["group"], e["iteration"]) for e in log if e["event"] == "iteration"]
    assert sorted(steps) == [(g, i) for g in range(groups) for i in range(1, iterations + 1)]
    assert log[0]["event"] == "start"
    assert log[-1] == {"event": "end", "reason": "finished"}


def lines(name: str, ranks: list[Rank]) -> list[str]:
    """A line of the table for each rank."""
    return [
        f"{name:8} {number:4} {rank.settled['memory'][0] / MEBIBYTE:10.1f} "
        f"{rank.samples['memory'][-1] / MEBIBYTE:8.1f} {rank.growth / MEBIBYTE:8.1f} "
        f"{rank.entries:9,} {rank.growth / rank.entries:7.0f} "
        f"{rank.rise('handles'):8} {rank.rise('threads'):8} {len(rank.left):9}  "
        f"{', '.join(rank.problems)}".rstrip()
        for number, rank in enumerate(ranks)
    ]


HEADER = (
    "               MiB at                        entries   bytes/     more     more  messages\n"
    "strategy rank  1/10 of it   at end   growth  recorded   entry  handles  threads      left"
)


def draw(found: dict[str, list[Rank]]) -> Figure:
    """Memory of every rank over the updates, a panel a strategy."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for panel, (name, ranks) in zip(panels, found.items(), strict=True):
        for number, rank in enumerate(ranks):
            memory = rank.samples["memory"] / MEBIBYTE
            panel.plot(rank.samples["updates"], memory, label=f"rank {number}", linewidth=1.2)
        panel.set_title(name)
        panel.set_xlabel("updates")
        panel.grid(color="0.9", linewidth=0.6)
        panel.legend(fontsize="small", frameon=False, loc="lower right")
    panels[0].set_ylabel("resident memory (MiB)")
    panels[0].set_ylim(bottom=0)  # of all, once all is drawn
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=10_000, help="of every layer, in each run")
    parser.add_argument("--out", type=Path, default=Path("build/soak"))
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    found = {}
    print(HEADER)
    for name in STRATEGIES:
        found[name] = soak(name, given.updates, (given.out / name).resolve())
        print("\n".join(lines(name, found[name])), flush=True)
    picture.save(draw(found), given.out / "memory.png")
    print(f"wrote {given.out / 'memory.png'}")
    sys.exit(any(rank.problems for ranks in found.values() for rank in ranks))


if __name__ == "__main__":
    main()
