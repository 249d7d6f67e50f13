# %% [markdown]
# # 5. Nobody waits: the parameter server and stale gradients
#
# On page 4 all ranks made the same update, from the gradients of all; so everyone waited for the
# slowest. This page changes one thing: a worker's gradient makes an update by itself, at once,
# whatever the others are doing. Nobody waits any more. The price is that gradients are *stale*:
# while a worker computed, others have changed the network.
#
#     python tutorials/05_nobody_waits.py
#
# The page starts `mpiexec` itself, with up to five ranks; two cores are enough.

# %%
import inspect
from collections import Counter

import numpy as np
from matplotlib.figure import Figure
from page import OUTPUT, ROOT, SMALL, events, minidl, mpiexec, show

from minidl import record
from minidl.optim import SGD, explicit_momentum
from minidl.parallel import async_ps, server
from minidl.parallel.served import ServedLayer
from minidl.run import read_log
from minidl.runs import plot

# %% [markdown]
# ## What waiting costs
#
# Let one rank be slow. A model is a module with some functions (`minidl/model.py`); this one is
# `hep`, except that its loss sleeps. A sleep stands for computing on a machine of one's own: two
# cores cannot give a core to each of five ranks, but any number of ranks can sleep at once.

# %%
SLOW = """
import time

from mpi4py import MPI

from minidl_models import hep
from minidl_models.hep import *


def loss(output, target):
    time.sleep(0.1 if MPI.COMM_WORLD.rank == 1 else 0.02)
    return hep.loss(output, target)
"""
module = OUTPUT / "slow_rank_1.py"
module.write_text(SLOW)
model = ".".join(module.relative_to(ROOT).with_suffix("").parts)  # its import path
data = events("train")
SLOW_ITERATIONS = 16 if SMALL else 40


def train_slowly(name, ranks, *strategy):
    """Train three workers, of which rank 1 is five times as slow as the others."""
    run = OUTPUT / f"05_{name}"
    mpiexec(
        ranks, "minidl", "train", model, *strategy, "--data", data, "--width", 4, "--batch-size", 2,
        "--iterations", SLOW_ITERATIONS, "--out", run, "--overwrite",
    )  # fmt: skip
    return run


def of_rank_0(run):
    """When rank 0 was through, in seconds, and what share of that it had waited."""
    steps = [e for e in read_log(run) if e["event"] == "iteration" and e["group"] == 0]
    seconds = steps[-1]["seconds"]
    return seconds, sum(step["waiting"] for step in steps) / seconds


slow_sync = train_slowly("slow_sync", 3, "--trace", OUTPUT / "05_slow_sync.json")
minidl("waits", slow_sync)

# %% [markdown]
# Rank 1 is the only one that is slow, and all are: ranks 0 and 2 spend most of their time waiting
# for it. Two thirds of the machine are good for little.
#
# ## Somebody else makes the update
#
# In `minidl/parallel/async_ps.py` ranks have two roles. The first ones are *workers* and compute
# gradients. The last ones are *parameter servers*. Each layer of the network is held by one server,
# with its optimiser. A worker sends a layer's gradient to that server as soon as backward announces
# it; the server makes an update of this one gradient, and answers with the layer's new parameters.
# (The paper's runs had a server for each layer; `--servers` says how many, one unless told.)
#
# For a worker, the whole strategy is two functions. Backward calls the first:

# %%
print(inspect.getsource(async_ps.Strategy._gradient_ready))

# %% [markdown]
# - `np.divide`: the mean over this worker's own samples. On page 4 the division had to wait for the
#   samples of all ranks; here there is nobody to wait for.
# - `gradient.version`: a layer's *version* is the number of updates that were made to it. The
#   gradient travels with the version of the parameters that it was computed on (`parcel.py`): the
#   one that came with the last answer.
# - `Irecv` before `Isend`: the place for the answer is ready before it is asked for. Both return at
#   once, and backward goes on with the next layer.
#
# The next forward calls the second, right before it uses the layer:

# %%
print(inspect.getsource(async_ps.Strategy._parameters_needed))

