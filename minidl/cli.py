"""The ``minidl`` command: every subcommand's flags, help and examples; the work is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, ArgumentCollection, Group, Parameter, Token
from rich.console import Console

from . import __version__, model
from .errors import UserError
from .run import read_settings
from .settings import Settings

console = Console(soft_wrap=True, highlight=False)

# The order of the help page: that of the work.
DATA, MODEL, RUN, MACHINE = (
    Group(name, sort_key=place)
    for place, name in enumerate(("Data", "The network", "A run", "This machine"))
)

app = App(
    name="minidl",
    version=__version__,
    help="Train NumPy networks on scientific images, on one rank or on many.\n\n"
    "A first run: `make demo`. Any command: `minidl COMMAND --help`.",
    help_format="markdown",
    group_commands=Group("Help", sort_key=9),
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=(), consume_multiple=True, show_choices=True),
)
generate = App(
    name="generate",
    group=DATA,
    help="Make a data set.",
)
app.command(generate)
for entry in entry_points(group="minidl.generators"):
    generate.command(entry.value, name=entry.name)

ModelName = Annotated[str, Parameter(help="hep, or the import path of a module of your own.")]
RunFolder = Annotated[Path, Parameter(help="Folder of a run.")]


@app.command(group=DATA)
def inspect(file: Path, /, *, picture: Path | None = None) -> None:
    """Say what is in a data set: shapes, classes, statistics, and a picture of some samples.

    ```
    minidl inspect events.h5
    minidl inspect events.h5 --picture samples.png
    ```

    Parameters
    ----------
    file
        An HDF5 file.
    picture
        Where the picture goes; beside the file unless named.
    """
    from .inspect import inspect_file

    inspect_file(file, picture, console)


@app.command(group=MODEL, sort_key=1)
def summary(
    name: ModelName, /, *, size: int = 224, channels: int = 3, width: int | None = None
) -> None:
    """Print a network's layers: output shape, parameters, floating-point operations.

    ```
    minidl summary hep
    minidl summary hep --size 64 --width 32
    ```

    Parameters
    ----------
    size
        Height and width of the images.
    channels
        Channels of the images.
    width
        Width of the network; the model's own unless given.
    """
    from .summary import print_summary

    print_summary(model.load(name), (size, size, channels), width, console)


@app.command(group=MODEL, sort_key=2)
def check(
    name: ModelName, /, *, size: int = 16, channels: int = 3, width: int = 4, seed: int = 1
) -> None:
    """Check every gradient of a network against finite differences, in double precision.

    Where one is wrong, names the tensor, the index, both values and the likely cause, and ends
    with status 1.

    ```
    minidl check hep
    minidl check my_model --size 32 --width 8
    ```

    Parameters
    ----------
    size
        Height and width of the random images it is checked on.
    channels
        Channels of these images.
    width
        Width of the network that is checked.
    seed
        Of the weights, the images and the directions.
    """
    from .check import print_check

    if not print_check(model.load(name), (size, size, channels), width, seed, console):
        raise SystemExit(1)


def complete(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill in the settings that the command line leaves open: from --from RUN, then the model."""
    if commands not in (("train",), ("compare",)):
        return
    given = {argument.name: argument.tokens[0].value for argument in arguments if argument.tokens}
    earlier = read_settings(Path(given["--from"])) if "--from" in given else {}
    name = given.get("MODEL") or earlier.get("model")
    if name is None:
        raise UserError(
            "no model named; expected minidl compare MODEL"
            if commands == ("compare",)
            else "no model named; expected minidl train MODEL, or --from RUN to repeat one"
        )
    defaults = getattr(model.load(name), "DEFAULTS", {})
    # A length on the command line replaces one from elsewhere, also if it is in the other unit.
    lengths = {"--epochs", "--iterations"}
    for argument in arguments:
        key = argument.name.removeprefix("--").replace("-", "_").lower()
        value = earlier.get(key, defaults.get(key))
        if argument.tokens or value is None or (argument.name in lengths and lengths & set(given)):
            continue
        for part in value if isinstance(value, list) else [value]:
            argument.append(Token(keyword=argument.name, value=str(part), source="settings"))


