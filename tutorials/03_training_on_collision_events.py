# %% [markdown]
# # 3. Training on collision events
#
# Pages 1 and 2 had layers and derivatives, but nothing to learn. This page adds a problem, data, a
# loss and an optimiser, puts them into a loop of ten lines, and then leaves the loop to the
# library. At the end the network competes with a physicist.
#
# The first run simulates the events, which takes longer than everything else on this page; pages 3
# and 4 then find them in `tutorials/output/`. For that, `pip install 'minidl[hep]'`.

# %%
import json

import h5py
import numpy as np
from matplotlib.figure import Figure
from page import OUTPUT, SMALL, events, minidl, show

from minidl import checkpoint
from minidl.data import Batches, Dataset
from minidl.model import Model
from minidl.optim import Adam
from minidl.runs.evaluate import outputs
from minidl.runs.plot import smooth
from minidl.threads import use_threads
from minidl_models import hep
from minidl_models.hep import evaluation

use_threads(1)

# %% [markdown]
# ## The problem
#
# Two protons collide at 13 TeV. Nearly always, quarks and gluons inside them scatter off each other
# and leave as a few *jets*, narrow sprays of particles: quantum chromodynamics, QCD, well known and
# here the **background**. The **signal** is a hypothesis: that there are gluinos, heavy partners of
# the gluons, made in pairs and decaying to ten quarks in all. Such events have more jets, and
# heavier ones. Whether an event is signal or background is to be told from what the detector saw.
#
# The events on this page are **simulated**: no detector recorded them. The collisions come from
# Pythia 8, the detector is a fast simulation in the manner of Delphes
# (`models/hep/collisions.py`, `detector.py`). They follow the recipe of the paper, *Deep Learning
# at 15PF*, section II, whose own events these are not, and there are far fewer of them.

# %%
training, test = events("train"), events("test")
with h5py.File(test) as file:
    columns = {name: file[name][:] for name in ("label", "weight", "psr", "jets", "mass_sum")}
    images = file["data"][:200]
    sections = {key: value for key, value in file.attrs.items() if key.startswith("cross")}
signal = columns["label"] == 1
print(f"{len(signal)} events to test on, {signal.sum()} of them signal; images {images.shape[1:]}")
for key, value in sections.items():
    print(f"{key}: {value:.3g}")

# %% [markdown]
# A file holds as many signal as background events, since a network learns best from both. Nature
# does not: the cross-section, the measure of how often something happens, differs by six orders of
# magnitude. Each event therefore carries a `weight`, the number of such events that one expects in
# the data of a whole period (36 inverse femtobarn). Even after a *preselection*, which keeps only
# events with at least three large jets and a leading one above 440 GeV, background dwarfs signal:

# %%
for name, kind in (("signal", signal), ("background", ~signal)):
    weight = columns["weight"][kind].astype(float)
    effective = weight.sum() ** 2 / (weight**2).sum()
    print(f"{name:10}: {weight.sum():11,.0f} expected; as telling as {effective:.0f} equal events")

# %% [markdown]
# The last figure, (sum of w)² / (sum of w²), tells how many events of equal weight would know a
# share as well. It is small for background, because a few events of large weight count for most.
#
# ## What the detector saw
#
# Unroll the detector's cylinder: one axis along the beam (eta, the pseudorapidity), one around it
# (the angle phi). Each pixel has three channels: transverse energy in the electromagnetic and in
# the hadronic calorimeter, and the number of charged tracks.

# %%
figure = Figure(figsize=(9, 5.2), layout="constrained")
panels = figure.subplots(2, 4, sharex=True, sharey=True)
for row, (name, kind) in zip(panels, (("signal", signal), ("background", ~signal)), strict=True):
    for panel, event in zip(row, np.flatnonzero(kind[: len(images)]), strict=False):
        energy = images[event, 0] + images[event, 1]
        drawn = panel.imshow(
            np.log10(np.maximum(energy, 1)), cmap="magma_r", vmin=0, vmax=2.5, aspect="auto",
            extent=(-np.pi, np.pi, 2.5, -2.5), interpolation="nearest",
        )  # fmt: skip
        jets, mass = columns["jets"][event], columns["mass_sum"][event]
        panel.set_title(f"{name}: {jets} jets, {mass:.0f} GeV", fontsize=8)
for panel in panels[-1]:
    panel.set_xlabel("phi")
for panel in panels[:, 0]:
    panel.set_ylabel("eta")
bar = figure.colorbar(drawn, ax=panels, shrink=0.8)
bar.set_label("log10 of transverse energy (GeV)")
show(figure, "03_events")

