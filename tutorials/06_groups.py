# %% [markdown]
# # 6. Groups: the hybrid
#
# Page 4 let everyone wait for everyone. Page 5 let nobody wait, and paid with stale gradients. This
# page puts a knob between the two: ranks are dealt to *groups*, which are synchronous inside and
# asynchronous among each other. At the end the three strategies are read side by side.
#
#     python tutorials/06_groups.py
#
# The page starts `mpiexec` itself, with five ranks; two cores are enough.

# %%
import inspect
from collections import Counter

import numpy as np
import side_by_side
from matplotlib.figure import Figure
from outline import in_common, similarity
from page import OUTPUT, ROOT, SMALL, events, minidl, mpiexec, show

from minidl import checkpoint, record
from minidl.data import Dataset
from minidl.errors import UserError
from minidl.parallel import hybrid
from minidl.roles import Roles
from minidl.run import read_log
from minidl_models import hep

# %% [markdown]
# ## Why groups
#
# A synchronous step is as slow as its slowest rank, and the more ranks there are, the likelier it
# is that one of them is slow. Its batch is that of all ranks together: with thousands of them it is
# so large that an epoch has few updates left.
#
# An asynchronous worker waits for no other worker, and its updates are made of a small batch. But
# while it computes, the others make updates, about one each: with P workers its gradient is P - 1
# updates stale, and with thousands of them it belongs to a network of long ago.
#
# Both troubles grow with the number of those who take part, one with the ranks that wait for each
# other, one with the parties that do not. So cut P workers into G groups of P/G (*Deep Learning at
# 15PF*, section III). Only P/G ranks wait for each other; only G parties make updates. What G is
# best depends on the machine and the network, and is found by trying.
#
# ## Who is who
#
# `Roles` deals the ranks. Workers come first, group by group; the parameter servers are the last
# ranks. The first rank of a group is its *root*, which speaks for the group. Eight ranks, two of
# them servers:

# %%
for groups in (1, 2, 3, 6, 4):
    try:
        roles = Roles(8, groups, servers=2)
        roles.check(sizes=[1] * 6)  # a network of six layers, as a run would
    except UserError as error:
        print(f"G = {groups}: {error}")
        continue
    members = "  ".join(str(list(roles.members(group))) for group in range(groups))
    servers = list(range(roles.workers, roles.ranks))
    print(f"G = {groups}: {members}, servers {servers}")

# %% [markdown]
# One group is synchronous training, with servers that make the update. Six groups of one are page
# 5. In between is what is new. Groups are equal in size, so that no update counts for more than
# another.
#
# ## In a group all are alike
#
# The next program is all that it takes to use a strategy, without data and without the `minidl`
# command: four workers in two groups, one server, five steps. Every rank builds the same objects;
# its role decides whether it steps or serves.

# %%
PROGRAM = """
from functools import partial

import numpy as np
from mpi4py import MPI

from minidl.layers import Linear, ReLU, Sequential
from minidl.losses import softmax_cross_entropy
from minidl.objective import Objective
from minidl.optim import SGD
from minidl.parallel.hybrid import Strategy
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch
from minidl.threads import use_threads

use_threads(1)
comm = MPI.COMM_WORLD
roles = Roles(comm.size, groups=2, servers=1)
own = np.random.default_rng(comm.rank)  # every rank has other weights and other samples
network = Sequential(Linear(6, 5, generator=own), ReLU(), Linear(5, 3, generator=own))
objective = Objective(network, softmax_cross_entropy)
strategy = Strategy(comm, roles, objective, partial(SGD, learning_rate=0.1), Stopwatch())


def parameters():
    return np.concatenate([layer.parameters for layer in strategy.layers])


strategy.start()
started = stepped = parameters()
if roles.group(comm.rank) < 0:
    strategy.serve()
else:
    for _ in range(5):
        x = own.standard_normal((4, 6), dtype=np.float32)
        strategy.step([(x, own.integers(0, 3, 4))])
    strategy.gather()
    stepped = parameters()
    strategy.stop()
strategy.finish()
stopped = parameters()

for when, vector in (("start", started), ("five steps", stepped), ("finish", stopped)):
    rows = np.empty((comm.size, vector.size), np.float32)  # one a rank
    comm.Gather(vector, rows, root=0)
    if comm.rank == 0:
        inside = max(np.abs(rows[0] - rows[1]).max(), np.abs(rows[2] - rows[3]).max())
        between = np.abs(rows[0] - rows[2]).max()
        print(f"after {when:10}: inside a group {inside:.0e}, between the groups {between:.0e}")
"""
program = OUTPUT / "06_two_groups.py"
program.write_text(PROGRAM)
mpiexec(5, "python", program)

