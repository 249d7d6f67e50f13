# %% [markdown]
# # 8. Every order in which it can happen
#
# On page 7 a clock decided what happens next on a cluster that does not exist, and the question was
# when. This page takes the clock away: whoever runs the cluster *chooses* which message comes next.
# And who can choose can choose everything that is possible, one after the other. The question is no
# longer how fast a strategy is but whether it is right, in every order.
#
#     python tutorials/08_every_order.py
#
# One process and one core are enough, but for the last section, which starts three ranks.

# %%
import ast
import inspect
import math
import shutil
import subprocess
import sys
from collections import Counter
from functools import partial
from itertools import islice
from types import SimpleNamespace

import h5py
import numpy as np
from matplotlib.figure import Figure
from page import OUTPUT, ROOT, SMALL, minidl, mpiexec, show

from minidl import record
from minidl.optim import SGD
from minidl.parallel import async_ps
from minidl.parallel.served import ServedLayer
from minidl.parallel.server import LEAVING
from minidl.parallel.virtual import VirtualCluster, explore, promises
from minidl.parallel.virtual.promises import Case, run, train

sys.path.insert(0, str(ROOT / "tests" / "parallel"))
import broken

# %% [markdown]
# ## A bug that hides
#
# With `--staleness-bound`, a server holds back the gradients of a group that ran ahead of the
# others (page 5). It has to look at them again whenever something changes: when another gradient
# is applied, and when a group has left, for which nobody has to wait any more. Here is a server
# that forgets the second:


# %%
class ForgetsTheHeld(ServedLayer):
    def leave(self, group):
        del self.reading[group]
        return []  # ServedLayer: return self._apply()


ITERATIONS, BOUND = (4, 2) if SMALL else (5, 3)
strategy = broken.serving(ForgetsTheHeld, async_ps.Strategy)
hiding = Case(
    "async",
    groups=2,
    servers=1,
    layers=1,
    iterations=ITERATIONS,
    staleness_bound=BOUND,
    modules={"async": SimpleNamespace(Strategy=strategy)},
)

# %% [markdown]
# A `Case` is a training so small that it can be checked in full: here two workers, one server, one
# layer of one number. `run` trains it on a virtual cluster. Let us test as one tests: run it often.
# Both workers are about equally fast, and each message comes when its sender has computed.


# %%
def by_the_clock(generator):
    """Let the message come first that its sender is ready with first."""
    due = {}  # by sender

    def choose(options):
        for _, sender, _ in options:
            due.setdefault(sender, generator.uniform(0.9, 1.1))
        first = min(range(len(options)), key=lambda number: due[options[number][1]])
        due[options[first][1]] += generator.uniform(0.9, 1.1)
        return first

    return choose


def failure(case, choose):
    """What is noticed in one schedule, or None."""
    try:
        run(case, choose)
    except (AssertionError, KeyError, RuntimeError) as error:
        return error
    return None


RUNS = 200 if SMALL else 1000
failed = [failure(hiding, by_the_clock(np.random.default_rng(seed))) for seed in range(RUNS)]
print(f"runs by the clock: {RUNS}, of which failed: {RUNS - failed.count(None)}")

# %% [markdown]
# All is well, one would say. It is not; and this is why asynchronous code is hard to test. What it
# does depends on who comes first, and a test on one machine sees the few orders that this machine
# likes. The others come on ten thousand ranks, when one of them is slow for once; and when one
# looks, they do not come again. Now all orders, by a function that the rest of this page is about:

# %%
outcomes = list(explore(partial(failure, hiding)))
bad = [place for place, error in enumerate(outcomes, start=1) if error]
print(f"orders: {len(outcomes)}, of which failed: {len(bad)}; the first of them: {bad[0]}")
print(str(outcomes[bad[0] - 1]).replace(f"{ROOT}/", ""))

