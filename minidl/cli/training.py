"""``minidl train`` and ``minidl compare``: runs are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, ArgumentCollection, Group, Parameter, Token

from .. import model
from ..errors import UserError
from ..layers.algorithms import AlgorithmName  # noqa: F401  (HybridSettings inherits its use)
from ..run import read_settings
from ..runs.terms import Terms
from ..settings import Settings
from ..virtual import Virtual
from .app import RUN, app, check_whole, console

SLIP = 0.75  # as alike, 1 at most, as a flag and a mistyped one are

VIRTUAL = Group(
    "Virtual ranks",
    help="In one process, without mpiexec: they learn as real ranks do, by the clock of a machine "
    "that is not there. Memory is needed for all their networks; one core computes for all.",
)


def complete(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill in the settings that the command line leaves open: from an earlier run, then the model.

    That run is named by --from or --resume.
    """
    if commands not in (("train",), ("compare",)):
        return
    given = {argument.name: argument.tokens[0].value for argument in arguments if argument.tokens}
    folder = given.get("--resume", given.get("--from"))
    earlier = read_settings(Path(folder)) if folder is not None else {}
    earlier |= earlier.get("virtual", {})
    options = earlier.pop("options", {})
    name = given.get("MODEL") or earlier.get("model")
    if name is None:
        raise UserError(
            "no model named; expected minidl compare MODEL"
            if commands == ("compare",)
            else "no model named; expected minidl train MODEL, or --from RUN to repeat one, or "
            "--resume RUN to go on with one"
        )
    module = model.load(name)
    complete_options(arguments, getattr(module, "OPTIONS", {}), options)
    defaults = getattr(module, "DEFAULTS", {})
    # A length on the command line replaces one from elsewhere, also if it is in the other unit.
    lengths = {"--epochs", "--iterations"}
    for argument in arguments:
        key = argument.name.removeprefix("--").replace("-", "_").lower()
        value = earlier.get(key, defaults.get(key))
        if argument.tokens or value is None or (argument.name in lengths and lengths & set(given)):
            continue
        for part in value if isinstance(value, list) else [value]:
            argument.append(Token(keyword=argument.name, value=str(part), source="settings"))


def complete_options(
    arguments: ArgumentCollection, known: dict[str, Any], earlier: dict[str, Any]
) -> None:
    """Refuse flags that are neither the command's nor the model's own; add those of --from RUN."""
    (own,) = (argument for argument in arguments if argument.name == "--[KEYWORD]")
    given = {token.keys[0]: token.keyword for token in own.tokens}
    flags = {argument.name for argument in arguments} | {f"--{option}" for option in known}
    for option, flag in given.items():
        if option not in known:
            close = get_close_matches(f"--{option}", flags, n=1, cutoff=SLIP)
            meant = f"; did you mean {close[0]}?" if close else "."
            raise UserError(f"unknown flag {flag}{meant} See minidl train --help")
    for option, value in earlier.items():
        if option not in given:
            flag = f"--{option}"
            own.append(Token(keyword=flag, keys=(option,), value=str(value), source="settings"))


@app.command(group=RUN, sort_key=1)
def train(
    name: Annotated[str, Parameter(name="MODEL")] = "",
    /,
    *,
    settings: Annotated[Settings, Parameter(name="*")] = Settings(),  # noqa: B008
    virtual: Annotated[Virtual, Parameter(name="*", group=VIRTUAL)] = Virtual(),  # noqa: B008
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    resume: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    trace: Path | None = None,
    **options: str,
) -> None:
    """Train a network, on one rank or on as many as mpiexec starts.

    ```
    minidl train hep --data events.h5 --epochs 10
    mpiexec -n 4 minidl train hep --data events.h5 --batch-size 8
    mpiexec -n 5 minidl train hep --data events.h5 --strategy async --trace async.json
    mpiexec -n 5 minidl train hep --data events.h5 --strategy hybrid --groups 2 --momentum auto
    minidl train hep --data events.h5 --strategy async --virtual-ranks 9 --jitter 0.1
    minidl train --from runs/hep --learning-rate 3e-4 --out runs/slower
    minidl train --resume runs/hep
    minidl train my_model --data images.h5 --dry-run
    ```

    What is not given is taken from the run named by --from or --resume, else from the model.

    Parameters
    ----------
    name
        hep, or the import path of a module of your own.
    from_
        Repeat this run, with what else is given here changed.
    resume
        Go on with this run from its last checkpoint, in its folder; the number of ranks may be
        another one.
    out
        Folder for the log, the checkpoint and the pictures; runs/MODEL unless given.
    overwrite
        Replace the run in that folder.
    dry_run
        Open the data, take one step, print the plan, write nothing.
    trace
        Where a timeline of all ranks goes, for ui.perfetto.dev; its picture goes beside it.
    options
        The model's own; climate has --preset, --labels, --labelled and --reconstruction.
    """
    from .. import parallel  # noqa: F401  (first: it says in a line if there is no MPI)
    from .training_command import train_command

    settings = replace(settings, options=options)
    train_command(name, settings, virtual, out, overwrite, resume, dry_run, trace, console)


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
    terms: Annotated[Terms, Parameter(name="*")] = Terms(),  # noqa: B008
    out: Path = Path("runs/compare"),
    overwrite: bool = False,
    json: bool = False,
    **options: str,
) -> None:
    """Train with all three strategies in turn; compare what comes out.

    ```
    minidl compare hep --data events.h5 --ranks 4 --epochs 5
    minidl compare hep --data events.h5 --validation test.h5 --groups 2 --momentum auto
    minidl compare hep --data events.h5 --serial --seeds 1 2 3 --target-loss 0.3
    minidl compare my_model --data images.h5 --target-loss 0.3 --json
    ```

    All runs see equally many samples. It starts mpiexec itself. What is not given is taken from the
    model. Two speed-ups are told: parallel, by the time an epoch takes, and learning, by the time
    to the target.

    Parameters
    ----------
    name
        hep, or the import path of a module of your own.
    out
        Folder for all runs, compare.png and compare.json.
    overwrite
        Replace the comparison in that folder.
    json
        Print the figures as JSON.
    options
        The model's own.
    """
    from ..runs.compare import compare_command

    settings = replace(settings, options=options)
    compare_command(name, settings, terms, out, overwrite, json, console)


app["train"].config = app["compare"].config = (complete, check_whole)
