"""``minidl evaluate``, ``plot``, ``waits``, ``diff``, ``replay`` and ``export``: after a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from .app import RUN, RunFolder, app, console


@app.command(group=RUN, sort_key=2)
def evaluate(
    run: RunFolder, /, *, data: tuple[Path, ...], json: bool = False, **options: str
) -> None:
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
    options
        The model's own, in place of the run's.
    """
    from ..runs.evaluate import evaluate_run

    evaluate_run(run, data, options, json, console)


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
    from ..runs.plot import plot_runs

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
    from ..runs.wait_report import print_waits

    print_waits(run, json, console)


@app.command(group=RUN, sort_key=6)
def diff(first: RunFolder, second: RunFolder, /, *, json: bool = False) -> None:
    """Say whether two runs are equal to the bit, equal up to summation order, or different and why.

    Ends with status 1 if they are different. Many ranks against one that has all their samples:

    ```
    mpiexec -n 2 minidl train hep --data events.h5 --batch-size 4 --algorithm im2col --out runs/two
    minidl train hep --data events.h5 --batch-size 8 --algorithm im2col --out runs/one
    minidl diff runs/one runs/two
    ```

    Parameters
    ----------
    json
        Print the figures as JSON.
    """
    from ..runs.diff_report import print_diff

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
    from .. import parallel  # noqa: F401  (first: it says in a line if there is no MPI)
    from ..runs.replay_report import print_replay

    if not print_replay(run, json, console):
        raise SystemExit(1)


@app.command(group=RUN, sort_key=8)
def export(
    run: RunFolder,
    /,
    *,
    to: Literal["npz", "safetensors", "onnx"],
    out: Path | None = None,
    overwrite: bool = False,
    data: Annotated[tuple[Path, ...], Parameter(show_default=False)] = (),
) -> None:
    """Write a trained network to a file for other programs.

    ```
    minidl export runs/hep --to onnx
    minidl export runs/hep --to npz --out hep.npz
    ```

    An npz or safetensors file has the layers' tensors, as conv1.weight, in the shapes that they
    have here: (KH, KW, C, K) of a convolution. An ONNX file has the network too; it takes batches
    as the model prepares them, (N, H, W, C). All have the model's options and what it measured, as
    JSON in their metadata.

    Parameters
    ----------
    to
        The format; onnx and safetensors need packages: pip install 'minidl[export]'.
    out
        Where the file goes; network.npz or alike in the run's folder unless given.
    overwrite
        Replace that file.
    data
        HDF5 files with images of the shape that the ONNX network is for; the run's unless given.
    """
    from .export_command import export_run

    console.print(f"wrote {export_run(run, to, out, overwrite, data)}")
