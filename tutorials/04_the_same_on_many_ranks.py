# %% [markdown]
# # 4. The same on many ranks
#
# Page 3 trained on one processor core. This page lets several processes share the work of every
# update, and adds nothing else: the same network, the same events, the same numbers. It shows why
# that works, what is easily got wrong, and what it costs.
#
#     python tutorials/04_the_same_on_many_ranks.py
#     mpiexec -n 2 python tutorials/04_the_same_on_many_ranks.py
#     mpiexec -n 4 python tutorials/04_the_same_on_many_ranks.py
#
# The first of these lines runs it on one rank, which shows everything but the costs.
# Under `mpiexec` every process runs this whole page. They differ in one number only, their *rank*:
# 0, 1, 2, ... A *communicator* holds all of them and lets them exchange messages; MPI, the Message
# Passing Interface, is the standard for that, and mpi4py its Python side.

# %%
import inspect
import time
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from mpi4py import MPI
from page import SMALL, events, show

from minidl.data import Batches, Dataset
from minidl.objective import Objective
from minidl.optim import SGD
from minidl.parallel import sync
from minidl.roles import Roles
from minidl.runs.trace import COLOURS
from minidl.stopwatch import Stopwatch
from minidl.threads import use_threads
from minidl_models import hep

comm = MPI.COMM_WORLD
use_threads(1)


def say(*words):
    """Print, on the first rank only."""
    if comm.rank == 0:
        print(*words, flush=True)


ranks = "1 rank" if comm.size == 1 else f"{comm.size} ranks"
say(f"This page runs on {ranks}.")

# %% [markdown]
# Nobody may be left waiting: a rank that waits for one that has failed would wait for ever. So
# importing `minidl.parallel` arranges that an exception on one rank ends them all.
#
# The events are those of page 3. One rank makes them if they are not there yet; `Barrier` holds the
# others until it gets there too.

# %%
if comm.rank == 0:
    events("train")
comm.Barrier()
dataset = Dataset([events("train")], hep.FIELDS)
shape = hep.shape(dataset)
WIDTH, BATCH = (4, 4) if SMALL else (16, 8)
say(f"{len(dataset)} simulated events, images {shape}; {BATCH} events a rank and update")

# %% [markdown]
# ## A sum can be shared
#
# The loss of a batch is the mean over its samples, and so is its gradient:
#
#     gradient = (1/B) * sum over the B samples of  gradient of the sample's loss
#
# A sum can be split. Give each rank a part of the batch, let it add up its own gradients, add the
# sums of all ranks, divide once by B. Nothing is approximated: this is *synchronous data-parallel*
# training.
#
# One thing is easily got wrong. A rank's own loss is a mean over its *own* samples, so what its
# backward returns is its own mean, and the tempting thing is to take the mean of these means. That
# is right as long as all ranks have equally many. The last batch of an epoch rarely divides. Let
# three pretended ranks have 4, 3 and 1 of 8 events (all on this rank, to see both):

# %%
network = hep.network(shape, np.random.default_rng(1), width=WIDTH, dtype=np.float64)
x, label = hep.prepare(dataset.read(np.arange(8)), None)
x = x.astype(np.float64)


def gradient_of(some):
    """The gradient of the mean loss over some of the events, all layers in one vector."""
    _, dy = hep.loss(network.forward(x[some].copy()), label[some])
    network.backward(dy)
    return np.concatenate([layer.gradient for layer in network.layers()])


shares = [slice(0, 4), slice(4, 7), slice(7, 8)]
counts = [4, 3, 1]
whole = gradient_of(slice(0, 8))
means = [gradient_of(share) for share in shares]
mean_of_means = np.mean(means, axis=0)
mean_of_sums = sum(mean * count for mean, count in zip(means, counts, strict=True)) / 8


def deviation(gradient):
    return np.linalg.norm(gradient - whole) / np.linalg.norm(whole)


say(f"mean of the ranks' means: wrong by {100 * deviation(mean_of_means):.0f} %")
say(f"sum of the ranks' sums, divided by 8: deviates by {deviation(mean_of_sums):.0e}")

# %% [markdown]
# The lonely event counted four times as much as the others should.
#
# ## All-reduce
#
# Every rank has a vector; every rank is to have the sum of all of them. This is one call, the
# *collective* operation `Allreduce`. All ranks must make it, in the same order. (Method names in
# capitals are the ones of mpi4py that send a NumPy array's memory as it is; those in lower case
# would pickle Python objects. minidl only uses the former.)