@app.command(group=RUN, sort_key=1)
def train(
    name: Annotated[str, Parameter(name="MODEL")] = "",
    /,
    *,
    settings: Annotated[Settings, Parameter(name="*")] = Settings(),  # noqa: B008
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    out: Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    trace: Path | None = None,
) -> None:
    """Train a network, on one rank or on as many as mpiexec starts.

    ```
    minidl train hep --data events.h5 --epochs 10
    mpiexec -n 4 minidl train hep --data events.h5 --batch-size 8
    mpiexec -n 5 minidl train hep --data events.h5 --strategy async --trace async.json
    mpiexec -n 5 minidl train hep --data events.h5 --strategy hybrid --groups 2 --momentum auto
    minidl train --from runs/hep --learning-rate 3e-4 --out runs/slower
    minidl train my_model --data images.h5 --dry-run
    ```

    What is not given is taken from the run named by --from, else from the model.

    Parameters
    ----------
    name
        hep, or the import path of a module of your own.
    from_
        Repeat this run, with what else is given here changed.
    out
        Folder for the log, the checkpoint and the pictures; runs/MODEL unless given.
    overwrite
        Replace the run in that folder.
    dry_run
        Open the data, take one step, print the plan, write nothing.
    trace
        Where a timeline of all ranks goes, for ui.perfetto.dev; its picture goes beside it.
    """
    from . import parallel  # noqa: F401  (first: it says in a line if there is no MPI)
    from .training_command import train_command

    train_command(name, settings, out, overwrite, dry_run, trace, console)


@app.command(group=RUN, sort_key=2)
def evaluate(run: RunFolder, /, *, data: tuple[Path, ...], json: bool = False) -> None:
    """Judge a trained network on data that it has not seen; leave the pictures in the run's folder.

    ```
    minidl evaluate runs/hep --data test.h5
    minidl evaluate runs/hep --data test.h5 --json
    ```

    Parameters
    ----------
    data
        HDF5 files; several count as one set.
    json
        Print the figures as JSON.
    """
    from .evaluate import evaluate_run

    evaluate_run(run, data, json, console)


@app.command(group=RUN, sort_key=3)
def plot(*runs: RunFolder, out: Path = Path("loss.png")) -> None:
    """Draw the loss curves of runs over samples and over time, in one picture.

    ```
    minidl plot runs/hep
    minidl plot runs/slower runs/hep --out compared.png
    ```

    Parameters
    ----------
    out
        Where the picture goes.
    """
    from .plot import plot_runs

    plot_runs(runs, out)
    console.print(f"wrote {out}")


@app.command(group=RUN, sort_key=4)
def waits(run: RunFolder, /, *, json: bool = False) -> None:
    """Say who waited for whom, and what the one that was waited for was doing.

    ```
    minidl waits runs/hep
    minidl waits runs/hep --json
    ```

    Parameters
    ----------
    json
        Print the figures as JSON.
    """
    from .wait_report import print_waits

    print_waits(run, json, console)


@dataclass(frozen=True, kw_only=True)
class HybridSettings(Settings):
    """The settings of the run that has all parts: groups, and servers between them."""

    strategy: Annotated[Literal["hybrid"], Parameter(parse=False)] = "hybrid"