# %% [markdown]
# - `request.Wait()`: a worker does wait, for one message from the server. It does not wait for
#   another *worker*; an update takes the server much less time than a gradient takes a worker.
#
# The server:

# %%
source = inspect.getsource(server.serve)
print(source[: source.index('"""')] + "..." + source[source.rindex('"""') + 3 :])

# %% [markdown]
# - `Probe`: what has come, from whomever. First come, first served; nothing else decides on the
#   order of the updates.
# - `LEAVING`: a worker has made its last step. When all have, so does the server.
# - `sent`: the last answer lies in the memory where the next gradient will arrive, so it has to be
#   gone first. It is: the gradient was computed on it.
# - `held[tag].receive(group)`: the update (`served.py`). It says whose answers are ready: usually
#   the sender's own. (`group` is the worker's number. On page 6 it will stand for several ranks.)
#
# There is no lock, no clock, and nobody who knows how far the others are.
#
# ## Stale gradients, by hand
#
# The rules of updating are in `ServedLayer`, which sends no messages. So it can be driven without
# MPI. The layer has two parameters w, and its loss is a quadratic: the sum of c/2 w², with the
# gradient c w. Three workers take turns. Each puts the gradient at the values that it had read into
# its parcel; the server makes the update, and leaves the new values in the same parcel.

# %%
CURVATURE = np.array([1.0, 0.25])
RATE = 0.2


def drive(order, workers):
    """Let the workers send gradients in this order; the layer, and its path from (1, 1)."""
    served = ServedLayer(0, SGD(np.ones(2), RATE), groups=workers)
    for parcel in served.parcels:
        parcel.values[:] = 1  # all have read version 0
    path = [np.ones(2)]
    for worker in order:
        served.parcels[worker].values *= CURVATURE  # from what was read to the gradient there
        served.receive(worker)  # from the gradient to what is read next
        path.append(served.optimizer.parameters.copy())
    return served, np.array(path)


served, path = drive([0, 1, 2] * 3, workers=3)
print("worker   read   made   staleness   w")
for (_, worker, read, made), w in zip(served.updates, path[1:], strict=True):
    print(f"{worker:6} {read:6} {made:6} {made - 1 - read:11}   {w.round(3)}")

# %% [markdown]
# *Read* is the version that a gradient was computed on, *made* the version that its update made.
# In between, others made `made - 1 - read` updates: the gradient's *staleness*. In turn, after the
# first round, this is always the number of the other workers: **W workers, staleness W - 1**.
#
# ## Staleness is momentum
#
# A real queue is not so orderly. The opposite extreme is a queue without memory: the next gradient
# may be anybody's, with equal chances. Then a single run is a matter of luck, and the mean over
# many runs can be computed: here they are, side by side in NumPy.


# %%
def many(workers, runs, updates):
    """Drive so many runs at once, in random orders; orders (updates, runs), paths (.., runs, 2)."""
    order = np.random.default_rng(workers).integers(workers, size=(updates, runs))
    w, read, every = np.ones((runs, 2)), np.ones((runs, workers, 2)), np.arange(runs)
    path = [w.copy()]
    for sender in order:
        w -= RATE * CURVATURE * read[every, sender]
        read[every, sender] = w
        path.append(w.copy())
    return order, np.array(path)


RUNS, UPDATES = (4000, 60) if SMALL else (40_000, 60)
order, paths = many(4, RUNS, UPDATES)
difference = np.abs(drive(order[:, 0], workers=4)[1] - paths[:, 0]).max()
print(f"the first of the runs against ServedLayer: largest difference {difference:.0e}")

# %% [markdown]
# SGD with momentum μ makes steps
#
#     step(t) = μ step(t - 1) - η gradient(t)
#
# Do the mean steps of M workers that know no momentum obey the same law? Fit μ and η to them, by
# least squares:


# %%
def fit(mean):
    """Momentum and learning rate that explain a mean path (updates + 1, 2) best."""
    steps, gradients = np.diff(mean, axis=0), CURVATURE * mean
    matrix = np.stack([steps[:-1].ravel(), -gradients[1:-1].ravel()], axis=1)
    return np.linalg.lstsq(matrix, steps[1:].ravel())[0]