# %%
vector = np.full(3, comm.rank + 1.0)
comm.Allreduce(MPI.IN_PLACE, vector)
say("1 + 2 + ... + ranks:", vector)

# %% [markdown]
# What is inside? One rank could collect all vectors, add them up and send the sum back, but with P
# ranks all P vectors would pass through its one connection. A *ring* shares the work (P. Patarasuk
# and X. Yuan, *Bandwidth optimal all-reduce algorithms for clusters of workstations*, 2009). Cut
# the vector into P pieces. In each step every rank sends one piece to its right neighbour and
# receives another from its left. In the first P - 1 steps it adds what arrives to its own piece:
# then every rank holds one piece with the whole sum. In P - 1 more steps the finished pieces go
# round.


# %%
def ring_allreduce(comm, vector):
    """Replace the vector on every rank by the sum over all ranks."""
    rank, size = comm.rank, comm.size
    right, left = (rank + 1) % size, (rank - 1) % size
    pieces = np.array_split(vector, size)  # views
    arrived = np.empty_like(pieces[0])  # the first piece is as long as any
    for step in range(size - 1):
        outgoing, own = pieces[(rank - step) % size], pieces[(rank - step - 1) % size]
        incoming = arrived[: own.size]
        comm.Sendrecv(outgoing, dest=right, recvbuf=incoming, source=left)
        own += incoming
    for step in range(size - 1):
        outgoing, stale = pieces[(rank - step + 1) % size], pieces[(rank - step) % size]
        comm.Sendrecv(outgoing, dest=right, recvbuf=stale, source=left)


generator = np.random.default_rng(comm.rank)
mine = generator.standard_normal(100_003)
ring, reduced = mine.copy(), mine.copy()
ring_allreduce(comm, ring)
comm.Allreduce(MPI.IN_PLACE, reduced)
say(f"ring against MPI's all-reduce: largest difference {np.abs(ring - reduced).max():.0e}")
say(f"a rank sends {2 * (comm.size - 1) / comm.size:.2f} times its vector")

# %% [markdown]
# (`Sendrecv` sends and receives at the same time. If all ranks began with a blocking send, all
# might wait for somebody to receive.)
#
# A rank sends each piece about twice: 2 (P - 1) / P vectors, less than two *however many ranks
# there are*. That is as good as it can be. What grows with P is the number of steps, 2 (P - 1),
# each of which takes at least the time for one message to arrive; for short vectors MPI uses other
# patterns. And the two sums need not be equal in their last bit, since (a + b) + c is not always a
# + (b + c) for floating-point numbers. What matters is that all *ranks* get the same.
#
# ## sync.py, line by line
#
# `minidl/parallel/sync.py` is the whole strategy. Its `start` makes all replicas of the network
# alike:

# %%
say(inspect.getsource(sync.Strategy.start))

# %% [markdown]
# `Bcast`, broadcast, copies a vector from one rank to all. Equal seeds would do as well, until
# somebody builds the network in another order on one rank, or a library draws numbers differently
# on another machine. Replicas that start apart stay apart, and nothing ever says so. Watch it work,
# on networks that every rank has drawn with another seed:


# %%
def build(comm, seed, dtype=np.float32, kind=sync.Strategy):
    """A network and the synchronous strategy around it."""
    network = hep.network(shape, np.random.default_rng(seed), width=WIDTH, dtype=dtype)
    roles = Roles(comm.size, groups=1, servers=0)  # every rank computes, in one group
    make_optimizer = partial(SGD, learning_rate=0.02, momentum=0.9)
    return kind(comm, roles, Objective(network, hep.loss), make_optimizer, Stopwatch())


def on_every_rank(value):
    """One number of every rank, as an array."""
    values = np.empty(comm.size)
    comm.Allgather(np.array([float(value)]), values)
    return values


def parameters(strategy):
    return np.concatenate([layer.parameters for layer in strategy.layers])


strategy = build(comm, seed=comm.rank)
before = on_every_rank(parameters(strategy).sum())
strategy.start()
after = on_every_rank(parameters(strategy).sum())
say("sum of each rank's parameters, before start:", before.round(3))
say("                                      after:", after.round(3))

# %% [markdown]
# Now the step:

# %%
step = inspect.getsource(sync.Strategy.step)
say(step[: step.index('"""')] + "    ..." + step[step.rindex('"""') + 3 :])

# %% [markdown]
# - `objective.forward`: forward and loss, as on page 3, on this rank's own samples. `total` is two
#   numbers: the sum of their losses, and how many they are. (`batches` is a list, so that an update
#   can see more samples than fit into memory at once. Here it has one entry.)
# - `Iallreduce` is the *non-blocking* all-reduce: it starts and returns at once, with a request
#   that says later when it is done. The two numbers have to be added up over all ranks, too.
#   (`group` is a communicator of the ranks that train in step: here, of all ranks.)
# - `objective.backward` calls `_gradient_ready` for each layer, the moment its gradient is complete
#   (page 1). Before that, it multiplies the gradient by the number of this rank's samples, which
#   makes the mean over them a sum.
# - `summed.Wait()`: now the two numbers are those of all ranks; one divided by the other is the
#   mean loss.
# - `stopwatch` measures what the time is spent on; more on that below.

# %%
say(inspect.getsource(sync.Strategy._gradient_ready))

# %% [markdown]
# - `Iallreduce(MPI.IN_PLACE, layer.gradient)`: one layer is one vector is one message. It travels
#   while backward computes the next layer.
# - `Test`: asks whether a message is through. The answer is not used; the point is to *ask*.
#   Usually nobody works on a message unless some MPI function is being called, and the next layer's
#   products are no such function.
#
# The step ends without an update. The sums may still be under way, and nobody needs them yet: the
# *next* forward does, layer by layer. Right before it uses a layer's parameters it calls
# `_parameters_needed` (that is the `require=` above):

# %%
say(inspect.getsource(sync.Strategy._parameters_needed))

# %% [markdown]
# - `Wait`: now the sum must be there, with every rank's gradient in it. This is where everyone
#   waits for everyone.
# - `layer.gradient /= float(self.total[1])`: *the* division, by the samples of all ranks; the only
#   one. This is the mean of sums; a rank without any samples counts for nothing.
# - `optimizers[layer].step`: all ranks hold the same gradient and the same parameters, make the
#   same update, and hold the same parameters again. Nobody has to send any.
#
# While the first layers compute, the sums of the last ones may still travel. To look at the
# parameters between two steps, complete the update first. `gather` does:

# %%
gather = inspect.getsource(sync.Strategy.gather)
say(gather[: gather.index('"""')] + "    ..." + gather[gather.rindex('"""') + 3 :])

# %% [markdown]
# (`statistics` are what a layer gathers without a gradient, as batch normalisation does. This
# network has none.)
#
# ## P ranks make what one makes
#
# Now the promise. `Batches` deals every batch to the ranks so that P of them with b events each see
# what one sees with P b. Train on all ranks; then let each rank train alone, on the whole batches,
# in a communicator of its own. In double precision, so that nothing hides behind rounding, and with
# one event left out, so that the last batch of the epoch cannot be dealt evenly:


# %%
def train(comm, batch_size, updates):
    """Some updates in double precision; the parameters, losses and sizes of this rank's batches."""
    strategy = build(comm, seed=1, dtype=np.float64)
    strategy.start()
    batches = Batches(len(dataset) - 1, batch_size, comm.rank, comm.size, seed=1)
    losses, sizes = [], []
    for iteration in range(batches.per_epoch - updates, batches.per_epoch):
        indices, chances = batches[iteration]
        x, label = hep.prepare(dataset.read(indices), chances)
        losses.append(strategy.step([(x.astype(np.float64), label)]))
        sizes.append(len(x))
    strategy.gather()
    return parameters(strategy), np.array(losses), sizes


