# %% [markdown]
# # 7. A cluster that does not exist: your first 1,000 ranks
#
# Page 6 ended with a question that no page can answer on two cores: which number of groups is best
# where there are a thousand nodes. This page changes one thing: the communicator. The strategies
# stay as they are, to the letter; what they talk through is a cluster that does not exist, with as
# many ranks as you like, in one process and with a clock of its own.
#
#     python tutorials/07_a_cluster_that_does_not_exist.py
#
# There is no `mpiexec` in it. One core is enough.

# %%
import inspect
import json
import math
import time
from dataclasses import asdict, replace
from functools import partial
from statistics import NormalDist

import numpy as np
from matplotlib.figure import Figure
from page import OUTPUT, ROOT, SMALL, events, minidl, show

from minidl import model, record
from minidl.layers import Linear, Sequential, Tanh
from minidl.losses import softmax_cross_entropy
from minidl.objective import Objective
from minidl.optim import Adam
from minidl.parallel import hybrid, sync
from minidl.parallel.served import UPDATE
from minidl.parallel.virtual import CORI, Machine, Stragglers, VirtualCluster, cohorts_of, ghost
from minidl.roles import Roles
from minidl.runs.plot import read_curve
from minidl.runs.trace import draw_timeline
from minidl.stopwatch import Stopwatch
from minidl.summary import build, summarize

# %% [markdown]
# ## Ranks without processes
#
# A strategy knows the other ranks only through the object `comm` that it was given. So give it
# another one. In `minidl/parallel/virtual/` a rank is a *greenlet*: a function that can be left in
# the middle and gone on with later. All of them live in one process and run one at a time. A rank
# is left only inside a call of its communicator, when it has to wait; then the rank goes on whose
# time comes first.
#
# Time is a number that each rank keeps: its *virtual clock*. Two things move it: `comm.compute(s)`,
# and waiting for a message or for the other ranks of a collective call. How long messages take, a
# `Machine` says. Between two ranks it is
#
#     latency + size / bandwidth
#
# A first program: a token of 1 MB goes once around a ring of four ranks. Everyone but rank 0 works
# on it for 2 ms. The network has a latency of 1 ms, and a bandwidth of 100 MB/s.


