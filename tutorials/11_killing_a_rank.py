# %% [markdown]
# # 11. Killing a rank: what each strategy loses
#
# On 9,600 nodes something always breaks. Page 7 left that out, and so did all the others: nobody
# died. On this page somebody does, in the middle of training. What is left on the disk? What do the
# others do, who has to wait, and what is lost? The strategies differ in that as much as in speed.
#
#     python tutorials/11_killing_a_rank.py
#
# The page starts `mpiexec` with three ranks; the deaths that others survive are on virtual ranks.

# %%
import json
import math
import subprocess
import time
from dataclasses import asdict, replace
from functools import partial

import h5py
import numpy as np
from matplotlib.figure import Figure
from mpi4py import MPI
from page import OUTPUT, ROOT, SMALL, events, minidl, mpiexec, show

from minidl import checkpoint, model, record
from minidl.data import Dataset
from minidl.parallel.virtual import CORI, DEAD, Death, VirtualCluster, VirtualError
from minidl.roles import Roles
from minidl.run import read_log
from minidl.stopwatch import ACTIVITIES
from minidl.summary import build, summarize
from minidl_models import hep

# %% [markdown]
# ## Where death is the end
#
# A model is a module with some functions (page 5). This one is `hep`, except that rank 1 is killed
# in its 27th pass, once, if a file says so. SIGKILL cannot be caught: it is what a computer sends
# that has run out of memory, and to the other ranks it is the same as a node that lost its power.

# %%
DYING = """
import os
import signal
from pathlib import Path

from mpi4py import MPI

from minidl_models import hep
from minidl_models.hep import *

FATE, DONE = (Path(__file__).with_name(name) for name in ("11_fate", "11_fate_done"))
passes = 0


def loss(output, target):
    global passes
    passes += 1
    if MPI.COMM_WORLD.rank == 1 and passes == 27 and FATE.exists():
        FATE.replace(DONE)
        os.utime(DONE)  # when it was
        os.kill(os.getpid(), signal.SIGKILL)
    return hep.loss(output, target)
"""
module = OUTPUT / "dying_rank_1.py"
module.write_text(DYING)
dying = ".".join(module.relative_to(ROOT).with_suffix("").parts)  # its import path
data = events("train")
WIDTH, BATCH = (4, 2) if SMALL else (8, 4)
ITERATIONS, EVERY = 40, 10


def train(name):
    """Train on three ranks, with a checkpoint every ten iterations."""
    run = OUTPUT / f"11_{name}"
    mpiexec(
        3, "minidl", "train", dying, "--strategy", "sync", "--data", data, "--width", WIDTH,
        "--batch-size", BATCH, "--iterations", ITERATIONS, "--checkpoint-every", EVERY,
        "--out", run, "--overwrite",
    )  # fmt: skip
    return run


fate = OUTPUT / "11_fate"
fate.unlink(missing_ok=True)
whole = train("whole")

# %% [markdown]
# That was the run as it should be. Now once more, with a death in it:

# %%
fate.touch()
try:
    train("killed")
except subprocess.CalledProcessError as error:
    seconds = time.time() - (OUTPUT / "11_fate_done").stat().st_mtime
    print(f"mpiexec ended with status {error.returncode}, {seconds:.1f} s after the death")
killed = OUTPUT / "11_killed"

# %% [markdown]
# Nobody hangs: `mpiexec` notices that one of its processes is gone, says so, and ends the others.
# That is all that plain MPI knows about deaths. The message is its own, and differs from one MPI to
# another.
#
# ## What is left
#
# A checkpoint is written whole or not at all: under another name, and renamed when it is complete
# and on the disk (`minidl/checkpoint.py`). So whenever the death comes, the last checkpoint is a
# good one. Of three that are kept, the other two are there in case that it is found damaged later.

# %%
for path in checkpoint.history(killed / "checkpoint.h5"):
    state = checkpoint.read(path)
    print(f"{path.name:15} {path.stat().st_size:8,} bytes, of iteration {state.iterations[0]}")