# %% [markdown]
# Largest differences. Inside a group there are none, not even in the last bit: its root gives the
# server's answer to the others as it came. Between groups there always are some: every answer is a
# new version of a layer, and goes to one group only. At the end everyone takes what the servers
# hold, and what is evaluated and saved is one network.
#
# ## One group is sync
#
# Now `minidl train`, on the events of page 3, with four workers: synchronous, and hybrid with one,
# two and four groups and one server. A worker's share of an epoch is the same in all four runs, and
# so are the initial weights.

# %%
data = events("train")
WIDTH, BATCH, ITERATIONS = (4, 3, 10) if SMALL else (16, 8, 60)
HOW = ["--data", data, "--width", WIDTH, "--batch-size", BATCH, "--iterations", ITERATIONS,
       "--optimizer", "sgd", "--learning-rate", 0.01, "--momentum", "auto"]  # fmt: skip


def train(name, ranks, *strategy):
    run = OUTPUT / f"06_{name}"
    mpiexec(ranks, "minidl", "train", "hep", *strategy, *HOW, "--out", run, "--overwrite")
    return run


sync_run = train("sync", 4, "--strategy", "sync")
runs = {
    groups: train(f"{groups}_groups", 5, "--strategy", "hybrid", "--groups", groups)
    for groups in (1, 2, 4)
}

# %% [markdown]
# With one group there is no other whose update could come in between. The server applies the mean
# gradient of all workers, as `sync.py` does on every rank:


# %%
def network():
    """As every run has it at its start: minidl train draws the weights from --seed 1."""
    shape = hep.shape(Dataset([data], hep.FIELDS))
    return hep.network(shape, np.random.default_rng(1), width=WIDTH)


def parameters_of(network):
    return np.concatenate([layer.parameters for layer in network.layers()])


def trained(run):
    result = network()
    checkpoint.load(run / "checkpoint.h5", result)
    return parameters_of(result)


initial = parameters_of(network())
synchronous, one_group = trained(sync_run), trained(runs[1])
print(f"training moved a parameter by up to   {np.abs(synchronous - initial).max():.1e}")
print(f"one group and sync differ by at most  {np.abs(one_group - synchronous).max():.1e}")

# %% [markdown]
# Nothing, or rounding: a reduce and an all-reduce may add the same numbers in different orders.
#
# ## What the number of groups costs and gives
#
# The servers count, layer by layer, how many updates others made between the version that a
# gradient was computed on and its own update: its staleness. The log keeps the counts.


# %%
def staleness_of(run):
    """How many updates were how stale, over all layers."""
    counts = Counter()
    for event in read_log(run):
        if event["event"] == "staleness":
            counts.update({int(stale): count for stale, count in event["updates"].items()})
    return counts


stale = {groups: staleness_of(run) for groups, run in runs.items()}
layers = len(network().layers())
for groups, counts in stale.items():
    updates = sum(counts.values())
    mean = sum(staleness * count for staleness, count in counts.items()) / updates
    print(
        f"G = {groups}: {4 * BATCH // groups:3} events an update, {updates // layers:4} updates, "
        f"staleness {mean:.2f} in the mean, at most {max(counts)}"
    )

# %%
figure = Figure(figsize=(7, 2.8), layout="constrained")
most = max(max(counts) for counts in stale.values())
for panel, (groups, counts) in zip(
    figure.subplots(1, len(stale), sharex=True, sharey=True), stale.items(), strict=True
):
    share = [100 * counts[staleness] / sum(counts.values()) for staleness in range(most + 1)]
    panel.bar(range(most + 1), share, color="#0072B2")
    panel.axvline(groups - 1, color="#D55E00", linestyle=":", label="G - 1")
    panel.set(title=f"G = {groups}", xlabel="staleness")
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.set_ylabel("% of the updates" if groups == 1 else "")
panel.legend(frameon=False)
show(figure, "06_staleness")

# %% [markdown]
# About G - 1, and there is a reason for it. Between two updates of one group, each update of
# another group is counted once. So the stalenesses of a group's gradients add up to the updates
# that others made before its last one. If all G groups make N updates each, that is at most
# (G - 1) N, and the mean at most G - 1, however fast or slow anybody is; it is a little less, since
# some group is the first to finish. A single gradient can be staler: that of a slow group.
#
# So this is the knob. More groups give
#
# - more updates from the same events, each of a smaller batch;
# - fewer ranks that wait for each other: a rank that is late holds up its own group only;
#
# and cost
#
# - staleness, G - 1 in the mean;
# - momentum: stale updates act as if there were 1 - 1/G of it already (I. Mitliagkas et al.,
#   *Asynchrony begets Momentum*, 2016). This is why the runs above have `--momentum auto`, which
#   asks for the rest only. The paper tried several momenta for each number of groups;
# - work for the servers: G messages for each layer and iteration, and as many updates.
#
# What the best G is on your machine, no page can say. How much there is to win, `minidl waits` can:
# it names who waited for whom.

# %%
minidl("waits", runs[2])