# %%
def ring(comm):
    token = np.zeros(125_000)  # 8 bytes each
    left, right = (comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size
    if comm.rank == 0:
        comm.Send(token, right)
    comm.Recv(token, left)
    received = comm.clock()
    if comm.rank > 0:
        token += comm.rank
        comm.compute(0.002)
        comm.Send(token, right)
    return received, token[0]


slow_network = Machine("a slow network", latency=1e-3, bandwidth=100e6)
results = VirtualCluster(4, slow_network).run(ring)
hop = 1e-3 + 1e6 / 100e6
for rank, (received, contents) in enumerate(results):
    before = (rank or 4) - 1  # ranks that have worked on it by then
    by_hand = (before + 1) * hop + before * 0.002
    print(
        f"rank {rank} receives the token at {1e3 * received:.3f} ms, by hand {1e3 * by_hand:.3f} "
        f"ms, contents {contents:.0f}"
    )

# %% [markdown]
# One hop takes 1 ms + 1 MB / (100 MB/s) = 11 ms. The contents are real, 1 + 2 + 3 in the end: what
# is sent arrives. How long Python worked on it does not matter; the clock has not seen it.
#
# ## Real arithmetic
#
# Now `sync.Strategy` of page 4, as it is, with a small network, Adam, and four ranks with 4 of 16
# samples each. They must end where one rank with all 16 ends.

# %%
STEPS = 50
samples = np.random.default_rng(7)
X, LABELS = samples.standard_normal((STEPS, 16, 6)), samples.integers(0, 3, (STEPS, 16))


def learn(comm):
    weights = np.random.default_rng([1, comm.rank])  # every rank draws others; start makes one
    first = Linear(6, 8, generator=weights, dtype=np.float64)
    last = Linear(8, 3, generator=weights, dtype=np.float64)
    objective = Objective(Sequential(first, Tanh(), last), softmax_cross_entropy)
    roles = Roles(comm.size, groups=1, servers=0)
    strategy = sync.Strategy(comm, roles, objective, Adam, Stopwatch(comm.clock))
    strategy.start()
    began = np.concatenate([layer.parameters for layer in strategy.layers])
    own = slice(comm.rank, None, comm.size)
    for x, labels in zip(X, LABELS, strict=True):
        strategy.step([(x[own], labels[own])])
    strategy.stop()
    return began, np.concatenate([layer.parameters for layer in strategy.layers])


four, again = VirtualCluster(4).run(learn), VirtualCluster(4).run(learn)
((began, alone),) = VirtualCluster(1).run(learn)
print(f"training moved a parameter by up to {np.abs(alone - began).max():.1e}")
print(f"four ranks against one: largest difference {np.abs(four[0][1] - alone).max():.0e}")
print(f"four ranks among each other: {max(np.ptp([end for _, end in four], axis=0)):.0e}")
identical = all(np.array_equal(a, b) for a, b in zip(four, again, strict=True))
print(f"the same run once more: identical to the last bit: {identical}")

# %% [markdown]
# Rounding, and none among the ranks. (This arithmetic took no virtual time: nobody called
# `comm.compute`.) On a real machine the last bit of an asynchronous run depends on who happened to
# be first. Here nothing happens by chance: all ranks run in one thread, and who is first is
# computed. The same seeds give the same run, of any strategy, also of those in which nobody waits.
#
# ## Ghosts
#
# A thousand copies of the paper's HEP network would be too much for one computer, in memory and in
# arithmetic. If the question is *when*, neither is needed. `ghost.py` has arrays with a size and
# without contents, layers made of them, an objective that only takes time, and an optimiser that
# only takes time. To a strategy they look like the real ones. This is how a ghost computes:

# %%
print(inspect.getsource(ghost.GhostObjective.forward))
print(inspect.getsource(ghost.GhostObjective.backward))

# %% [markdown]
# The seconds of each layer come from what `minidl info` counts: its operations, divided by those
# that a node makes in a second. `CORI` describes a node of the paper's machine by the rate that the
# paper measured for this network with 8 images a node, and the network of that machine by what
# NERSC states.

# %%
BATCH, SHAPE = 8, (224, 224, 3)
rows = summarize(build(model.load("hep"), SHAPE, None, np.float32), SHAPE)
rows = [row for row in rows if row.parameters]
forward = [BATCH * row.forward / CORI.flops for row in rows]
backward = [BATCH * (row.training - row.forward) / CORI.flops for row in rows]
print(f"{CORI.name}: {CORI.flops / 1e12} TFLOP/s, latency {1e6 * CORI.latency} µs, "
      f"bandwidth {CORI.bandwidth / 1e9} GB/s")  # fmt: skip
for row, first, second in zip(rows, forward, backward, strict=True):
    message = 1e6 * CORI.message_time(row.message)
    print(
        f"{row.name:6}: forward {1e3 * first:6.3f} ms, backward {1e3 * second:6.3f} ms, "
        f"gradient {row.message:7,} bytes in {message:4.1f} µs"
    )

# %% [markdown]
# Now a rank: a strategy, made of ghosts. It returns when each of its steps ended, and on a server
# the updates that were made there. (`comm.ranks` is the rank's own number, until the last section.)

# %%
NETWORK = ghost.GhostNetwork([ghost.GhostLayer(row.name, row.parameters) for row in rows])
MEMORY = 10e9  # bytes of parameters that a node updates in a second: an assumption
ALIKE = Stragglers()


def train(strategy, roles, iterations, stragglers, comm):
    strategy = strategy(
        comm,
        roles,
        ghost.GhostObjective(comm.compute, NETWORK, forward, backward, stragglers.of(comm.ranks)),
        lambda parameters: ghost.GhostOptimizer(
            parameters, comm.compute, parameters.nbytes / MEMORY
        ),
        ghost.NoStopwatch(),
    )
    strategy.start()
    ends, updates = [comm.clock()], []
    if roles.group(comm.rank) < 0:
        strategy.serve()
        updates = [update for layer in strategy.served.values() for update in layer.updates]
    else:
        for _ in range(iterations):
            strategy.step(BATCH)
            ends.append(comm.clock())
        strategy.stop()
    if roles.servers:
        strategy.finish()
    return ends, updates


def simulate(workers, iterations, stragglers=ALIKE, groups=1, servers=0, machine=CORI):
    """Return when the workers' steps ended, as (workers, iterations + 1), and all updates."""
    roles = Roles(workers + servers, groups, servers)
    strategy = hybrid.Strategy if servers else sync.Strategy
    program = partial(train, strategy, roles, iterations, stragglers)
    results = VirtualCluster(roles.ranks, machine).run(program)
    updates = [update for _, updates in results for update in updates]
    return np.array([ends for ends, _ in results[:workers]]), np.array(updates, UPDATE)


ends, _ = simulate(workers=1, iterations=5)
step = np.diff(ends[0])[-1]  # the first one makes no update
counted = BATCH * sum(row.training for row in rows)
left_out = BATCH * rows[0].forward
print(f"one rank alone: {1e3 * step:.2f} ms a step")
print(f"minidl counts {counted / 1e9:.1f} GFLOP for {BATCH} images: "
      f"{1e3 * counted / CORI.flops:.2f} ms; the rest are updates")  # fmt: skip
print(f"with the gradient by conv1's input: {(counted + left_out) / 1e9:.1f} GFLOP, "
      f"{1e3 * (counted + left_out) / CORI.flops:.1f} ms")  # fmt: skip

# %% [markdown]
# The paper's node takes 66 ms: 126 GFLOP for 8 images, at 1.90 TFLOP/s. `minidl` counts 2 % less,
# since it does not compute the gradient by the input of the first layer: nobody needs it. That
# these times agree says that the operations are counted as in the paper; the rate was put in.
#
# ## Your first 1,000 ranks
#
# If all nodes are alike, the number of ranks hardly matters:

# %%
RANKS = [1, 4, 16, 64, 256, 1024] if SMALL else [2**power for power in range(11)]


def step_times(ranks, iterations, stragglers):
    """From when the last rank ends its step to when the last rank ends the next one."""
    ends, _ = simulate(ranks, iterations, stragglers)
    return np.diff(ends.max(axis=0))


for ranks in (1, 4, 1024):
    print(f"{ranks:5} equal ranks: {1e3 * step_times(ranks, 3, ALIKE)[-1]:.2f} ms a step")

# %% [markdown]
# A thousand ranks cost microseconds more: the sums travel while backward computes the layers below,
# and only conv1's, the last and a small one, has nothing to hide behind.
#
# Nodes are not alike. Operating systems interrupt, memory is laid out differently, processors slow
# down when they get hot. `Stragglers(jitter=sigma)` multiplies the time of each iteration of each
# rank by exp(sigma * z), z normal and drawn anew. With sigma = 0.1, one iteration in six takes more
# than 10 % longer. (This distribution, and every sigma on this page, is an assumption of this page,
# not a figure of the paper.)
#
# Everyone waits for the slowest. Its z is the largest of as many as there are ranks. That is below
# a number x if all of them are: with probability F(x)^P, F the normal distribution. So the median
# of the largest, z_max, is where F(z_max) = 0.5^(1/P), and half of all steps take less than
# exp(sigma * z_max) times as long.

# %%
JITTERS = (0.05, 0.1, 0.2)
ITERATIONS = 4 if SMALL else 20


def slowdown(ranks, jitter):
    """Half of all steps take less than this many times as long as without jitter."""
    return math.exp(jitter * NormalDist().inv_cdf(0.5 ** (1 / ranks)))


medians = {}
for jitter in JITTERS:
    for ranks in RANKS:
        # Few ranks are quickly done.
        iterations = max(ITERATIONS, min(100, 100 * ITERATIONS // ranks))
        times = step_times(ranks, iterations, Stragglers(jitter))
        medians[jitter, ranks] = np.median(times[1:])
print("median of a step, in ms: simulated, and by the formula")
print("ranks ", *(f"     jitter {jitter:4}" for jitter in JITTERS))
for ranks in RANKS:
    cells = [
        f"{1e3 * medians[jitter, ranks]:8.1f} {1e3 * step * slowdown(ranks, jitter):7.1f}"
        for jitter in JITTERS
    ]
    print(f"{ranks:5} ", *cells)

# %%
figure = Figure(figsize=(6.5, 3.4), layout="constrained")
panel = figure.subplots()
for jitter, colour in zip(JITTERS, ("#0072B2", "#009E73", "#D55E00"), strict=True):
    simulated = [1e3 * medians[jitter, ranks] for ranks in RANKS]
    formula = [1e3 * step * slowdown(ranks, jitter) for ranks in RANKS]
    panel.plot(RANKS, simulated, "o", color=colour)
    panel.plot(RANKS, formula, color=colour, linewidth=1)
    panel.annotate(
        f"jitter {jitter}", (RANKS[-1], formula[-1]), (6, 0), textcoords="offset points",
        color=colour, va="center", annotation_clip=False,
    )  # fmt: skip
panel.hlines(1e3 * step, RANKS[0], RANKS[-1], color="0.4", linestyle=":")
panel.annotate(
    "all alike", (RANKS[-1], 1e3 * step), (6, 0), textcoords="offset points", color="0.4",
    va="center", annotation_clip=False,
)  # fmt: skip
panel.set_xscale("log", base=2)
panel.set_xticks(RANKS, [f"{ranks:,}" for ranks in RANKS])
panel.set_ylim(0, None)
panel.set(xlabel="ranks", ylabel="milliseconds a step (median)")
panel.set_title("Synchronous: points simulated, lines exp(jitter * z_max)", fontsize=10)
panel.spines[["top", "right"]].set_visible(False)
show(figure, "07_jitter")

# %% [markdown]
# The strategy was not told the formula, and follows it, but for the luck of a few steps. (It is the
# same luck for every sigma: a seed always draws the same z.) With 1,024 ranks and a jitter of 0.1
# the middling node is as fast as ever, and a step takes almost 40 % more time. z_max grows ever
# more slowly, like the square root of the logarithm of P: two thirds of the harm are done by the
# first 64 ranks.
#
# ## Groups, with some slow nodes
#
# Jitter is luck, and everyone's turn comes. Worse are nodes that are slow all the time. Of 1,024
# workers let two take 1.5 times as long, besides a jitter of 0.05. Page 6 said what groups are good
# for: who is late holds up its own group only. Now it can be measured, with 6 servers, one a layer,
# as in the paper's runs.

# %%
WORKERS, SERVERS, GROUPS = 1024, 6, (1, 2, 4, 8)
STEPS = 5 if SMALL else 30
JITTER = Stragglers(jitter=0.05)
SLOW = replace(JITTER, slow_share=2 / WORKERS, slow_factor=1.5)
nodes = [node for node in range(WORKERS) if replace(SLOW, jitter=0).of(node)() > 1]
print("slow for good:", *nodes)


def of_groups(ends, groups):
    """Seconds a step of each group: as slow as its slowest member."""
    last = ends.reshape(groups, WORKERS // groups, -1).max(axis=1)
    return (last[:, -1] - last[:, 0]) / STEPS


measured = {}
for groups in GROUPS:
    ends, _ = simulate(WORKERS, STEPS, JITTER, groups, SERVERS)
    without = of_groups(ends, groups)
    ends, updates = simulate(WORKERS, STEPS, SLOW, groups, SERVERS)
    measured[groups] = without, of_groups(ends, groups), updates
for groups, (without, seconds, updates) in measured.items():
    batch, a_second = WORKERS // groups * BATCH, (1 / seconds).sum()
    lost = 100 * (1 - a_second / (1 / without).sum())
    held_up = {node // (WORKERS // groups) for node in nodes}
    staleness = updates["made"] - 1 - updates["read"]
    print(
        f"G = {groups}: {a_second:5.1f} updates a second of {batch:5,} samples, staleness "
        f"{staleness.mean():.2f}\n       {a_second * batch:7,.0f} samples a second; {lost:4.1f} % "
        f"lost to slow nodes, which are in {len(held_up)} of the groups"
    )

# %% [markdown]
# Every group makes updates, so that their number grows with G; each is made of a smaller batch. The
# samples say what the machine gets done. Two nodes of 1,024 cost the one synchronous group more
# than a fifth of it. With more groups the same two cost less, since fewer others share a group with
# them. (With two groups both are in the same one, by luck; with four they hold up two.) Against
# jitter alone groups help little: the slowest of 128 is late almost like the slowest of 1,024.
#
# Who pays:

# %%
without, seconds, updates = measured[8]
size = WORKERS // 8
slow_groups = {node // size for node in nodes}
staleness = updates["made"] - 1 - updates["read"]
for group in range(8):
    of_group = staleness[updates["group"] == group]
    print(
        f"group {group}: {1e3 * without[group]:5.1f} ms a step if no node is slow, "
        f"{1e3 * seconds[group]:5.1f} ms with them; staleness {of_group.mean():.2f}"
        + ("  <- has a slow node" if group in slow_groups else "")
    )

# %%
figure = Figure(figsize=(10, 3), layout="constrained")
rates, shares, bars = figure.subplots(1, 3)
places = range(len(GROUPS))
rates.bar(places, [(1 / measured[groups][1]).sum() for groups in GROUPS], color="#0072B2")
rates.set(title="updates a second")
for shift, which, colour, name in (
    (-0.2, 0, "#999999", "jitter only"),
    (0.2, 1, "#0072B2", "and two slow nodes"),
):
    samples_a_second = [
        (1 / measured[groups][which]).sum() * WORKERS / groups * BATCH / 1e3 for groups in GROUPS
    ]
    shares.bar(
        [place + shift for place in places], samples_a_second, width=0.4, color=colour, label=name
    )
shares.set(title="thousands of samples a second")
shares.set_ylim(0, 1.45 * max(samples_a_second))
shares.legend(frameon=False, loc="upper center", ncols=2, fontsize=8)
for panel in (rates, shares):
    panel.set_xticks(places, [f"G = {groups}" for groups in GROUPS])
colours = ["#D55E00" if group in slow_groups else "#0072B2" for group in range(8)]
bars.bar(range(8), 1e3 * seconds, color=colours)
bars.set(title="milliseconds a step, G = 8", xlabel="group (orange: has a slow node)")
bars.set_xticks(range(8))
for panel in (rates, shares, bars):
    panel.spines[["top", "right"]].set_visible(False)
show(figure, "07_groups")

# %% [markdown]
# In a group with a slow node, 127 others wait for it; the other groups do not notice. Its updates
# are rarer, and staler, since the others make theirs meanwhile. The mean over all updates is G - 1
# or less, as page 6 said: some groups end before others, and the shorter the run, the more that
# counts.
#
# This says how many updates there are, not what they are worth. Ghosts learn nothing: whether 8
# updates of staleness 7 bring a network further than one of none, only training can show (pages 5
# and 6, and the end of this one).
#
# ## A look at single ranks
#
# A `Stopwatch` takes any clock, also a virtual one. So the record of a run that did not happen can
# be made, drawn, and asked who waited for whom, like that of one that did. Two groups of two, two
# servers, rank 1 slower by 30 %; and, to see messages and updates at all, a network a hundred times
# as slow and updates of 2 ms.

# %%
SLOW_RANK, LAST = 1, 6
roles = Roles(6, groups=2, servers=2)
thin = replace(CORI, name="a thin network", bandwidth=CORI.bandwidth / 100)


def watched(comm):
    stopwatch = Stopwatch(comm.clock)
    slower = 1.3 if comm.rank == SLOW_RANK else 1.0
    jitter = Stragglers(jitter=0.05).of(comm.rank)
    strategy = hybrid.Strategy(
        comm,
        roles,
        ghost.GhostObjective(
            comm.compute, NETWORK, forward, backward, lambda: slower * jitter()
        ),
        lambda parameters: ghost.GhostOptimizer(parameters, comm.compute, 0.002),
        stopwatch,
    )  # fmt: skip
    strategy.start()
    comm.Barrier()
    stopwatch.restart()
    if roles.group(comm.rank) < 0:
        strategy.serve()
    else:
        for stopwatch.iteration in range(1, LAST + 1):
            strategy.step(BATCH)
        strategy.stop()
    spans = stopwatch.spans()
    strategy.finish()
    return spans, [update for layer in strategy.served.values() for update in layer.updates]


results = VirtualCluster(roles.ranks, thin).run(watched)
run = OUTPUT / "07_virtual_run"
run.mkdir(exist_ok=True)
virtual = record.Record(
    [row.name for row in rows],
    [roles.group(rank) for rank in range(roles.ranks)],
    [spans for spans, _ in results],
    np.array([update for _, updates in results for update in updates], UPDATE),
    virtual=True,
)
virtual.save(run / "record.h5")
timeline = OUTPUT / "07_timeline.png"
draw_timeline(virtual, timeline, iterations=2)
print(f"picture: {timeline.relative_to(ROOT)}")
minidl("waits", run)

# %% [markdown]
# In the picture an arrow is a gradient on its way to its server. Rank 0 is through before rank 1
# is, and waits for it. Then both wait for conv2: its gradient is as large as any, is announced
# almost at the end, and its parameters are needed almost at the beginning. It takes four messages,
# of 7 ms each on this network: the sum to the root, the mean to the server, the answer, the
# broadcast. Those of the layers above hide behind the computing. Group 1 has nobody slow, and runs
# ahead. `minidl waits` finds the culprit from the record alone.
#
# ## Ranks that learn
#
# Ghosts learn nothing, but the clock does not mind real networks. `minidl train --virtual-ranks`
# runs the very loop of `mpiexec -n`, once a rank, in one process: each rank has its own network and
# its own samples, gradients are as stale as they would be, and every update takes place. Only the
# seconds are the machine's. So runs of more workers than there are cores can be compared on equal
# terms, with stragglers of your choice, and repeat themselves to the bit.
#
# Eight workers on the events of page 3, of which rank 3 takes three times as long as the others.
# (The seed draws who is slow, with the probability `--slow-share`.) Our network is small. For its
# computing to weigh against messages what the paper's did, these nodes are a thousand times slower
# than Cori's.

# %%
data, test = events("train"), events("test")
weak = OUTPUT / "07_weak_nodes.json"
weak.write_text(json.dumps(asdict(replace(CORI, name="weak nodes", flops=CORI.flops / 1000))))
WIDTH, PASS, EPOCHS = (4, 2, 2) if SMALL else (8, 4, 3)
HOW = ["--data", data, "--validation", test, "--width", WIDTH, "--batch-size", PASS,
       "--epochs", EPOCHS, "--momentum", "auto", "--machine", weak, "--jitter", 0.05,
       "--slow-share", 0.05, "--slow-factor", 3, "--overwrite"]  # fmt: skip
LAYOUTS = {
    "sync": ["--virtual-ranks", 8],
    "hybrid": ["--virtual-ranks", 9, "--groups", 2],
    "async": ["--virtual-ranks", 9],
}
learnt = {name: OUTPUT / f"07_{name}" for name in LAYOUTS}
for name, layout in LAYOUTS.items():
    minidl("train", "hep", "--strategy", name, *layout, *HOW, "--out", learnt[name])

# %%
for name, run in learnt.items():
    curve, updates = read_curve(run, name), record.load(run).updates
    at = np.searchsorted(curve.samples, 0.75 * curve.samples[-1])
    stale = (updates["made"] - 1 - updates["read"]).mean() if len(updates) else 0.0
    print(
        f"{name:6}: 3/4 of all events seen after {curve.seconds[at]:.4f} virtual seconds, all "
        f"after {curve.seconds[-1]:.4f};\n        staleness {stale:.1f}, loss of the test events "
        f"{curve.validation[-1, 2]:.3f}"
    )
picture = OUTPUT / "07_learning.png"
minidl("plot", *learnt.values(), "--out", picture)
print(f"picture: {picture.relative_to(ROOT)}")
minidl("replay", learnt["async"])

# %% [markdown]
# The synchronous run goes at the pace of rank 3. Of two groups, one does. Where nobody waits, the
# other seven have soon done their share, three times as fast. What is left is rank 3's: an eighth
# of the events, in updates that are not stale any more. All three runs end at about the same time,
# since every worker has the same share; but when two of them end, little is left to be learnt.
#
# So the right half of the picture is what could not be had so far, the loss over the time of a
# machine that is not there. The left half, over samples, shows what each sample was worth. Both are
# of one network, one data set and one seed: how async compares with sync is a matter of the
# learning rate, too (page 5). And `minidl replay` made every update of the asynchronous run once
# more, from its record, and came to the same bits.
#
# ## What it costs, and what it leaves out
#
# Most of the ranks above do the same. The members of a group but for its root take their time, take
# part in the group's sums and broadcasts, and that is all; nothing tells them apart but their
# clocks. So their program need not run a thousand times. Run it once, with a vector of clocks: one
# stream of instructions for many data, as on a vector processor. Such ranks are a *cohort*
# (`minidl/parallel/virtual/cohort.py`), and `comm.ranks` are all of them. Roots and servers, who
# send to one another, and whoever computes, still play by themselves. Both ways:

# %%
for ranks, iterations in ((100, 5), (1000, 5)) if SMALL else ((100, 20), (1000, 20), (9600, 10)):
    roles = Roles(ranks, groups=2, servers=SERVERS)
    program = partial(train, hybrid.Strategy, roles, iterations, SLOW)
    real, ends = {}, {}
    for played, cohorts in (("alone", ()), ("as one", cohorts_of(roles))):
        cluster = VirtualCluster(ranks, CORI, cohorts=cohorts)
        began = time.perf_counter()
        results = cluster.run(program)
        real[played] = time.perf_counter() - began
        ends[played] = [
            np.ravel(results[cast[0]][0][-1]) for cast in cluster.casts if cast[0] < roles.workers
        ]
    each, as_one = np.sort(np.hstack(ends["alone"])), np.sort(np.hstack(ends["as one"]))
    print(
        f"{ranks:5,} ranks, {iterations} iterations: {each.max():.1f} virtual seconds; each rank "
        f"alone takes {real['alone']:5.1f} real ones, cohorts {real['as one']:.2f}; all ends "
        f"{'the same' if np.array_equal(each, as_one) else 'not the same'}, to the bit"
    )

# %% [markdown]
# `minidl simulate` and `minidl plan` play cohorts. Alone, real seconds grow with ranks times
# iterations; in a cohort far less, since what is left of a rank is a number in a vector.
# `benchmarks/virtual.py` goes on to 100,000 ranks.
#
# What comes out is what was put in, and its consequences. Not put in are:
#
# - Contention: a rank sends one message after the other, and receives long ones so; but between
#   ranks every message has the network to itself, however many are on their way. Congestion,
#   topology and routing are left out. At 9,600 nodes this is the boldest of all omissions.
# - How real MPI makes progress, and what calling it costs. A collective call takes the time of one
#   formula (`machine.py`), and begins when the last rank is there.
# - Memory, caches, and the efficiency of each layer: all layers run at the same rate, and no rank
#   ever has too little memory.
# - Input and output: the paper's runs also read their images, and wrote checkpoints.
# - Failures of nodes, unless `--death` says who dies and when: page 11 is about them.
#
# And assumed are: the jitter, its form and its size, and that a rank's iterations know nothing of
# each other; the number of slow nodes, and how slow they are; the speed of updates; the size from
# which on a message waits for its receiver. None of these is the paper's. To learn about a machine
# of your own, measure them there: page 4 has latency and bandwidth, `minidl waits` the slow nodes.
#
# So trust a comparison, of strategies or of numbers of groups on one description of a machine, more
# than a number of seconds. And change the assumptions, to see whether the answer changes.
#
# ## Exercises
#
# 1. Put the two slow nodes into the same group of 8, by renumbering the ranks. What do they cost
#    now? What would you do on a real machine if you knew the slow nodes beforehand?
# 2. `INSTANT` in `minidl/parallel/virtual/machine.py` is a machine on which messages take no time.
#    Run 1,024 jittering ranks on it (`simulate` takes a machine). How much of a step on `CORI` is
#    due to messages? Guess first.
# 3. Hold the time of a step against the bandwidth: run 64 equal ranks on `replace(CORI,
#    bandwidth=...)` with 8 GB/s and less. At which bandwidth do messages stop hiding behind
#    computing? Find it by hand first, from the times of the layers above. Which layer is it?
# 4. Give the servers a `staleness_bound` of 8 in the run with 8 groups and slow nodes. Whom does
#    the slow node cost now?
# 5. Write `ring` as a deadlock: let everyone call `Recv` first. Read what the cluster says.
#
# ## What to read next
#
# `minidl/parallel/virtual/cluster.py`: the loop that resumes ranks, some fifty lines;
# `minidl/parallel/virtual/machine.py`, all assumptions in one place; and
# `minidl/parallel/virtual/ghost.py`. In `minidl/parallel/virtual/collectives.py` you find what
# waits for whom in each call. The same cluster, with a chooser in place of the clock, runs a small
# training in every order that can happen and checks every promise of the strategies:
# `minidl/parallel/virtual/explore.py` and `minidl/parallel/virtual/promises.py`.