saved = checkpoint.read(killed / "checkpoint.h5").iterations[0]

with h5py.File(killed / "checkpoint.h5") as file:
    print("attributes:", *file.attrs)
    file.visititems(
        lambda name, node: (
            print(f"  {name:40} {node.shape} {node.dtype}")
            if isinstance(node, h5py.Dataset) and not name.startswith(("layers/01", "layers/02"))
            else None
        )
    )

# %% [markdown]
# (Two layers are left out.) Parameters are not enough to go on as if nothing had happened. Adam
# remembers a mean of the gradients and of their squares; the order of the data goes on from the
# iteration; layers that draw random numbers go on with their generators; and a resumed run should
# not ask for its settings again: `asked` has them.
#
# How much work is gone? The log is written line by line, and knows how far the run was:


# %%
def iterations_in(log):
    return [event for event in log if event["event"] == "iteration"]


made = iterations_in(read_log(killed))[-1]["iteration"]
print(f"iterations made: {made}, saved: {saved}, lost: {made - saved}")

# %% [markdown]
# Lost is what came after the last checkpoint. On with it; nothing else has to be said:

# %%
mpiexec(3, "minidl", "train", "--resume", killed)


# %%
def arrays(run):
    """Everything in a run's last checkpoint that is a number."""
    found = {}
    with h5py.File(run / "checkpoint.h5") as file:
        file.visititems(
            lambda name, node: (
                found.update({name: node[:]}) if isinstance(node, h5py.Dataset) else None
            )
        )
    return found


one, other = arrays(whole), arrays(killed)
differ = [name for name in one if not np.array_equal(one[name], other[name])]
print(f"arrays in the last checkpoint: {len(one)}, of which differ: {len(differ)}")
one, other = (iterations_in(read_log(run)) for run in (whole, killed))
losses = [[(step["iteration"], step["loss"]) for step in log] for log in (one, other)]
differ = [a for a, b in zip(*losses, strict=True) if a != b]
print(f"iterations in the log: {len(one)}, of which differ: {len(differ)}")

# %% [markdown]
# Not one bit tells the two runs apart. The lost iterations were made once more, with the same
# samples in the same order, by ranks that add in the same order. (That is so for one rank and for
# `sync`. Where nobody waits, no two runs are alike, killed or not; there the promise is that each
# update in the checkpoint is counted once, and `minidl replay` finds the result to the bit.)
#
# ## How often?
#
# A checkpoint costs training some seconds C, and a death costs what was done since the last one. If
# deaths come at random, once in M seconds in the mean, what is the best interval T between
# checkpoints? Let each stretch of work take T and be followed by C. A stretch is worth something if
# nobody dies in it: its chance is q = exp(-(T + C)/M). Between two deaths q + q² + q³ + ... =
# q/(1 - q) stretches are complete, in M seconds. So the useful share of the time is


# %%
def useful(interval, cost, between_deaths):
    return interval / between_deaths / np.expm1((interval + cost) / between_deaths)


# %% [markdown]
# If T and C are small against M, what is lost is about C/T + T/2M: the checkpoints, and half an
# interval for each death. That is least for
#
#     T = sqrt(2 C M)
#
# (J. W. Young, *A first order approximation to the optimum checkpoint interval*, Communications of
# the ACM, 1974). How good is the approximation?

# %%
HOUR = 3600.0


def young(cost, between_deaths):
    return math.sqrt(2 * cost * between_deaths)


for cost in (1.0, 60.0):
    intervals = np.geomspace(cost / 10, 24 * HOUR, 20_000)
    best = intervals[np.argmax(useful(intervals, cost, 4 * HOUR))]
    formula = young(cost, 4 * HOUR)
    lost = [100 * (1 - useful(t, cost, 4 * HOUR)) for t in (formula, 2 * formula, best)]
    print(
        f"C = {cost:2.0f} s, a death in 4 hours: best {best:5.0f} s, Young {formula:5.0f} s; lost "
        f"{lost[0]:.2f} % with Young's, {lost[1]:.2f} % with twice that, {lost[2]:.2f} % at best"
    )