# %% [markdown]
# One worker has ended and left. The server still holds a gradient of the other, which waits for an
# answer that never comes.
#
# ## A chooser instead of a clock
#
# What can differ between two runs of the same program? Not what a rank computes. Not a message that
# it awaits from one certain rank: it waits until that is there, however long. Not a reduce or a
# broadcast. (`Test` asks whether something is complete by now. In the strategies this decides when
# a message leaves, not what is in it.) One thing is left: a server awaits a message from *anybody*,
# and takes what comes first.
#
# So `VirtualCluster(ranks, choose=...)` lets every rank run until it can go no further. Then some
# servers wait for a message from anybody, and some messages are there. Each pair of the two is an
# *option*: (who receives, from whom, with which tag). The chooser returns the number of one; that
# message comes, and on it goes. The smallest asynchronous training: ranks 0 and 1 are workers, rank
# 2 is the server of one layer, and two iterations are made. The page picks:

# %%
smallest = Case("async", groups=2, servers=1, layers=1, iterations=2)


def words(option):
    receiver, sender, tag = option
    return f"{sender}->{receiver} " + ("leaves" if tag == LEAVING else f"layer {tag}")


def picking(picks, tell=lambda line: None):
    """Pick these options, one after the other; the first ones when there are no more picks."""
    rest = iter(picks)

    def choose(options):
        pick = min(next(rest, 0), len(options) - 1)
        tell(f"  {' or '.join(map(words, options)):34} picked: {words(options[pick])}")
        return pick

    return choose


def network(picks, tell=lambda line: None):
    told = VirtualCluster(3, choose=picking(picks, tell)).run(partial(train, smallest))
    server = told[2]
    tell("  (layer, group, read, made): " + " ".join(map(str, server.updates)))
    tell(f"  the layer in the end: {server.final[0]}")
    return server.final[0]


for picks in ([0, 1, 0, 1], [1, 1, 0, 0]):
    print(f"picks {picks}:")
    network(picks, print)
same = network([0, 1, 0, 1]).tobytes() == network([0, 1, 0, 1]).tobytes()
other = network([0, 1, 0, 1]).tobytes() == network([1, 1, 0, 0]).tobytes()
print(f"the same picks, the same bits: {same}")
print(f"other picks, the same bits: {other}")

# %% [markdown]
# Where there is one option, there is nothing to choose: a worker sends its next gradient when it
# has the answer to the last. A list of picks is a *schedule*. It is all that there was of chance,
# so whatever goes wrong in a schedule goes wrong again, as often as one likes, under a debugger.
#
# ## What is promised
#
# A run that ends is not yet a run that is right. Each layer of a case has the loss
# |parameters - target|² / 2, with a target of its own for each rank and iteration, and notes which
# parameters each forward pass used. Afterwards `minidl/parallel/virtual/promises.py` takes the
# updates that the servers recorded and makes them once more by hand. It checks that:

# %%
calls = [
    node for node in ast.walk(ast.parse(inspect.getsource(promises))) if type(node) is ast.Call
]
for call in sorted(calls, key=lambda call: call.lineno):
    if getattr(call.func, "id", "") == "promise":
        print(f"- {call.args[1].value}")

# %% [markdown]
# The first ones are about ranks that should have the same; those in the middle say that a strategy
# is what its record says, to the bit; the last two, that nobody is made to wait. What MPI forbids
# is noticed by the cluster itself: deadlocks, messages that nobody receives, collective calls that
# do not match, buffers that change while they travel. `run` raises an error if a promise is broken:

# %%
told = run(Case("hybrid", groups=2, group_size=2, servers=1), picking([1, 0, 1, 1, 0]))
for rank, row in enumerate(told):
    print(f"rank {rank}: losses {row.losses}, final {[layer.tolist() for layer in row.final]}")

# %% [markdown]
# ## Every schedule
#
# The simplest way to all schedules is to count: take the first option everywhere; then go back to
# the last point at which another one was left, take that, and go on from there.