def with_momentum(workers, updates):
    """The path that the law predicts; all have read w = 1 before the first step."""
    w, step = np.ones(2), -RATE * CURVATURE
    path = [w, w + step]
    for _ in range(updates - 1):
        step = (1 - 1 / workers) * step - RATE / workers * CURVATURE * path[-1]
        path.append(path[-1] + step)
    return np.array(path)


means = {}
for workers in (1, 2, 4, 8):
    means[workers] = many(workers, RUNS, UPDATES)[1].mean(axis=1)
    momentum, rate = fit(means[workers])
    print(
        f"M = {workers}: momentum fitted {abs(momentum):.3f}, 1 - 1/M = {1 - 1 / workers:.3f}; "
        f"learning rate fitted {rate:.3f}, {RATE}/M = {RATE / workers:.3f}"
    )

# %% [markdown]
# They do. With M workers in random order, the mean step is one with momentum **1 - 1/M** and
# learning rate **η/M** (I. Mitliagkas et al., *Asynchrony begets Momentum, with an Application to
# Deep Learning*, 2016). The reason is short: a gradient is k updates stale if its worker was last
# chosen k + 1 updates ago, which has the probability (1/M) (1 - 1/M)^k. So the mean step adds up
# gradients of the past with weights that fall by the same factor, update by update. Momentum does
# just that.

# %%
figure = Figure(figsize=(9, 3.8), layout="constrained")
panels = figure.subplots(1, 2, sharey=True)
for colour, workers in zip(plot.COLOURS, means, strict=False):
    panels[0].plot(means[workers][:, 0], ".", color=colour, markersize=4)
    panels[0].plot(with_momentum(workers, UPDATES)[:, 0], color=colour, linewidth=1)
    in_turn = drive([update % workers for update in range(UPDATES)], workers)[1]
    panels[1].plot(in_turn[:, 0], ".-", color=colour, markersize=4, linewidth=1, label=workers)
panels[0].set(title="in random order: the mean of many runs\n(lines: momentum 1 - 1/M)", ylabel="w")
panels[1].set(title="in turn:\nevery gradient is M - 1 updates stale")
for panel in panels:
    panel.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    panel.set_xlabel("update")
    panel.spines[["top", "right"]].set_visible(False)
figure.legend(title="workers M", frameon=False, loc="outside right center")
show(figure, "05_momentum")

# %% [markdown]
# The two sides have the same mean staleness, the same learning rate and the same first step, and
# are not alike: for M = 8, taking turns overshoots again and again, where the random order, in the
# mean, comes to rest. Workers of equal speed are nearer to the right side. So the law is a guide,
# not a promise; learning rate and momentum still have to be tried.
#
# A network that is best trained with a momentum of 0.9 has some of it already, if it is trained by
# several workers. `--momentum auto` asks for the rest (`explicit_momentum` in `minidl/optim.py`):

# %%
for workers in (1, 2, 4, 8):
    explicit = explicit_momentum(workers)
    print(
        f"W = {workers}: implied {1 - 1 / workers:.3f}, asked for {explicit:.3f}; "
        f"a gradient moves w by {1 / (1 - explicit):.2f} learning rates in all"
    )

# %% [markdown]
# The paper did not compute it: it tried the momenta {0, 0.4, 0.7} for each number of groups. The
# last column is a warning. Momentum of one's own repeats a gradient, so that it counts
# 1 + μ + μ² + ... = 1/(1 - μ) times. Implied momentum only spreads it over time: η/M, repeated M
# times, is η. Who replaces one by the other takes shorter steps with SGD, and may want a larger
# learning rate.
#
# ## A real run
#
# Four workers and one server, on the events of page 3:

# %%
WIDTH, BATCH, ITERATIONS = (4, 3, 40) if SMALL else (16, 8, 60)
WORKERS = 4


def train(name, ranks, *flags, iterations=ITERATIONS):
    run = OUTPUT / f"05_{name}"
    mpiexec(
        ranks, "minidl", "train", "hep", *flags, "--data", data, "--width", WIDTH, "--batch-size",
        BATCH, "--optimizer", "sgd", "--learning-rate", 0.01, "--iterations", iterations,
        "--out", run, "--overwrite",
    )  # fmt: skip
    return run