@app.command(group=RUN, sort_key=5)
def compare(
    name: Annotated[str, Parameter(name="MODEL")],
    /,
    *,
    settings: Annotated[HybridSettings, Parameter(name="*")] = HybridSettings(),
    ranks: int = 4,
    target_loss: float | None = None,
    out: Path = Path("runs/compare"),
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Train with sync, async and hybrid in turn, on equally many samples; compare what comes out.

    ```
    minidl compare hep --data events.h5 --ranks 4 --epochs 5
    minidl compare hep --data events.h5 --validation test.h5 --groups 2 --momentum auto
    minidl compare my_model --data images.h5 --target-loss 0.3 --json
    ```

    It starts mpiexec itself. What is not given is taken from the model.

    Parameters
    ----------
    name
        hep, or the import path of a module of your own.
    ranks
        Workers of each run; async and hybrid have --servers more ranks.
    target_loss
        Training loss, a mean over the last updates, to say when each run reached it; unless given,
        one that all reach.
    out
        Folder for the three runs, compare.png and compare.json.
    overwrite
        Replace the comparison in that folder.
    json
        Print the figures as JSON.
    """
    from .compare import compare_command

    compare_command(name, settings, ranks, target_loss, out, overwrite, json, console)


@app.command(group=RUN, sort_key=6)
def diff(first: RunFolder, second: RunFolder, /, *, json: bool = False) -> None:
    """Say whether two runs are equal to the bit, equal up to summation order, or different and why.

    Ends with status 1 if they are different. Many ranks against one that has all their samples:

    ```
    mpiexec -n 2 minidl train hep --data events.h5 --batch-size 4 --iterations 40 --out runs/two
    minidl train hep --data events.h5 --batch-size 8 --iterations 40 --out runs/one
    minidl diff runs/one runs/two
    ```

    Parameters
    ----------
    json
        Print the figures as JSON.
    """
    from .diff_report import print_diff

    if not print_diff(first, second, json, console):
        raise SystemExit(1)


@app.command(group=RUN, sort_key=7)
def replay(run: RunFolder, /, *, json: bool = False) -> None:
    """Make every update of a run again in one process, in the recorded order; compare the bits.

    Takes as long as the run would on one rank. Ends with status 1 if the checkpoint is not what
    comes out, or the record contradicts itself.

    ```
    mpiexec -n 5 minidl train hep --data events.h5 --strategy async --out runs/async
    minidl replay runs/async
    minidl replay runs/async --json
    ```

    Parameters
    ----------
    json
        Print the figures as JSON.
    """
    from . import parallel  # noqa: F401  (first: it says in a line if there is no MPI)
    from .replay_report import print_replay

    if not print_replay(run, json, console):
        raise SystemExit(1)


@app.command(group=RUN, sort_key=8)
def explore(
    *,
    strategy: Literal["async", "hybrid"] = "async",
    groups: int = 2,
    group_size: int = 1,
    servers: int = 2,
    layers: int = 2,
    iterations: int = 2,
    staleness_bound: int | None = None,
) -> None:
    """Run a small training in every order in which its messages can arrive, and check each.

    In one process, on a virtual cluster. Ends with status 1 if a promise of the strategy is broken.

    ```
    minidl explore
    minidl explore --groups 3 --servers 1 --layers 1
    minidl explore --strategy hybrid --group-size 2
    ```

    Parameters
    ----------
    groups
        Workers of async, groups of hybrid.
    group_size
        Ranks in each group of hybrid.
    servers
        They hold the layers.
    layers
        Of the network.
    iterations
        Of every group. The number of schedules grows very fast with it.
    staleness_bound
        As for train.
    """
    from . import parallel  # noqa: F401  (first: it says in a line if there is no MPI)
    from .exploration import print_exploration
    from .parallel.virtual.promises import Case

    if strategy == "async" and group_size > 1:
        raise UserError("--group-size goes with --strategy hybrid")
    case = Case(
        strategy, groups, group_size, servers, layers, iterations, staleness_bound=staleness_bound
    )
    if not print_exploration(case, console):
        raise SystemExit(1)


@app.command(group=MACHINE)
def info() -> None:
    """Print versions, the BLAS and its threads, the MPI, the cores, and what to change.

    ```
    minidl info
    mpiexec -n 2 minidl info
    ```
    """
    from .info import print_info

    print_info(console)


bench = App(name="bench", group=MACHINE, help="Measure this machine.")
app.command(bench)


@bench.command
def machine(*, model: ModelName = "hep", out: Path | None = None) -> None:
    """Measure arithmetic and messages, as a description that a virtual cluster takes.

    ```
    minidl bench machine
    minidl bench machine --out machine.json
    ```

    Parameters
    ----------
    out
        Where the description goes, as JSON.
    """
    from . import parallel  # noqa: F401  (first: it says in a line if there is no MPI)
    from .machine_command import measure_machine

    measure_machine(model, out, console)


app["train"].config = app["compare"].config = (complete,)