# %%
def every_choice(run):
    """Run a program once for each list of picks; yield what each run returns."""
    picks = []
    while True:
        counts = []  # of options, at each point

        def choose(options, counts=counts):
            counts.append(len(options))
            if len(counts) > len(picks):
                picks.append(0)
            return picks[len(counts) - 1]

        yield run(choose)
        while picks and picks[-1] + 1 == counts[len(picks) - 1]:
            picks.pop()
        if not picks:
            return
        picks[-1] += 1


def arrivals(case, choose):
    """For each server, from whom and with which tag its messages came."""
    came = {}

    def note(options):
        pick = choose(options)
        receiver, *message = options[pick]
        came.setdefault(receiver, []).append(message)
        return pick

    run(case, note)
    return str(sorted(came.items()))


for servers in (1, 2):
    case = Case("async", groups=2, servers=servers, layers=2, iterations=1)
    naive = list(every_choice(partial(arrivals, case)))
    explored = list(explore(partial(arrivals, case)))
    print(
        f"servers: {servers}; lists of picks: {len(naive)}, in which the servers see "
        f"{len(set(naive))} different things; schedules by explore: {len(explored)}, "
        f"the same things: {set(explored) == set(naive)}"
    )

# %% [markdown]
# With one server, each list of picks is another order at that server. With two, most lists are
# repetitions. If a message comes at one server and then one at the other, neither server can tell
# whether it was the other way round: the cluster is in the same state after both. What can matter
# is in which order *one* server sees its messages. Here each of two servers sees two messages of
# each of two groups: 6 orders, and 6 x 6 = 36 pairs of them. (Two of the 36 are impossible: group
# 0 cannot have left one server before group 1 had sent there, if group 1 had left the other one
# before group 0 had sent there.)
#
# To try only one of all lists that differ in such exchanges is called *partial-order reduction*.
# `explore` does it with *sleep sets* (P. Godefroid, 1996). Say that at some point the options are
# a, at one server, and b, at another. First everything that begins with a is run, also what goes
# on with b. Then it is b's turn, and a is put to sleep: all that begins with b, a is known already
# as a, b. An option wakes up when something comes at its own server, for then it is a new story.
# If all options are asleep, the run is broken off: nothing new is on this way.

# %%
source = inspect.getsource(sys.modules["minidl.parallel.virtual.explore"].still_asleep)
print(source)

# %% [markdown]
# How many schedules there are, in how many different orders they apply gradients, and with how many
# different networks they end:


# %%
def counts(case):
    told = list(explore(partial(run, case)))
    orders = {str(sorted(row for rank in ranks for row in rank.updates)) for ranks in told}
    finals = {b"".join(layer.tobytes() for layer in ranks[0].final) for ranks in told}
    return len(told), len(orders), len(finals)


CASES = [(1, 1, 1, 4), (2, 1, 1, 1), (2, 1, 1, 2), (2, 1, 1, 3), (2, 1, 2, 2), (2, 2, 2, 1),
         (3, 1, 1, 1)]  # fmt: skip
if not SMALL:
    CASES += [(2, 2, 2, 2), (2, 1, 1, 4), (2, 1, 1, 5), (3, 1, 1, 2), (4, 1, 1, 1)]
counted = {}
print("groups  servers  layers  iterations  schedules  orders  networks")
for row in CASES:
    groups, servers, layers, iterations = row
    counted[row], orders, networks = counts(
        Case("async", groups=groups, servers=servers, layers=layers, iterations=iterations)
    )
    print(
        f"{groups:6}  {servers:7}  {layers:6}  {iterations:10}  "
        f"{counted[row]:9}  {orders:6}  {networks:8}"
    )