# %% [markdown]
# Above are four signal events, below four of the background; the titles give the number of large
# jets and the sum of the leading ones' masses. Signal tends to have its energy in more places, but
# for a single event nobody would swear to it. Note how empty the images are, and that the left edge
# touches the right one: phi is an angle, and the two edges are the same line.
#
# ## The network
#
# The paper's network has five convolutions of 3 x 3, with the maximum of 2 x 2 pixels after the
# first four, then the mean over the image, then one linear layer with two outputs. There it has 128
# filters a layer; here, for a small machine, fewer.

# %%
WIDTH = 8 if SMALL else 32
size = images.shape[-1]
minidl("summary", "hep", "--size", size, "--width", WIDTH)

# %% [markdown]
# Compare the columns: the first two convolutions do most of the work, since their images are large,
# with less than half of the parameters. And since the network ends with a mean over the image, the
# same parameters serve images of any size.
#
# ## The loop
#
# Everything that learns from batches does this, and nothing more:
#
# 1. take the next batch; turn it into what the network expects (`hep.prepare` takes the logarithm
#    of the energies, and turns and mirrors the event at random, which changes no physics);
# 2. forward: what does the network say?
# 3. the loss: how wrong is that, and how does it change with each output (`dy`)?
# 4. backward: how does it change with each parameter?
# 5. the optimiser moves every parameter a little. Adam's step is about the learning rate, whatever
#    the gradient's scale; it holds two numbers a parameter to know it (`minidl/optim.py`).

# %%
BATCH = 8 if SMALL else 32
dataset = Dataset([training], hep.FIELDS)
batches = Batches(len(dataset), BATCH, rank=0, size=1, seed=1)
network = hep.network(hep.shape(dataset), np.random.default_rng(1), width=WIDTH)
optimizers = [Adam(layer.parameters, learning_rate=1e-3) for layer in network.layers()]

losses = []
for iteration in range(batches.per_epoch):
    indices, chances = batches[iteration]
    x, label = hep.prepare(dataset.read(indices), chances)
    output = network.forward(x)
    loss, dy = hep.loss(output, label)
    network.backward(dy)
    for layer, optimizer in zip(network.layers(), optimizers, strict=True):
        optimizer.step(layer.gradient)
    losses.append(loss)