trace = OUTPUT / "05_async.json"
run = train("async", WORKERS + 1, "--strategy", "async", "--trace", trace)

# %% [markdown]
# The log ends with a line for each layer: how many of its updates had which staleness.

# %%
histograms = {
    event["layer"]: {int(staleness): count for staleness, count in event["updates"].items()}
    for event in read_log(run)
    if event["event"] == "staleness"
}
for name, counts in histograms.items():
    updates = sum(counts.values())
    mean = sum(staleness * count for staleness, count in counts.items()) / updates
    print(f"{name:8} {updates} updates, staleness {mean:.2f} in the mean, at most {max(counts)}")

# %%
most = max(max(counts) for counts in histograms.values())
staleness = np.arange(most + 1)
figure = Figure(figsize=(9, 4.6), layout="constrained")
panels = figure.subplots(2, 3, sharex=True, sharey=True)
for panel, (name, counts) in zip(panels.flat, histograms.items(), strict=True):
    updates = sum(counts.values())
    panel.bar(staleness, [100 * counts.get(s, 0) / updates for s in staleness], color="#56B4E9")
    (queue,) = panel.plot(
        staleness, 100 / WORKERS * (1 - 1 / WORKERS) ** staleness, ".-", color="0.45", linewidth=1
    )
    line = panel.axvline(WORKERS - 1, color="#D55E00", linestyle="--", linewidth=1.2)
    panel.set_title(name, fontsize=10)
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.get_major_locator().set_params(integer=True)
for panel in panels[-1]:
    panel.set_xlabel("staleness")
for panel in panels[:, 0]:
    panel.set_ylabel("% of the updates")
figure.legend([line, queue], ["W - 1, the expected mean", "a queue without memory"],
              frameon=False, loc="outside upper center", ncols=2)  # fmt: skip
show(figure, "05_staleness")

# %% [markdown]
# The mean is about W - 1 = 3: while a worker makes one update, the others make about one each. (A
# little less, since whoever comes last at the end is alone. Page 6 has the exact argument.) Workers
# that take turns would have a single bar at the dashed line, a queue without memory the grey curve.
# A run is in between; where there are cores enough, nearer to turns, since its workers are equally
# fast. With five ranks on few cores, the operating system decides whose turn it is.
#
# ### One forward pass, several versions
#
# Look at the layers of one forward pass. `record.h5` has every update, and the n-th update that a
# worker made of a layer belongs to its n-th pass:

# %%
whole = record.load(run)


def passes(field, worker):
    """A row for each forward pass of a worker, a column for each layer."""
    rows = whole.updates[whole.updates["group"] == worker]
    return np.array([rows[field][rows["layer"] == n] for n in range(len(whole.layers))]).T


read = np.concatenate([passes("read", worker) for worker in range(WORKERS)])
stale = np.concatenate([passes("made", worker) for worker in range(WORKERS)]) - 1 - read
kinds = [len(set(row)) for row in stale.tolist()]
example = int(np.argmax(kinds))
print("layer:    ", *(f"{name:>8}" for name in whole.layers))
print("version:  ", *(f"{version:8}" for version in read[example]))
print("staleness:", *(f"{value:8}" for value in stale[example]))
for kind, count in sorted(Counter(kinds).items()):
    print(f"forward passes whose layers have {kind} different stalenesses: {count}")

# %% [markdown]
# The layers of a pass need not be of the same version, nor equally stale. Users of another system
# with parameter servers asked whether that is a mistake. It is not. A layer's gradient leaves as
# soon as it is ready, last layer first, and the answer is the layer as it is then. If another
# worker's gradients arrive at the same time, the two mix: for one layer the one is first, for the
# next layer the other. Every layer counts its own updates. To keep a pass to one version, the
# server would have to collect the gradients of all layers and let nobody in between: somebody would
# wait. What is promised is only that parameters and version belong together *within* a layer; they
# travel in one message.
#
# ## The timeline
#
# Now the slow rank again, asynchronous, with a server beside the three workers:

# %%
trace = OUTPUT / "05_slow_async.json"
slow_async = train_slowly("slow_async", 4, "--strategy", "async", "--trace", trace)
minidl("waits", slow_async)

# %% [markdown]
# Nobody waits for rank 1 any more. `--trace` has left a picture of each of the two runs; open them
# one above the other. Synchronous: the rows of ranks 0 and 2 are mostly orange, the colour of
# waiting, and an iteration begins for all when rank 1 is through with the last. Asynchronous: every
# row is nearly all blue, the colour of computing, and rank 0 begins one iteration after the other
# while rank 1 is still in its first. The arrows lead from gradients to their updates on the server;
# they come whenever a worker is ready. The server is idle nearly always: with such small layers it
# could serve many workers.

# %%
for name, folder in (("sync", slow_sync), ("async", slow_async)):
    seconds, waited = of_rank_0(folder)
    print(f"{name:5}: rank 0 was through after {seconds:.2f} s, {100 * waited:.0f} % of it waiting")

# %% [markdown]
# Mind what this says and what it does not. Every worker makes the same number of iterations, so the
# run ends when rank 1 does, either way. But rank 0's work was in the network much earlier, and in a
# longer run it would have done more of it.
#
# ## Two handles
#
# The slow worker pays in staleness: between its read and its update, everyone else made several. If
# that is too much, there are two flags.
#
# `--staleness-bound S`: the server holds a gradient back if applying it would make somebody else's
# staler than S. This is *stale-synchronous* training (Q. Ho et al., 2013). S is at least W - 1: all
# start from version 0, and the last of W first gradients finds W - 1 updates made. At that bound
# workers take turns.

# %%
bounds = {None: slow_async}
for bound in (4, 2):
    flags = ("--strategy", "async", "--staleness-bound", bound)
    bounds[bound] = train_slowly(f"bound_{bound}", 4, *flags)
for bound, folder in bounds.items():
    rows = record.load(folder).updates
    largest = (rows["made"] - 1 - rows["read"]).max()
    seconds, waited = of_rank_0(folder)
    print(
        f"bound {bound or 'none':>4}: largest staleness {largest:2}; rank 0 through after "
        f"{seconds:.2f} s, {100 * waited:.0f} % of it waiting"
    )

# %% [markdown]
# The bound is kept, and waiting is back: with the smallest bound a fast worker waits about as long
# as in the synchronous run. There is no free choice between the two, but there is a choice: a bound
# somewhat above W - 1 lets through what is usual, and stops what is not.
#
# `--scale-by-staleness` lets nobody wait. It multiplies the learning rate of an update by
# 1 / (1 + staleness) (J. Jiang et al., 2017). The record tells what it would have done in the run
# without a bound, while all three workers were there:

# %%
rows = record.load(slow_async).updates
rows = rows[rows["layer"] == 0]
end = min(rows["made"][rows["group"] == worker].max() for worker in range(3))
for worker in range(3):
    some = rows[(rows["group"] == worker) & (rows["made"] <= end)]
    values = some["made"] - 1 - some["read"]
    print(
        f"rank {worker}: {len(some):3} updates, staleness {values.mean():.1f} in the mean, "
        f"scale {np.mean(1 / (1 + values)):.2f}"
    )

# %% [markdown]
# The slow rank's gradients count least: it makes few updates, and these become small. The others'
# shrink too. In turn, every staleness is W - 1 and every scale 1/W, which is no more than another
# learning rate.
#
# ## What it costs
#
# Three ways to use the same samples: one worker alone, which makes an update of every batch; four
# that wait for each other, with a quarter of the updates, each of four batches; and four that do
# not wait, with as many updates as one alone, almost all of them stale. The last is tried with the
# momentum of the others, with what `--momentum auto` asks for, and with `--scale-by-staleness`.