# %% [markdown]
# Each of them has been run, with all promises checked. One group has one schedule: it is serial.
# With one iteration there is one network only, since all gradients are of version 0 and the updates
# of plain SGD add up. (That they do so to the bit is owed to the targets, whose sums are exact.)
# From the second iteration on, it matters who came first.
#
# There are fewer orders of gradients than schedules, since a schedule also says when a server hears
# that a group has left. To a server that is right this is all the same. But whether it is right is
# the question: `GoesBackWhenAGroupLeaves`, further down, is wrong in just those schedules in which
# a group leaves late.
#
# For one server and one layer the number is known. Each of G groups sends n gradients and a last
# word, in this order; what is free is how the groups are shuffled together:


# %%
def shuffles(groups, iterations):
    return math.factorial(groups * (iterations + 1)) // math.factorial(iterations + 1) ** groups


alone = {row: count for row, count in counted.items() if row[1:3] == (1, 1)}
agree = all(shuffles(row[0], row[3]) == count for row, count in alone.items())
print(f"the formula agrees with all that was counted: {agree}")
print(f"4 groups, 10 iterations: {shuffles(4, 10):.1e} schedules")

# %%
figure = Figure(figsize=(6, 3.4), layout="constrained")
axes = figure.subplots()
steps = range(1, 11)
for groups, color in ((2, "#0072B2"), (3, "#D55E00"), (4, "#009E73")):
    axes.plot(steps, [shuffles(groups, n) for n in steps], color=color, label=f"{groups} groups")
    points = [(row[3], count) for row, count in alone.items() if row[0] == groups]
    if points:
        axes.plot(*zip(*points, strict=True), "o", color=color)
axes.plot([], [], "o", color="#666666", label="all of them run")
axes.set(yscale="log", xlabel="iterations", ylabel="schedules", title="One server, one layer")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
show(figure, "08_growth")

# %% [markdown]
# So it is for small cases only. There is hope that small ones suffice: of 105 bugs found in large
# concurrent programs, nearly all needed no more than two threads, and an order of no more than four
# accesses (S. Lu et al., *Learning from Mistakes*, 2008). For larger cases
# `tests/parallel/test_virtual.py` lets Hypothesis choose at random, and shorten what fails.
#
# There is a command for it, with a case in flags:

# %%
minidl("explore", "--strategy", "hybrid", "--group-size", 2, "--servers", 1, "--iterations", 1)

# %% [markdown]
# ## The gallery of broken strategies
#
# Who watches the watchman? `tests/parallel/broken.py` has strategies that are broken on purpose, as
# one breaks them by accident, and a test asks that each is noticed. Who notices, at the first:

# %%
MOST = 84  # characters of each
for name, case in broken.BROKEN.items():
    text = broken.noticed(case).replace(f"{ROOT}/", "")
    print(f"{name:28} {text if len(text) <= MOST else text[:MOST] + ' ...'}")

# %% [markdown]
# Promises, what MPI forbids, a check in `served.py`, and Python's own errors: a server is asked for
# a layer that it does not hold. How soon were they noticed, and in how many orders? (Of the first
# schedules only; some have thousands.)

# %%
LIMIT = 60 if SMALL else 300


def schedules(case):
    """Yield each schedule as (the messages in their order, what was noticed or None)."""

    def attempt(choose):
        came = []

        def note(options):
            pick = choose(options)
            came.append(options[pick])
            return pick

        return came, failure(case, note)

    return explore(attempt)


shy = {}
for name, case in broken.BROKEN.items():
    fails = [error is not None for _, error in islice(schedules(case), LIMIT)]
    if not all(fails):
        shy[name] = fails
print(f"fail in every schedule: {len(broken.BROKEN) - len(shy)} of {len(broken.BROKEN)}")
for name, fails in shy.items():
    first = fails.index(True) + 1 if any(fails) else "none"
    print(f"{name}: fails in {sum(fails)} of {len(fails)} schedules; the first is {first}")

# %% [markdown]
# Most mistakes are seen in any order: one run with all promises checked would do. This is owed to
# the targets, too. If both layers were pulled to the same one, then as long as they have seen the
# same updates, `SendsTheLastLayersGradient` would send the right numbers. Look at a mistake that is
# not seen in any order, and that the first schedule does not show:

# %%
print(inspect.getsource(broken.GoesBackWhenAGroupLeaves))


# %%
def smallest_failing(case, most=200):
    """Print the shortest of the first schedules that fail, and what was noticed."""
    failing = [(came, error) for came, error in islice(schedules(case), most) if error]
    came, error = min(failing, key=lambda pair: len(pair[0]))
    for option in came:
        print(f"  {words(option)}")
    print(f"{type(error).__name__}: {error}".replace(f"{ROOT}/", ""))


smallest_failing(broken.BROKEN["GoesBackWhenAGroupLeaves"])

# %% [markdown]
# When a group leaves, this server tidies up: it restores the parameters that it sent this group
# last. If no gradient came since, they are what the parameters are anyway. A group leaves as soon
# as it has its last answer, and mostly there is nobody in between. Where somebody is, the updates
# of others are lost, and the network in the end is not the one that the record says.
#
# Another one:

# %%
print(inspect.getsource(broken.IgnoresItsBound))
print(f"its case: {broken.BROKEN['IgnoresItsBound']}")
smallest_failing(broken.BROKEN["IgnoresItsBound"])

# %% [markdown]
# It does not fail: it trains, and well perhaps, only not as it was asked to. Such mistakes are
# found by those who wrote down what was promised. What is printed is the whole schedule, since
# promises are checked when a run has ended. Some group's gradient waited while the others made more
# than two updates; the bound was 2.
#
# ## A deadlock is told as a story
#
# Three ranks, each of which first receives from the next one, and then sends:


# %%
def polite(comm):
    received = np.empty(1)
    comm.Recv(received, (comm.rank + 1) % comm.size)
    comm.Send(np.ones(1), (comm.rank - 1) % comm.size)


def outcome_of(function):
    """Print the error of a call, if it ends with one."""
    try:
        function()
    except RuntimeError as error:
        print(str(error).replace(f"{ROOT}/", ""))


outcome_of(lambda: VirtualCluster(3).run(polite))

# %% [markdown]
# With `mpiexec` this program prints nothing, forever. Here nobody can go on, and the cluster knows:
# it says who waits for whom, and on which line. (`Sendrecv`, or a rank that sends first, would do.)
#
# Page 5 said that a bound on staleness must be at least G - 1. Why? All G groups compute on version
# 0. Whatever the order in which their gradients are applied, the last one is G - 1 updates stale.
# A server that keeps a smaller bound can apply none of them, since it could not keep its word:

# %%
held = ServedLayer(0, SGD(np.zeros(1), learning_rate=0.5), groups=3, staleness_bound=1)
for group in range(3):
    answered = held.receive(group)
    print(f"gradient of group {group}: answered {answered}, held {held.held}")

# %% [markdown]
# As a training, this is a deadlock in every order. The server waits for a message from anybody,
# and everybody waits for the server:

# %%
too_tight = Case("async", groups=3, servers=1, layers=1, staleness_bound=1)
outcome_of(lambda: run(too_tight))
kinds = Counter(str(error).splitlines()[0] for _, error in schedules(too_tight))
for line, count in kinds.items():
    print(f"{count} schedules: {line}")
stalest = 0
for told in explore(partial(run, Case("async", 3, 1, 1, 1, 1, staleness_bound=2))):
    stalest = max(stalest, *(made - 1 - read for _, _, read, made in told[3].updates))
print(f"with bound 2 all schedules end; the stalest update is {stalest} updates stale")

# %% [markdown]
# So the command refuses such a bound before it begins:


# %%
def refused(*arguments):
    try:
        minidl(*arguments)
    except subprocess.CalledProcessError as error:
        print(f"ended with status {error.returncode}")


refused("explore", "--groups", 3, "--staleness-bound", 1)