tenth = max(1, len(losses) // 10)
print(f"{len(losses)} updates of {BATCH} events: once through the data, one epoch")
print(f"loss: first tenth {np.mean(losses[:tenth]):.3f}, last tenth {np.mean(losses[-tenth:]):.3f}")
print(f"a coin would have {np.log(2):.3f}")

# %% [markdown]
# The loss is the *cross-entropy*: minus the logarithm of the probability that the network gave to
# the right answer, on average. Who says "one half" to everything has log 2.
#
# That is the whole of training on one rank. What is missing is comfort: a log, validation,
# checkpoints, reading ahead while the network computes, clear errors. `minidl train` adds these
# around the same steps (`minidl/train.py`), and with the same seed it takes the same events in the
# same order:

# %%
EPOCHS = 2 if SMALL else 5
run = OUTPUT / "03_run"
minidl(
    "train", "hep", "--data", training, "--validation", test, "--epochs", EPOCHS,
    "--batch-size", BATCH, "--width", WIDTH, "--seed", 1, "--out", run, "--overwrite",
)  # fmt: skip

# %%
log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
logged = np.array([event["loss"] for event in log if event["event"] == "iteration"])
difference = np.abs(logged[: len(losses)] - losses).max()
print(f"largest difference between the page's losses and minidl train's: {difference:.0e}")

# %%
checks = [event for event in log if event["event"] == "validation"]
figure = Figure(figsize=(7.5, 4), layout="constrained")
panel = figure.subplots()
epochs = np.arange(1, len(logged) + 1) / batches.per_epoch
panel.plot(epochs, logged, color="#0072B2", alpha=0.25, linewidth=0.7, label="each batch")
panel.plot(epochs, smooth(logged, 20), color="#0072B2", linewidth=2, label="mean of 20 batches")
at = [event["iteration"] / batches.per_epoch for event in checks]
panel.plot(at, [event["loss"] for event in checks], "o", color="#D55E00", label="test events")
panel.axhline(np.log(2), color="0.6", linestyle=":")
panel.text(epochs[-1], np.log(2), "a coin", ha="right", va="bottom", color="0.4")
panel.set(xlabel="epoch", ylabel="loss", ylim=(0, 0.9), xlim=(0, EPOCHS * 1.02))
panel.legend(frameon=False)
panel.spines[["top", "right"]].set_visible(False)
show(figure, "03_loss")

# %% [markdown]
# The batches scatter, since each is a small sample; their mean falls quickly at first, then slowly.
# The test events, which the network never learns from, show whether it learns the problem or the
# events by heart: their loss would turn and rise. (Whoever stops at the best test loss has used the
# test events to choose, and needs a third set to report.)
#
# ## Against the physicist's cuts
#
# The classical way is to think of numbers that tell signal from background, and to cut on them. The
# cuts that the paper compares with ask for four large jets with a mass sum above 800 GeV, or five
# with 600 GeV, and for leading jets that are close in eta (`models/hep/selection.py`). The
# file's flag `psr` says who passes.
#
# A selection has two figures: its *efficiency*, the share of signal that it keeps, and its
# *background rate*, the share of background that it keeps too. The network gives a score, and every
# threshold on it is a selection; all thresholds together are a curve, the receiver operating
# characteristic (ROC). Sort the events by their score, and add up:

# %%
testing = Dataset([test], hep.FIELDS)
checkpoint.load(run / "checkpoint.h5", network)
figures = {}
batches = outputs(network, Model(hep), testing, 64, figures)
output = np.concatenate([logits.copy() for logits, _ in batches])
print(f"accuracy {figures['accuracy']:.3f}")

weight = columns["weight"].astype(float)
score = (output[:, 1] - output[:, 0]).astype(float)
order = np.argsort(-score)
efficiency = np.cumsum((weight * signal)[order]) / weight[signal].sum()
background = np.cumsum((weight * ~signal)[order]) / weight[~signal].sum()

rates, efficiencies = evaluation.roc(score, columns["label"], weight)
print(f"area under the curve: {np.trapezoid(efficiency, background):.4f}")
print(f"the library's:        {evaluation.area(rates, efficiencies):.4f}")

# %%
cuts = columns["psr"] == 1
cut_rate, cut_efficiency = evaluation.working_point(cuts, columns["label"], weight)
same_rate = evaluation.efficiency_at(cut_rate, rates, efficiencies)
print(f"cuts:    efficiency {cut_efficiency:.2f}, background rate {cut_rate:.1e}")
print(f"network: efficiency {same_rate:.2f} at that rate")
print(f"background events that the cuts keep: {np.sum(cuts & ~signal)} of {np.sum(~signal)}")

# %%
tenth_event = background[np.searchsorted(np.cumsum(~signal[order]), min(10, np.sum(~signal)))]
figure = Figure(figsize=(6.5, 4.5), layout="constrained")
panel = figure.subplots()
panel.step(background, efficiency, where="post", color="#0072B2", label="network")
panel.plot(cut_rate, cut_efficiency, "s", color="#D55E00", markersize=9, label="cuts")
left = min(background[background > 0][0], cut_rate or 1) / 2
panel.set(xscale="log", xlim=(left, 1.2))
panel.axvspan(left, tenth_event, color="0.92", zorder=0)
panel.text(0.02, 0.02, "fewer than 10 background events", transform=panel.transAxes, color="0.4")
panel.set(xlabel="background rate", ylabel="signal efficiency", ylim=(0, 1.02))
panel.legend(frameon=False, loc="center right")
panel.spines[["top", "right"]].set_visible(False)
show(figure, "03_roc")

# %% [markdown]
# Up is good, left is good. At the background rate of the cuts, the network keeps more of the
# signal. But in the grey region the curve is a guess: fewer than ten simulated background events
# are left there, and that is where the cuts are, too. To speak about a rate of one in ten thousand
# takes far more than ten thousand background events. The paper had millions, and reports 72 %
# against 42 %. `minidl evaluate` does this section in one line, with errors:

# %%
minidl("evaluate", run, "--data", test)

# %% [markdown]
# ## Exercises
#
# 1. Replace Adam in the loop by `SGD` with momentum 0.9. Which learning rate makes it as good?
# 2. Leave `chances` out (`hep.prepare(samples, None)`): no more turning and mirroring. Train for 20
#    epochs, with and without. What happens to the two losses?
# 3. Score the test events by `mass_sum` alone, and add that curve to the picture. How much of the
#    network's advantage is left?
#
# ## What to read next
#
# `models/hep/__init__.py`, the whole of what a problem has to say about itself, and
# `models/hep/network.py`; then `minidl/losses.py`, `minidl/optim.py`, `minidl/data.py` (how files
# become batches) and `minidl/train.py` (the loop again, with everything around it). Page 4,
# `04_the_same_on_many_ranks.py`, runs the same training on several processes at once.