# %%
SCALED = ("--momentum", "auto", "--scale-by-staleness")
runs = {
    "one worker": train("serial", 1, iterations=WORKERS * ITERATIONS),
    "sync": train("sync", WORKERS, "--strategy", "sync"),
    "async, momentum 0.9": run,
    "async, momentum auto": train("auto", WORKERS + 1, "--strategy", "async", "--momentum", "auto"),
    "async, auto, scaled": train("scaled", WORKERS + 1, "--strategy", "async", *SCALED),
}
curves = {name: plot.read_curve(folder, name) for name, folder in runs.items()}
for name, curve in curves.items():
    fifth = curve.samples > 0.8 * curve.samples[-1]
    print(
        f"{name:20}: {curve.samples[-1]:.0f} samples, {len(curve.loss):3} updates; "
        f"loss over the last fifth {curve.loss[fifth].mean():.3f}"
    )

# %%
figure = Figure(figsize=(7.5, 4.2), layout="constrained")
panel = figure.subplots()
for colour, (name, curve) in zip(plot.COLOURS, curves.items(), strict=False):
    window = max(1, len(curve.loss) // 6)
    shown = plot.smooth(curve.loss, window)[window - 1 :]
    style = "-" if len(curve.loss) == ITERATIONS or name == "one worker" else "--"
    panel.plot(curve.samples[window - 1 :], shown, style, color=colour, label=name)
panel.axhline(np.log(2), color="0.8", linewidth=0.8, zorder=0)
panel.set(xlabel="samples seen, by all workers", ylabel="training loss, running mean")
panel.spines[["top", "right"]].set_visible(False)
panel.legend(frameon=False)
show(figure, "05_loss")

# %% [markdown]
# (The grey line is a coin's loss. With `--small` there is too little to be learnt to see anything.)
#
# Compare the asynchronous runs with one worker: equally many updates, of equally large batches. The
# difference is staleness. Stale gradients are worse gradients, and early in a training, while the
# network still changes fast, they are much worse. With the momentum of 0.9 that suits one worker,
# what is asked for and what is implied are too much together: that run hardly learns at all. With
# less of it the others do better, though not well. Then compare with sync, which made a quarter of
# the updates, none of them stale.
#
# These are a few hundred updates of one small network, all with the same learning rate. Run the
# page again, and the asynchronous curves are others: which gradient comes first depends on the
# machine, and no seed repeats it. What asynchrony can gain is time, which this picture does not
# show. Among ranks of equal speed there is little to gain, and sync is the better choice. The place
# of async is where ranks are many and unequal. The paper's way to have some of both is on the next
# page.
#
# ## Exercises
#
# 1. Give the workers in `many` a momentum of their own, m = 0.4: keep a velocity beside `w`, as
#    SGD does. The law for the mean step has one more term now, `step(t - 2)`. Fit three numbers,
#    and explain them by 1 - 1/M and m. When is "the sum of both momenta" a good description?
# 2. With the workers in turn, from what learning rate on does w not come to rest? Find it for M =
#    1, 2, 4, 8 and curvature 1 with `drive`, and compare with 2 sin(π / (4 M - 2)). What does it
#    say about the right half of the picture?
# 3. In a queue without memory, what is the mean staleness? Sum k (1/M) (1 - 1/M)^k, and compare
#    with taking turns. Then let one of M workers be half as fast as the others: change the chances
#    in `many`. What are the mean stalenesses of the slow one and of the fast ones, and what is the
#    mean over all updates? Why does the last not change?
# 4. How many workers can one server feed? Take the time of an update from `minidl waits`, and that
#    of a step. Then train with eight workers and one server, and with `--servers 2`, and see what
#    the workers wait for.
# 5. Give the asynchronous runs of the last picture other learning rates, 0.003 and 0.03, and more
#    samples. Is it the learning rate that is wrong, or is there a price at any? Draw the runs over
#    time, too (`minidl plot`), and say on what machine you would prefer which.
#
# ## What to read next
#
# `minidl/parallel/async_ps.py` as a whole, with the picture at its top;
# `minidl/parallel/served.py`, the rules of updating, and why a bound leaves nobody waiting in a
# circle; `minidl/parallel/server.py` and `parcel.py`, the messages; `minidl/optim.py`, what a
# server does with a gradient. `tests/parallel/test_staleness.py` and
# `tests/parallel/test_slow_rank.py` check what is said here.