# %% [markdown]
# Good; and the optimum is flat, so that a factor of two costs little. What was C in the run above?
# Only the time in which rank 0 does not train: it copies the state, and a thread writes the copy.

# %%
recorded = record.load(whole)
spans = recorded.spans[0]
writing = spans[spans["activity"] == ACTIVITIES.index("write")]
cost = (writing["end"] - writing["start"]).sum() / len(recorded.meetings)
step = iterations_in(read_log(whole))[-1]["seconds"] / ITERATIONS
print(f"here: {1e3 * cost:.1f} ms a checkpoint (and log), {1e3 * step:.1f} ms an iteration")

# %% [markdown]
# Now the paper's runs, on 9,600 nodes. They made an iteration in 0.106 s (HEP) and in 12.16 s
# (climate), and the climate run wrote its model every ten iterations. Two numbers are assumptions
# of this page: that training waits until the model is on the disk, at 1 GB/s; and how long a node
# lives.

# %%
rows = summarize(build(model.load("hep"), (224, 224, 3), None, np.float32), (224, 224, 3))
MODELS = {
    "HEP": (0.106, 4 * sum(row.parameters for row in rows) / 1e9),
    "climate": (12.16, 302.1 * 2**20 / 1e9),
}
YEAR = 365.25 * 24 * HOUR
for years in (1, 5, 25):
    between = years * YEAR / 9600
    print(f"a node fails once in {years} years: one of 9,600 fails every {between / HOUR:.1f} h")
    for name, (iteration, cost) in MODELS.items():
        intervals = young(cost, between), 10 * iteration
        lost = [100 * (1 - useful(interval, cost, between)) for interval in intervals]
        print(
            f"  {name:7}: C = {cost:.4f} s; best every {intervals[0] / iteration:4.0f} "
            f"iterations, {lost[0]:.2f} % lost; every ten: {lost[1]:.2f} %"
        )

# %% [markdown]
# So ten iterations are about right for climate, if nodes last five years; for HEP they are more
# often than needed, and do no harm. Less than one per cent is lost either way. Not counted is what
# it takes to start again: 9,600 processes, their data, and a place in the queue. That is worth
# minutes to hours for every death, and the reason for what follows.
#
# ## Where death is not the end
#
# What can be done instead is known as *user-level failure mitigation*, ULFM (W. Bland et al.,
# *Post-failure recovery of MPI communication capability*, 2013), and Open MPI does it if asked. It
# repairs nothing. It turns a death into an exception, and has two calls to go on from there:
#
# - who communicates with the dead gets an exception. Others do not: they know nothing, and wait
#   for each other as ever;
# - `comm.Revoke()` ends everything that is under way in a communicator, with an exception on all of
#   its ranks; so whoever knows can tell all the others, wherever they are;
# - `comm.Shrink()` is called by all who are left, and returns a communicator of them. Ranks are
#   numbered anew.
#
# The cluster of page 7 does the same. Four ranks count themselves; rank 2 dies after two
# all-reduces (a call that waits counts twice, so that one can die in it).


# %%
def count(comm):
    total, said = np.array(0.0), []
    for turn in range(1, 5):
        try:
            comm.Allreduce(np.array(1.0), total)
            said.append(f"turn {turn}: {total:.0f} ranks")
        except MPI.Exception as error:
            said.append(f"turn {turn}: {error}")
            comm.Revoke()
            comm = comm.Shrink()
    return said


results = VirtualCluster(4, deaths={2: Death(calls=4)}).run(count)
for rank, said in enumerate(results):
    print(f"rank {rank}:", "has died" if said is DEAD else "; ".join(said))

# %% [markdown]
# What is `Revoke` for? In an all-reduce all wait for the dead. Here they do not: a token goes
# around a ring, and rank 2 is dead from the start.