updates = min(10, -(-len(dataset) // (BATCH * comm.size)))
together, losses, sizes = train(comm, BATCH, updates)
alone, alone_losses, alone_sizes = train(MPI.COMM_SELF, BATCH * comm.size, updates)
last = on_every_rank(sizes[-1]).astype(int)
say(
    f"{updates} updates to the end of an epoch; events in the last: {alone_sizes[-1]}, dealt {last}"
)
say(f"losses differ by at most     {np.abs(losses - alone_losses).max():.0e}")
say(f"parameters differ by at most {np.abs(together - alone).max():.0e}")
highest, lowest = together.copy(), together.copy()
comm.Allreduce(MPI.IN_PLACE, highest, MPI.MAX)
comm.Allreduce(MPI.IN_PLACE, lowest, MPI.MIN)
say(f"parameters on different ranks differ by {np.max(highest - lowest):.0e}")

# %% [markdown]
# The ranks together do what one does, up to the order in which numbers are added; and among each
# other they agree to the last bit. So everything that is true of training on one rank is true here,
# with a batch that is P times as large. (That is not the same as *the same batch, faster*: larger
# batches make fewer updates an epoch. `minidl/optim.py`, `linear_scaling`, is one answer.)
#
# ## What it costs: a message
#
# How long does an all-reduce take? The usual model has two numbers. The *latency* α is the time of
# the shortest message; the *bandwidth* says how many bytes follow in a second:
#
#     t(n) = α + n / bandwidth
#
# Here n is the length of the vector, and what is timed the whole all-reduce of it. Measure on the
# ranks of this run, for MPI's all-reduce and for the ring above.


# %%
def seconds_of(reduce, size, repetitions=7 if SMALL else 25):
    """The shortest of several reductions of so many bytes, as the slowest rank sees it."""
    vector, times = np.zeros(size // 4, np.float32), np.empty(repetitions)
    for repetition in range(repetitions):
        comm.Barrier()
        start = time.perf_counter()
        reduce(vector)
        times[repetition] = time.perf_counter() - start
    comm.Allreduce(MPI.IN_PLACE, times, MPI.MAX)
    return times.min()


def fit(sizes, times):
    """Latency and bandwidth, by least squares of the relative errors."""
    matrix = np.stack([np.ones(len(sizes)), sizes], axis=1) / times[:, None]
    (latency, per_byte), *_ = np.linalg.lstsq(matrix, np.ones(len(times)), rcond=None)
    return max(latency, 0.0), 1 / per_byte


message_sizes = 4 ** np.arange(2, 10 if SMALL else 13)  # bytes
ways = {
    "MPI's all-reduce": lambda vector: comm.Allreduce(MPI.IN_PLACE, vector),
    "the ring of this page": lambda vector: ring_allreduce(comm, vector),
}
measured = {}
if comm.size > 1:
    for name, way in ways.items():
        measured[name] = np.array([seconds_of(way, size) for size in message_sizes])
        latency, bandwidth = fit(message_sizes, measured[name])
        say(f"{name:21}: latency {1e6 * latency:7.1f} µs, bandwidth {bandwidth / 1e9:.2f} GB/s")
else:
    say("One rank has nobody to send to: start the page with mpiexec -n 2 to measure messages.")

# %%
if comm.rank == 0 and measured:
    convolution = hep.network((224, 224, 3), np.random.default_rng(0)).layers()[1].gradient.nbytes
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    panel = figure.subplots()
    for colour, (name, times) in zip(("#0072B2", "#D55E00"), measured.items(), strict=True):
        latency, bandwidth = fit(message_sizes, times)
        panel.loglog(message_sizes, 1e6 * times, "o", color=colour, label=name)
        panel.loglog(message_sizes, 1e6 * (latency + message_sizes / bandwidth), color=colour)
    panel.axvline(convolution, color="0.7", linestyle=":")
    panel.text(convolution, 0.02, " a convolution of\n the paper's network", color="0.4",
               transform=panel.get_xaxis_transform())  # fmt: skip
    panel.set(xlabel="bytes", ylabel="microseconds", title=f"all-reduce on {ranks}")
    panel.legend(frameon=False)
    panel.spines[["top", "right"]].set_visible(False)
    show(figure, "04_allreduce")

# %% [markdown]
# The points are measured, the lines are the model. Flat at the left: there the latency is all, and
# a message of ten bytes costs as much as one of a thousand. This is why minidl sends one vector a
# layer and not a weight here and a bias there. Rising at the right: there the bandwidth is all.
# (The ranks of one machine share its memory; between machines both numbers are worse. With more
# ranks than cores, the latency is not the message's but the operating system's, and 10 to 1000
# times as long: a rank that is not running cannot answer.)
#
# ## What it costs: waiting
#
# The strategy's stopwatch tells three activities apart. *Compute* is forward, backward and the
# update. *Send* is to start messages and to ask after them. *Wait* is what is left of their way
# when their content is needed. And since communication is started by `_gradient_ready` alone, five
# lines make the same strategy without its overlap: they start no message before backward is over,
# and let nothing go on before all are through.


# %%
class Afterwards(sync.Strategy):
    """Sends all gradients when the first layer, the last to be announced, is ready."""

    def _gradient_ready(self, layer):
        if layer is self.layers[0]:
            for ready in reversed(self.layers):
                super()._gradient_ready(ready)
            with self.stopwatch("wait"):
                MPI.Request.Waitall(list(self.requests.values()))


# %% [markdown]
# The two take turns. A turn is some steps and a `gather`, so that nothing is under way when it is
# the other's turn.

# %%
batches = Batches(len(dataset), BATCH, comm.rank, comm.size, seed=1)
batch = hep.prepare(dataset.read(batches[0][0]), None)
turns, steps = (5, 2) if SMALL else (20, 5)
activities = ("compute", "send", "wait")
strategies = {
    "overlapped": build(comm, seed=1),
    "afterwards": build(comm, seed=1, kind=Afterwards),
}
spent = {name: [] for name in strategies}
for turn in range(turns + 1):  # the first one allocates memory
    for name in sorted(strategies, reverse=turn % 2 == 1):  # nobody is always the first
        strategy = strategies[name]
        comm.Barrier()
        strategy.stopwatch.restart()
        for _ in range(steps):
            strategy.step([batch])
        with strategy.stopwatch("compute"):  # but for the waits inside, which have their own name
            strategy.gather()
        if turn:
            spent[name].append([strategy.stopwatch.seconds[part] / steps for part in activities])

# %%
for name, rows in spent.items():
    step_time = on_every_rank(1e3 * np.median(np.sum(rows, axis=1)))
    parts = np.stack([on_every_rank(1e3 * part) for part in np.median(rows, axis=0)])
    spent[name] = parts
    say(f"{name}: a step takes {step_time.max():.1f} ms")
    for part, of_ranks in zip(activities[1:], parts[1:], strict=True):
        say(f"            share of {part}, by rank: {(100 * of_ranks / step_time).round(1)} %")

# %%
if comm.rank == 0:
    figure = Figure(figsize=(7, 1.6 + 0.5 * comm.size), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for panel, (name, parts) in zip(panels, spent.items(), strict=True):
        left = np.zeros(comm.size)
        for part, widths in zip(activities, parts, strict=True):
            panel.barh(range(comm.size), widths, left=left, color=COLOURS[part], label=part)
            left += widths
        panel.set(title=name, xlabel="milliseconds a step", yticks=range(comm.size))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("rank")
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside upper center", ncols=3)
    show(figure, "04_step")

# %% [markdown]
# A rank waits for two reasons: messages take their time, and others are late. Overlap hides the
# first; against the second it is powerless, and in a synchronous step the slowest rank sets the
# pace for all. With P ranks that are late now and then, the chance that *somebody* is late grows
# with P. This, and the large batches that come with many ranks, is why the paper divides its
# thousands of nodes into groups that do not wait for each other (section III).
#
# On one machine, with messages of kilobytes, there is little to hide, and overlap is not free: the
# additions inside a reduction are done by the same core, in the middle of backward, where they
# count as *send*. So do not be surprised if the two halves of the picture hardly differ, or differ
# the other way round when the page is run again: it is mostly the operating system that decides
# which rank is late. `benchmarks/overlap.py` compares larger networks, and repeats more often.
#
# ## Without this page
#
# All of it is one flag away. The same command trains on one rank or on many:
#
#     minidl train hep --data train.h5
#     mpiexec -n 2 minidl train hep --data train.h5
#
# ## Exercises
#
# 1. Run the comparison of `train` in single precision. How far apart are the parameters after 10
#    updates, and why more than the last digit of one number?
# 2. Write an all-reduce that lets rank 0 collect, add and send (`Recv` and `Send` in a loop). Add
#    it to `ways`. From how many ranks on is it slower than the ring, for short and for long
#    vectors?
# 3. Let rank 1 sleep for 50 ms in every tenth step. What share of their time do the others wait?
#    And if every rank sleeps, each in a tenth of the steps chosen at random?
#
# ## What to read next
#
# `minidl/parallel/sync.py` as a whole, with the picture at its top; `minidl/objective.py` (the sums
# over batches); `minidl/parallel/__init__.py` (what a strategy is, and how nobody is left waiting)
# and `agreement.py` (ranks that stop together); `Batches` in `minidl/data.py`; and
# `benchmarks/ranks.py`, which measures how much faster two ranks are than one.