# %% [markdown]
# (On two cores for five ranks, most of this is waiting for the operating system.)
#
# ## The three files side by side
#
# The strategies are written to be compared. Their methods have the same names and the same order;
# `side_by_side.py` lays the files next to each other, on a page to be opened in a browser:

# %%
comparison = OUTPUT / "06_side_by_side.html"
sources = side_by_side.write(comparison)
print(f"page: {comparison.relative_to(ROOT)}")
sync, async_ps, hybrid_file = sources
for first, second in ((sync, async_ps), (sync, hybrid_file), (async_ps, hybrid_file)):
    shared, one, other = in_common(first, second)
    print(
        f"{first.name:11} and {second.name:11}: similarity {similarity(first, second):.2f}; "
        f"{shared} of {one} and of {other} lines of code in common"
    )

# %% [markdown]
# About two lines in three of `sync.py`, or more, return in the other files: the objects that a
# strategy is made of, the step, the places where communication goes. What the others have more is,
# in the first place, servers: `serve` and `finish`, which are the same in both, as is what a
# server does, in `minidl/parallel/server.py`. To a server, a group is somebody who sends gradients
# and wants parameters; how many ranks stand behind it does not matter.
#
# For a worker, most of the difference is in two places: what happens when backward announces a
# layer, and what happens when forward needs it again. This is how `hybrid.py` does both:

# %%
methods = list(hybrid_file.parts)
for name in methods[methods.index("_parameters_needed") : methods.index("gather")]:
    print(inspect.getsource(getattr(hybrid.Strategy, name)))

# %% [markdown]
# ### Where is each group's all-reduce?
#
# A reader of the paper's public code looked for it, and found `Isend` and `Irecv` only. In
# `hybrid.py` you will not find it either: no gradient is all-reduced. An all-reduce does what a
# reduce and a broadcast do one after the other: it brings the sum to one rank, and from there to
# all. In a group only the root sends the sum on, and the others have no use for it; what they need
# is the new parameters. So the two halves come apart, and the server stands between them:
#
# - `Ireduce`, when backward announces the layer: the sum, to the root;
# - one message to the server, and one back;
# - a broadcast, when the next forward needs the layer: the parameters, from the root.
#
# In `sync.py` there is one `Iallreduce`, and every rank makes the update after it. (The
# `Iallreduce` in the step of `hybrid.py` sums two numbers: the loss, which `step` returns on every
# rank, and the number of samples, by which the root divides.)
#
# ### Why does a worker hold layers of different versions?
#
# This was asked about another system with parameter servers, and it is no mistake. Every layer is
# updated where it lives, and counts its own updates. A layer's gradient leaves as soon as it is
# ready, and the answer is the version that this gradient made, whatever the versions of the other
# layers are by then. While one group's gradients arrive, last layer first, those of another group
# come in between: before it for some layers, after it for others. The record of a run has every
# update with the version that its gradient was computed on. Some forward passes of the run with
# four groups, layers in forward order:

# %%
updates = record.load(runs[4]).updates
mixed = passes = 0
for group in range(4):
    of_group = updates[updates["group"] == group]
    versions = np.array([of_group["read"][of_group["layer"] == layer] for layer in range(layers)]).T
    for iteration in (1, 2, 3) if group < 2 else ():
        print(f"group {group}, iteration {iteration + 1}: versions {versions[iteration]}")
    mixed += np.sum(versions.min(axis=1) < versions.max(axis=1))
    passes += len(versions)
print(f"forward passes with layers of different versions: {mixed} of {passes}")

# %% [markdown]
# To rule it out, all servers would have to agree on one order of the groups, and no layer could be
# updated before all gradients of a group are there: somebody would wait again. So it is allowed,
# and the staleness above is that of each layer by itself.
#
# ## Exercises
#
# 1. Let group 1 be slow: in `PROGRAM`, sleep for 0.1 s before each of its steps. What is the mean
#    staleness of each group's gradients now, by the sum above, if both make 50 steps? Measure it:
#    each entry of `strategy.served[number].updates` on the server is (layer, group, read, made).
# 2. Train four groups with `--momentum 0.9` and with `--momentum auto`, for 10 epochs, and lay the
#    losses over each other with `minidl plot`. Then with `--scale-by-staleness`.
# 3. Replace the reduce in `hybrid.py` by an all-reduce and let every rank of a group send to the
#    server a part of each layer's sum. What is gained if layers are large? What does `serve` have
#    to know then that it does not know now?
#
# ## What to read next
#
# `minidl/parallel/hybrid.py` as a whole, with the picture at its top; `minidl/parallel/server.py`
# and `minidl/parallel/served.py`, what a server does and the rules that it follows;
# `minidl/parallel/parcel.py`, what travels; and `minidl/roles.py`.
# `tests/parallel/test_strategies.py` checks on many layouts that every gradient makes one update,
# and `tests/parallel/test_outline.py` that the three files keep their outline.