# %% [markdown]
# ## The order that a real run had
#
# A real run cannot be made to choose. But it writes down what came first: `record.h5` has every
# update of every layer, with the group whose gradient it was. That is its schedule. With the
# settings, the seed and the data, it determines the run; so `minidl replay` computes all gradients
# again, in one process, applies them in the recorded order, and compares the bits with those of the
# checkpoint. A run of two workers and a server, on images that are noise:

# %%
generator = np.random.default_rng(1)
noise = OUTPUT / "08_noise.h5"
with h5py.File(noise, "w") as file:
    file["data"] = generator.standard_normal((40, 3, 16, 16), dtype=np.float32)
    file["label"] = generator.integers(0, 2, 40)
    file["weight"] = np.ones(40, np.float32)
real = OUTPUT / "08_real"
mpiexec(
    3, "minidl", "train", "hep", "--strategy", "async", "--data", noise, "--width", 4,
    "--batch-size", 2, "--iterations", 8, "--optimizer", "sgd", "--learning-rate", 0.01,
    "--out", real, "--overwrite",
)  # fmt: skip
minidl("replay", real)

# %% [markdown]
# Equal to the bit, whatever the order was. This says more than that the order was written down
# correctly: no gradient was lost, and no worker computed on half a message. Those are the promises
# from above, in a run whose size is not limited by the number of schedules: there is only one.
#
# Now let somebody tamper with the record. First, one update is said to be of the other group:


# %%
def tampered(name, change):
    folder = OUTPUT / f"08_{name}"
    shutil.copytree(real, folder, dirs_exist_ok=True)
    with h5py.File(folder / "record.h5", "r+") as file:
        updates = file["updates"][...]
        change(updates)
        file["updates"][...] = updates
    refused("replay", folder)


def other_group(updates):
    updates["group"][10] = 1 - updates["group"][10]


tampered("other_group", other_group)

# %% [markdown]
# That cannot have been, whatever the gradients were: a group computes on the version that it was
# sent last. So, more carefully: exchange two neighbouring updates of one layer, and make all that
# follows fit. Servers would have recorded just this if one message had come a little earlier.

# %%
layers = record.load(real).layers


def exchange(updates):
    (rows,) = np.nonzero(updates["layer"] == len(layers) - 1)
    groups = updates["group"][rows]
    place = np.nonzero(groups[:-1] != groups[1:])[0][0]
    groups[[place, place + 1]] = groups[[place + 1, place]]
    last = [0, 0]
    for row, group in zip(rows, groups, strict=True):
        updates["group"][row], updates["read"][row] = group, last[group]
        last[group] = updates["made"][row]


tampered("exchange", exchange)

# %% [markdown]
# The replay notices it nevertheless. Either no run could have had this order, since the layers
# contradict each other; or it is the order of another run, which led to another network.
#
# ## Exercises
#
# 1. `ForgetsTheHeld` fails in few orders. Print one with `smallest_failing(hiding)`, and say which
#    message has to come late. With a smaller number of iterations it never fails; why?
# 2. Let `DropsTheStale` drop only gradients of staleness 3 or more. Which promise notices it now?
#    In how many schedules, with 2 groups and 3 iterations?
# 3. How many lists of picks does `every_choice` need for 2 groups, 2 servers, 2 layers and 2
#    iterations? Stop it after some minutes. `explore` runs them all in seconds.
# 4. Let `still_asleep` return no option at all, then all of `path[-1].asleep`. Count schedules
#    again. Which of the two changes would a test of working strategies notice?
#
# ## What to read next
#
# `minidl/parallel/virtual/cluster.py`, how ranks run in one process, and how it tells a deadlock;
# `minidl/parallel/virtual/explore.py`, all of the search; `minidl/parallel/virtual/promises.py`,
# the small training and its check. `tests/parallel/test_virtual.py` runs both on many cases, and
# `tests/parallel/broken.py` is the gallery. `minidl/runs/replay.py` and `minidl/runs/order.py` are
# the replay, and what cannot be in a record. The next page,
# `09_three_ways_to_convolve.py`, goes back to a single core, and to what it spends its time on.