# %%
def relay(revoke, comm):
    token = np.zeros(1)
    left, right = (comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size
    try:
        if comm.rank == 0:
            comm.Send(token, right)
        comm.Recv(token, left)
        if comm.rank > 0:
            comm.Send(token, right)
    except MPI.Exception as error:
        if revoke:
            comm.Revoke()
        return str(error)


for revoke in (False, True):
    try:
        said = VirtualCluster(4, deaths={2: Death(calls=0)}).run(partial(relay, revoke))
        print("with Revoke:   ", *(f"{text};" for text in said if text is not DEAD))
    except VirtualError as error:
        print("without Revoke:", error)

# %% [markdown]
# Rank 0 waits for rank 3, which lives, has had its exception, and will never send.
#
# All of training's calls are inside one `try`, and what happens then is in `minidl/recovery.py`:
# revoke, shrink, deal the roles anew, bring together what those who are left have
# (`minidl/salvage.py`), and go on as after `--resume`, but in the same processes and without the
# disk. Who has to be in that `try`, and when, is where the strategies differ.
#
# ## Five deaths
#
# `minidl train --virtual-ranks` can kill: `--death 3@0.52` lets rank 3 die after 0.52 virtual
# seconds. Four workers, on nodes that take 0.1 s for an iteration, so that it dies in the forward
# pass of the sixth; messages take microseconds.

# %%
shape = hep.shape(Dataset([data], hep.FIELDS))
rows = summarize(build(model.load("hep"), shape, WIDTH, np.float32), shape)
operations = BATCH * sum(row.training for row in rows)
machine = OUTPUT / "11_nodes.json"
machine.write_text(
    json.dumps(asdict(replace(CORI, name="0.1 s an iteration", flops=operations / 0.1)))
)
LENGTH, MEETING = (16, 8) if SMALL else (40, 20)  # iterations; all meet for a checkpoint
DEATH = 0.52
LAYOUTS = {
    "sync": ["--virtual-ranks", 4],
    "hybrid": ["--virtual-ranks", 5, "--groups", 2, "--servers", 1],
    "async": ["--virtual-ranks", 6, "--servers", 2],
}
DEATHS = {  # strategy, who dies, what that is
    "sync": ("sync", 1, "a worker"),
    "member": ("hybrid", 3, "a member"),
    "root": ("hybrid", 2, "a root"),
    "worker": ("async", 3, "a worker"),
    "server": ("async", 5, "a server"),
}
survived = {name: OUTPUT / f"11_{name}" for name in DEATHS}
for name, (strategy, dead, _) in DEATHS.items():
    minidl(
        "train", "hep", "--strategy", strategy, *LAYOUTS[strategy], "--death", f"{dead}@{DEATH}",
        "--machine", machine, "--data", data, "--width", WIDTH, "--batch-size", BATCH,
        "--iterations", LENGTH, "--checkpoint-every", MEETING, "--out", survived[name],
        "--overwrite",
    )  # fmt: skip

# %% [markdown]
# In the middle each run says whom it lost. The log says the rest: when each group made its
# iterations, and where the run began anew, with which roles.


# %%
def ends(events):
    """When iterations ended, in virtual seconds: an array for each group."""
    steps = iterations_in(events)
    groups = sorted({step["group"] for step in steps})
    return {g: np.array([s["seconds"] for s in steps if s["group"] == g]) for g in groups}


def in_two(run):
    """What happened until a run began anew, and from then on."""
    log = read_log(run)
    anew = [event["event"] for event in log].index("resume")
    return log[:anew], log[anew:]


def pauses(run):
    """How much more than an iteration's time the death cost each group that is left."""
    before, after = map(ends, in_two(run))
    costs = {}
    for group in after:
        times = np.concatenate([before[group], after[group]])
        costs[group] = times[times > DEATH][0] - times[times < DEATH][-1] - 0.1
    return costs


ranks_of = {}
print(
    "strategy loses     each group waits, in s    rank-seconds   groups of the ranks (-1: a server)"
)
for name, (strategy, _, what) in DEATHS.items():
    (started, *_), (resumed, *_) = in_two(survived[name])
    cost = pauses(survived[name])
    ranks_of[name] = started["groups"], resumed["groups"]
    waited = "  ".join(f"{seconds:.2f}" for seconds in cost.values())
    lost = sum(resumed["groups"].count(group) * seconds for group, seconds in cost.items())
    print(
        f"{strategy:8} {what:9} {waited:25} {lost:12.2f}   "
        f"{started['groups']} -> {resumed['groups']}"
    )

# %%
figure = Figure(figsize=(8, 6), layout="constrained")
panels = figure.subplots(
    len(DEATHS), 1, sharex=True,
    height_ratios=[max(started) + 2 for started, _ in ranks_of.values()],
)  # fmt: skip
for panel, (name, (strategy, dead, what)) in zip(panels, DEATHS.items(), strict=True):
    started, _ = ranks_of[name]
    before, after = in_two(survived[name])
    for part, colour in ((before, "#0072B2"), (after, "#009E73")):
        for group, times in ends(part).items():
            panel.plot(times, np.full(len(times), group), "o", color=colour, markersize=4)
    for group, seconds in pauses(survived[name]).items():
        if seconds > 0.01:
            last = ends(before)[group]
            last = last[last < DEATH][-1]
            panel.plot([last, last + 0.1 + seconds], [group, group], color="#D55E00", linewidth=2)
    panel.axvline(DEATH, color="#D55E00", linestyle=":")
    place = started[dead]
    panel.plot(DEATH, place, "x", color="#D55E00", markersize=9, markeredgewidth=2.5)
    lanes = [*range(min(0, place), max(started) + 1)]
    panel.set_yticks(lanes, ["a server" if lane < 0 else f"group {lane}" for lane in lanes])
    panel.set_ylim(lanes[-1] + 0.6, lanes[0] - 0.6)
    panel.set_title(f"{strategy} loses {what}", fontsize=10, loc="left")
    panel.spines[["top", "right"]].set_visible(False)
panels[-1].set_xlabel("virtual seconds; a dot is the end of an iteration")
panels[-1].set_xlim(0, 2 * MEETING * 0.1)
show(figure, "11_deaths")

# %% [markdown]
# A cross is the death. Orange is an iteration that took longer, since it was broken off and another
# one made. Where dots turn green, roles have been dealt anew. (With other numbers of workers an
# epoch has other numbers of iterations, which is why not all end at the same place.)
#
# **Sync.** Everyone waits for everyone, so everyone hears of it, as soon as backward announces the
# first layer: an exception comes to who calls MPI, not to who computes. What all had computed of
# the sixth iteration is in vain, and of the one before at most the update of layers whose sums were
# still under way. They take the newest copy of each layer, deal the samples anew, and go on. It is
# the shortest story, and the widest, with 9,594 workers.
#
# **Hybrid, a member of a group.** Only its group hears. In the middle of a sum nobody in it knows
# what the others have, and they do not try to find out: their communicator is revoked, the root
# tells the servers that no gradient follows, and those who are left wait until all meet, here for
# the checkpoint after the eighth iteration (with --small; else the twentieth). The other group does
# not notice; it makes its iterations until then, and all its updates count. So `--checkpoint-every`
# also says how long a group may have to wait: half of that in the mean. When all have met, roles
# are dealt anew, and here one group has a rank more than the other. Both start from one place in
# the data, that of the slower one, so that some samples are seen once more.
#
# **Hybrid, a root.** The same, except that nobody is left who could tell the servers. They find out
# themselves: whoever waits for a message from anybody is told of a death, too
# (`minidl/parallel/server.py`). The new root is whoever comes first when roles have been dealt.
#
# **Async, a worker.** It is a group by itself. Nobody waits for it, and nobody ever will; that is
# the strategy. Only the gradient is lost that it was computing, and until the next meeting its
# share of the samples.
#
# **Async, a server.** Every worker needs every layer, so all wait, as with sync. But this death
# costs more than a wait: some layers were there and nowhere else.
#
# ## What a server takes with it
#
# Or almost nowhere. Each worker has a copy of them: that of the last answer that it got. The
# freshest becomes the layer. What the optimiser remembered, Adam's two means, is on no other rank,
# and starts from zero; so does the list of updates that is kept for the record. The checkpoint that
# the survivors made first is still there:

# %%
state = checkpoint.read(checkpoint.history(survived["server"] / "checkpoint.h5")[-1])
roles = Roles(6, groups=4, servers=2)
holders = roles.holders([layer.parameters.size for layer in state.layers.values()])
recorded = record.load(survived["server"])
print(f"after {state.iterations} iterations of the four workers")
for number, (name, layer) in enumerate(state.layers.items()):
    memory = max(float(np.abs(part).max()) for part in layer.optimizer.values())
    listed = np.sum(recorded.updates["layer"] == number)
    print(
        f"{name:9} of rank {holders[number]}: {layer.updates} updates; Adam remembers up to "
        f"{memory:7.1e}; updates in the record of the whole run: {listed}"
    )

# %% [markdown]
# Rank 5 is the one that died. The layers of rank 4 have lost nothing. Of the others no update is
# lost that a worker had been told of. But for its next steps Adam knows a single gradient, then
# two, as at the start of training; and the list of updates has a gap. (`minidl replay` refuses all
# runs that have outlived a death.)
#
# Why is that memory not kept twice? It could be, by a second server for each layer that receives
# all that the first does. It would double the servers' messages, in every iteration, for a death in
# many hours; and the last checkpoint has that memory, ten iterations old. What is rare may be
# expensive.
#
# ## For real
#
# With Open MPI, deaths are survived if it is asked to tolerate them:
#
#     mpiexec --with-ft ulfm -n 6 minidl train hep --strategy hybrid --groups 2 --servers 2 ...
#
# Nothing else changes; kill any rank with `kill -9`, rank 0 too, and read the log. (Without
# `--with-ft ulfm`, and with MPICH, all ranks end as above.) The virtual cluster hears of a death at
# once. On a real one it takes time until a silent node is believed to be dead, and everything else
# on this page begins after that; and an MPI that can tell has more to do at every message.
#
# What still ends a run, or worse:
#
# - `mpiexec` itself, and the node that it runs on; the file system; the batch scheduler, which may
#   end a job that has lost a node. Then there is `--resume`.
# - Too few who are left: training takes a worker, and but for sync a server.
# - A death while a run gets ready: there is nothing to save.
# - A rank that lives and does nothing. No MPI can tell it from a slow one. A watchdog can, after
#   some minutes (`--watchdog`), and ends the run.
# - A rank that lives and computes wrong. Ranks of a synchronous run compare their networks at every
#   checkpoint (`minidl/health.py`); what a worker sends to a server, nobody compares with anything.
#
# ## Exercises
#
# 1. `--death` may be given several times. Let the workers of the hybrid run die one after the
#    other, between two checkpoints or after one. When does it end? Who becomes what? Guess first.
# 2. Let the root die right after a checkpoint, and right before one. How long does its group wait?
# 3. A group of the paper's run had 1,066 workers, one of which was its root. If any of 9,600 nodes
#    is as likely to die as any other, how often is it a root or a server, and what does a death
#    cost in the mean, in rank-seconds, with checkpoints every ten iterations? Compare with sync.
# 4. A group that has lost a member could go on at once, with one rank less. What would its members
#    have to know of each other, and of the answers that are under way from the servers? What if it
#    is the root that died?
# 5. `useful` leaves out the time R that a new start takes. Put it in. Does the best interval
#    change?
#
# ## What to read next
#
# `minidl/parallel/failure.py` and `minidl/recovery.py`; `minidl/salvage.py` beside
# `minidl/snapshot.py`; `minidl/checkpoint.py`. Then `tests/test_survival.py`, which kills real
# ranks, and `tests/parallel/test_virtual_deaths.py`, which kills virtual ones, also in every order
# of messages.
