"""``minidl simulate``, ``scaling``, ``explain`` and ``plan``: machines that are not here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from .app import ELSEWHERE, ModelName, app, console

MachineName = Annotated[
    str,
    Parameter(
        help="cori-knl, perlmutter-gpu, frontier-gpu, or a file that minidl bench machine --out "
        "has written."
    ),
]


@app.command(group=ELSEWHERE, sort_key=1)
def simulate(
    name: ModelName,
    /,
    *,
    nodes: int,
    machine: MachineName = "cori-knl",
    strategy: Literal["sync", "async", "hybrid"] = "sync",
    groups: int | None = None,
    servers: int | None = None,
    batch_size: int = 8,
    iterations: int = 10,
    jitter: float | None = None,
    seed: int = 1,
    json: bool = False,
    **options: str,
) -> None:
    """Predict an iteration's time on a machine, and where it goes.

    What runs is the strategy's own code.

    ```
    minidl simulate hep --nodes 9600 --strategy hybrid --groups 9 --iterations 100
    minidl simulate climate --preset paper --nodes 9622 --strategy hybrid --groups 8
    ```

    Parameters
    ----------
    nodes
        All of them, servers included. A node is a rank.
    groups
        Of hybrid: groups of workers, equal in size (2 unless given).
    servers
        Of async and hybrid (one a layer unless given).
    batch_size
        Samples of a worker and iteration.
    iterations
        Of every group, after a first one that is not counted.
    jitter
        Each iteration of each rank takes exp(JITTER * z) times as long, z standard normal; the
        machine's own unless given.
    seed
        Of the jitter.
    json
        Print the figures as JSON.
    options
        The model's own; climate has --preset.
    """
    from .. import parallel  # noqa: F401  (first: it says in a line if there is no MPI)
    from .simulation import Asked, print_simulation

    asked = Asked(
        name, machine, nodes, strategy, groups, servers, batch_size, iterations, jitter, seed
    )
    print_simulation(asked, options, json, console)


@app.command(group=ELSEWHERE, sort_key=2)
def scaling(
    kind: Literal["strong", "weak"],
    name: ModelName,
    /,
    *,
    machine: MachineName = "cori-knl",
    strategies: tuple[str, ...] = ("sync", "hybrid-2", "hybrid-4"),
    nodes: tuple[int, ...] = (1, 4, 16, 64, 256, 512, 1024),
    batch_size: int | None = None,
    iterations: int = 10,
    jitter: float | None = None,
    seed: int = 1,
    data: tuple[Path, ...] = (),
    epochs: int = 2,
    width: int = 8,
    learning_rate: float = 1e-3,
    target: float | None = None,
    json: bool = False,
    picture: Path | None = None,
    **options: str,
) -> None:
    """Predict speed-ups over nodes, beside what was published.

    ```
    minidl scaling strong hep --picture strong.png
    minidl scaling weak climate --preset paper --nodes 256 1024 2048
    minidl scaling strong hep --data train.h5 --batch-size 256 --nodes 4 16 64
    ```

    Parameters
    ----------
    kind
        strong: the batch of a group stays; weak: the batch of a node stays.
    strategies
        sync, async, or hybrid-G with G groups; one or several.
    nodes
        That compute; a server for each layer comes on top.
    batch_size
        Of a group if strong, 2048 unless given; of a node if weak, 8 unless given.
    iterations
        Of every group, after a first one that is not counted; more of fewer than 100 nodes.
    jitter
        As for simulate.
    seed
        Of the jitter; of weights and order, too, where something is learnt.
    data
        HDF5 files: learn them at every point, too, as plan does, and report how much sooner a loss
        is reached than at the first point. Momentum is 0.9, less what asynchrony adds.
    epochs
        Of learning, at every point.
    width
        As for plan.
    learning_rate
        Of Adam.
    target
        As for plan: training loss to be reached; unless given, the largest at the end of any.
    json
        Print the figures as JSON.
    picture
        Where a picture of them goes.
    options
        The model's own; climate has --preset.
    """
    from .. import parallel  # noqa: F401
    from ..simulate.scaling_learning import Lesson
    from .scaling_command import Study, print_scaling

    lesson = Lesson(data, epochs, width, learning_rate, seed) if data else None
    study = Study(
        kind, name, machine, strategies, nodes, batch_size, iterations, jitter, seed, lesson, target
    )
    print_scaling(study, options, json, picture, console)


@app.command(group=ELSEWHERE, sort_key=3)
def explain(
    name: ModelName,
    /,
    *,
    ranks: int,
    machine: MachineName = "cori-knl",
    strategy: Literal["sync", "async", "hybrid"] = "sync",
    groups: int | None = None,
    servers: int | None = None,
    batch_size: int = 8,
    jitter: float | None = None,
    json: bool = False,
    **options: str,
) -> None:
    """Say what a run would do before it is started, layer by layer.

    ```
    minidl explain hep --ranks 64 --strategy hybrid --groups 8
    minidl explain climate --preset paper --ranks 64
    ```

    Parameters
    ----------
    ranks
        That compute; servers come on top. A rank is a node.
    groups
        As for simulate.
    servers
        As for simulate.
    batch_size
        Samples of a worker and iteration.
    jitter
        As for simulate.
    json
        Print the figures as JSON.
    options
        The model's own; climate has --preset.
    """
    from .. import parallel  # noqa: F401
    from .explain_command import print_explanation
    from .simulation import Asked

    asked = Asked(
        name, machine, ranks, strategy, groups, servers, batch_size, 10, jitter, 1,
        servers_on_top=True,
    )  # fmt: skip
    print_explanation(asked, options, json, console)


@app.command(group=ELSEWHERE, sort_key=4)
def plan(
    name: ModelName,
    /,
    *,
    data: tuple[Path, ...],
    nodes: int,
    validation: tuple[Path, ...] = (),
    machine: MachineName = "cori-knl",
    jitter: float | None = None,
    groups: tuple[int, ...] = (1, 2, 4, 8),
    batch_sizes: tuple[int, ...] | None = None,
    momenta: tuple[float, ...] = (0.0, 0.4, 0.7),
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3),
    optimizer: Literal["adam", "sgd"] = "adam",
    seeds: tuple[int, ...] = (1, 2),
    epochs: int = 2,
    width: int = 8,
    target: float | None = None,
    out: Path = Path("plan"),
    json: bool = False,
    **options: str,
) -> None:
    """Find the number of groups that learns fastest, in virtual time.

    Gradients and staleness are real; what computes is a narrow network on the data's own images.
    The clock is charged for the model as it is meant for, with the same samples a node. The same
    command goes on where it was stopped.

    ```
    minidl plan hep --data train.h5 --nodes 64
    minidl plan hep --data train.h5 --nodes 1024 --batch-sizes 1024 --width 16 --epochs 12
    ```

    Parameters
    ----------
    data
        HDF5 files to learn.
    nodes
        That compute; where there are groups, a server for each layer comes on top.
    validation
        HDF5 files to judge the final networks on.
    jitter
        As for simulate.
    groups
        Numbers of groups, 1 among them: the synchronous run, over which others are judged.
    batch_sizes
        Of all nodes together, multiples of --nodes; an update of G groups is made of 1/G of it
        (four samples a node unless given).
    momenta
        To choose from for each number of groups; Adam's beta1.
    learning_rates
        To choose from, too.
    optimizer
        adam, or sgd with momentum.
    seeds
        Of weights, order and jitter; each combination learns once with every one.
    epochs
        Of every run.
    width
        Of the network that computes: filters of each convolution (hep), or of the first (climate).
    target
        Training loss to be reached, and not lost again by the end; unless given, the largest that
        any number of groups ends with at its best.
    out
        Folder for curves, table and picture.
    json
        Print the figures as JSON.
    options
        The model's own; climate has --preset.
    """
    from .. import parallel  # noqa: F401
    from ..simulate.plan import Plan
    from .plan_command import plan_command
    from .simulation import MOST_NODES, between, machine_for

    between("--nodes", nodes, 1, MOST_NODES)
    asked = Plan(
        model=name,
        nodes=nodes,
        machine=machine_for(machine, name, jitter, 0),
        data=data,
        validation=validation,
        groups=groups,
        batch_sizes=batch_sizes or (4 * nodes,),
        momenta=momenta,
        learning_rates=learning_rates,
        seeds=seeds,
        width=width,
        optimizer=optimizer,
        epochs=epochs,
        options=options,
    )
    plan_command(asked, target, out, json, console)
