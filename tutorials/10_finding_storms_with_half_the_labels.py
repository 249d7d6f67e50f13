# %% [markdown]
# # 10. Finding storms with half the labels
#
# Page 3 told one kind of image from another. This page asks more of a network: *where* in an image
# is something, what is it, and how large? The images are maps of the weather, the somethings are
# storms, and somebody has to have put boxes around them first. That is dear, so the network is also
# to learn from maps without boxes. The page builds it from its parts, trains it, and judges it.
#
# The first run makes the maps, which takes about a minute; for that,
# `pip install 'minidl[climate]'`.

# %%
import inspect
import json

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from page import OUTPUT, SMALL, minidl, mpiexec, show, weather

from minidl import checkpoint
from minidl.data import Dataset
from minidl.layers import Branches, Conv2d, ConvTranspose2d
from minidl.model import Model
from minidl.run import read_log
from minidl.runs.evaluate import outputs
from minidl.runs.plot import smooth
from minidl.threads import use_threads
from minidl_models import climate
from minidl_models.climate import losses, pictures
from minidl_models.climate.boxes import (
    CONFIDENT,
    Detections,
    decode,
    from_grid,
    overlap,
    suppress,
    to_grid,
    used,
)
from minidl_models.climate.channels import ABBREVIATIONS, CHANNELS, CLASSES
from minidl_models.climate.network import CELL
from minidl_models.climate.precision import RECALLS, average_precision, matched

use_threads(1)

# %% [markdown]
# ## The problem
#
# A climate model computes the weather of decades, every few hours, all over the globe. Will there
# be more typhoons, will they be stronger? The model does not say: it knows winds and pressures, and
# no storms. Somebody has to find them in its output, which is many terabytes.
#
# The maps on this page are **synthetic**: neither observed, nor of a climate model. They show the
# western North Pacific, half a world's typhoons. Tropical storms are where and as strong as real
# ones were at a frame's date; all else is drawn at random, within what physics asks for
# (`models/climate/weather/frame.py`). The layout is that of ExtremeWeather (E. Racah et al., NIPS
# 2017), the public data set of a climate model's output in the paper's lineage: sixteen fields a
# frame, and rows of boxes.

# %%
training, test = weather("train"), weather("test")
dataset = Dataset(training, ("images", "boxes"))
truths = dataset.column("boxes")
size = dataset.shape("images")[1]
print(f"{len(dataset)} synthetic frames of {dataset.shape('images')} to train on")
print(f"boxes: {truths.shape}, in a row ymin, xmin, ymax, xmax, class; unused rows are -1")
for kind, name in enumerate(CLASSES):
    boxes_of = np.sum(truths[..., 4] == kind)
    print(f"class {kind}, {name:21} ({ABBREVIATIONS[kind]}): {boxes_of} boxes")

# %%
kinds = [len(np.unique(used(boxes)[:, 4])) for boxes in truths]
example = int(np.argmax(kinds))  # the first frame with as many kinds of storms as any
fields = dataset.read(np.array([example]))["images"][0]
figure = Figure(figsize=(9, 9.4), layout="constrained")
for panel, channel, field in zip(figure.subplots(4, 4).flat, CHANNELS, fields, strict=True):
    low, high = np.percentile(field, (0.5, 99.5))
    panel.imshow(
        field, vmin=low, vmax=high, origin="lower", extent=(0, size, 0, size),
        interpolation="nearest",
    )  # fmt: skip
    for ymin, xmin, ymax, xmax, _ in used(truths[example]):
        corner, wide, high = (xmin, ymin), xmax - xmin, ymax - ymin
        panel.add_patch(Rectangle(corner, wide, high, fill=False, edgecolor="white"))
    panel.set_title(f"{channel.name}: {channel.meaning}\n({channel.unit})", fontsize=7)
    panel.set(xticks=[], yticks=[])
figure.suptitle("One synthetic frame, sixteen fields, and its boxes", fontsize=11)
show(figure, "10_channels")

# %% [markdown]
# North is up: row 0 is the southernmost. A tropical cyclone is a dot of low pressure with winds
# around it, warm aloft; an extratropical cyclone is a wide low, cold aloft; an atmospheric river a
# band of water vapour, clearest in TMQ; a tropical depression is what may become a tropical
# cyclone, and the faintest of the four.
#
# ## Labels are dear, and rules disagree
#
# Nobody draws boxes around storms by hand in millions of frames. The climate field has *heuristics*
# instead: a tropical cyclone is where the vorticity exceeds a threshold, near a minimum of
# pressure, below a warm core. The public data set's boxes were found by such rules. They can be
# argued about, and are: another group has other thresholds, and finds other storms.
#
# For synthetic frames we know what was put in. So let a detector of such rules
# (`models/climate/heuristics/tropical.py` and its neighbours) look at the same fields, and compare.
# Its boxes are in the files too. A box is right if it overlaps one of the generator's, of its
# class: the area of their intersection, divided by that of their union (IOU), is to be 0.1 or more.

# %%
rules = dataset.column("heuristic")


def agreement(found, true):
    """Of each class: boxes that were put in, that the rules found, and found rightly."""
    rows = []
    for kind in range(len(CLASSES)):
        its, those = (some[some[:, 4] == kind] for some in (used(found), used(true)))
        rows.append((len(those), len(its), matched(its[:, :4], those, 0.1).sum()))
    return np.array(rows)


counts = np.array([agreement(found, true) for found, true in zip(rules, truths, strict=True)])
print("                        put in   found   rightly")
for name, (there, said, right) in zip(CLASSES, counts.sum(axis=0), strict=True):
    print(f"{name:22}: {there:7} {said:7} {right:9}")

# %%
missed, wrong = (counts[:, :, column] - counts[:, :, 2] for column in (0, 1))
most = np.argsort(-(missed + wrong).sum(axis=1), kind="stable")[:2]
figure = Figure(figsize=(9, 5), layout="constrained")
panels = figure.subplots(1, 2)
nothing_found = Detections(np.empty((0, 4)), np.empty(0, int), np.empty(0))
for panel, frame in zip(panels, most, strict=True):
    images = dataset.read(np.array([frame]))["images"][0]
    pictures.draw_map(panel, pictures.Map(images, truths[frame], nothing_found, f"frame {frame}"))
    for box in used(rules[frame]):
        pictures.draw_box(panel, box, pictures.COLOURS[box[4]], "solid")
        pictures.tag(panel, box, ABBREVIATIONS[box[4]], pictures.COLOURS[box[4]], above=False)
    panel.set_axis_off()
figure.suptitle("Put in (white, dashed) and found by rules (coloured)", fontsize=11)
show(figure, "10_rules")

# %% [markdown]
# These are the two frames with most disagreement (the background is water vapour, with isobars).
# The rules miss storms below their thresholds, find some in what is only random flow, take one
# class for another, and draw other boxes around the same storm. Whoever learns from such labels
# learns their mistakes, too (an exercise below).
#
# ## From boxes to cells
#
# A network has outputs of a fixed shape, and a frame has any number of storms. The way out is to
# ask a question of every *place*. Divide the frame into cells of 32 x 32 pixels. Of each cell the
# network says:
#
# - confidence: is the *centre* of a storm in here? (2 numbers: logits of no and yes)
# - class: if so, which? (4 logits)
# - position: where in the cell is the centre? (y and x, 0 to 1)
# - size: height and width, as logarithms to the base 2 of their number of cells.
#
# `to_grid` turns boxes into what should be said, `from_grid` takes them back:

# %%
cells = size // CELL
grid = to_grid(truths[example], cells, cells)
again = from_grid(grid)
for (row, column), box in zip(np.argwhere(grid.object), again, strict=True):
    position, log_size = grid.position[row, column], grid.size[row, column]
    print(
        f"cell ({row}, {column}): class {grid.classes[row, column]}, position {position.round(2)}, "
        f"size {log_size.round(2)}: {2.0 ** log_size[0]:.2f} x {2.0 ** log_size[1]:.2f} cells; "
        f"box {box[:4].round().astype(int)}"
    )
same = overlap(again[:, :4], used(truths[example])).max(axis=1).min()
print(f"there and back, a box overlaps itself by at least {same:.4f}")

grids = [to_grid(boxes, cells, cells) for boxes in truths]
kept = sum(int(grid.object.sum()) for grid in grids)
boxes_there = sum(len(used(boxes)) for boxes in truths)
print(f"{kept} of {boxes_there} boxes have a cell; {kept / len(grids) / cells**2:.1%} of all cells")

# %%
figure = Figure(figsize=(5.6, 5.8), layout="constrained")
panel = figure.subplots()
pictures.draw_map(panel, pictures.Map(fields, truths[example], nothing_found, ""))
for line in range(0, size + 1, CELL):
    panel.axhline(line, color="0.8", linewidth=0.5)
    panel.axvline(line, color="0.8", linewidth=0.5)
for row, column in np.argwhere(grid.object):
    corner = (CELL * column, CELL * row)
    panel.add_patch(Rectangle(corner, CELL, CELL, facecolor="#d55e00", alpha=0.35))
centres = (again[:, :2] + again[:, 2:4]) / 2
panel.plot(centres[:, 1], centres[:, 0], "o", color="#d55e00", markeredgecolor="black")
panel.set_title("Cells, and which of them answer for the boxes", fontsize=10)
panel.set_axis_off()
show(figure, "10_cells")

# %% [markdown]
# A box may be much larger than the cell that answers for it, or much smaller. And a cell has room
# for one: of two storms with their centres in the same cell, one is lost.
#
# ## One encoder, four heads, one decoder
#
# Five convolutions with stride 2 halve the frame five times: this is where the 32 comes from. What
# they arrive at is the *code*, one vector a cell. Four small convolutions, the *heads*, read the
# four answers from it. And five *transposed* convolutions, the *decoder*, double the image five
# times and draw the sixteen fields again, from the code alone.

# %%
WIDTH = 4 if SMALL else 16
minidl("summary", "climate", "--size", size, "--width", WIDTH)

# %% [markdown]
# Heads and decoder are the five children of one `Branches` (`minidl/layers/container.py`). Forward,
# each gets the same code, and the outputs form a tuple. Backward, each sends back how the loss
# changes with the code, and by the chain rule these are added up:

# %%
print(inspect.getsource(Branches.backward))

# %% [markdown]
# That sum is the whole idea of this page. Whatever the encoder learns for the sake of drawing the
# fields, which needs no boxes, is there for the heads to read.
#
# A transposed convolution is nothing new either. Page 2 had `backward` of a convolution: every
# number in `dy` goes, times the weights, to all the pixels that it came from. With stride 2, `dx`
# is twice as large as `dy`. So to make a large image of a small one, take a convolution and use its
# backward as the forward (`minidl/layers/deconv.py`):

# %%
generator = np.random.default_rng(1)
double = {"generator": generator, "dtype": np.float64}
convolution = Conv2d(3, 2, 5, stride=2, padding=2, **double)
transposed = ConvTranspose2d(2, 3, 5, stride=2, padding=2, output_padding=1, **double)
transposed.weight[...] = convolution.weight

dy = generator.standard_normal(convolution.forward(generator.standard_normal((1, 8, 8, 3))).shape)
dx, enlarged = convolution.backward(dy), transposed.forward(dy)
print(f"{dy.shape} -> {enlarged.shape}, against the convolution's dx {dx.shape}: "
      f"largest difference {np.abs(enlarged - dx).max():.0e}")  # fmt: skip

# %% [markdown]
# (`output_padding`: with stride 2, images of 7 and of 8 pixels both become one of 4, so the way
# back has to be told which it is.) How many patches of 5 x 5 fall on a pixel? Let all numbers be
# one:

# %%
ones = ConvTranspose2d(1, 1, 5, stride=2, padding=2, output_padding=1, **double)
ones.weight[...] = 1
print(ones.forward(np.ones((1, 5, 5, 1)))[0, 2:8, 2:8, 0].astype(int))

# %% [markdown]
# Not equally many: 9, 6 or 4, in a pattern. A network can make up for it with its weights, and does
# so roughly; look out for the checkerboard in the reconstructions below.
#
# ## The loss, term by term
#
# Six terms, added up (`models/climate/losses.py`). The first two are cross-entropies of the
# confidence, in cells with and without a storm; class, position and size count in cells with a
# storm only, since a box that does not exist has no size; the last is the squared error of the
# reconstruction. Weights make up for their scales: they are those of the code of ExtremeWeather,
# since the paper does not state its own.
#
# What should they be at the start? Fields are in standard deviations from their means, and the
# outputs start near zero. So P(storm) is 1/2 everywhere, and each of the four classes has 1/4. A
# cell's position is anywhere in it, and the network says 0; of a number d between 0 and 1 the
# distance d²/2 is 1/6 in the mean. And who draws the mean everywhere is off by one standard
# deviation, squared.

# %%
moments = climate.measure(dataset, print)
network = climate.network(climate.shape(dataset), np.random.default_rng(1), width=WIDTH)
some = np.arange(0, len(dataset), max(1, len(dataset) // 16))[:16]
x, target = climate.prepare(dataset.read(some), None, **moments)
output = network.forward(x)
start, dy = climate.loss(output, target)
zeros, _ = climate.loss(tuple(np.zeros_like(part) for part in output), target)

storms = target.object.sum() / len(some)  # a frame
chance = {
    "object": losses.OBJECT * storms * np.log(2),
    "empty": losses.EMPTY * (cells**2 - storms) * np.log(2),
    "class": losses.CLASS * storms * np.log(4),
    "position": losses.POSITION * storms * 2 / 6,
    "reconstruction": losses.RECONSTRUCTION * 1.0,
}
print(f"{len(some)} frames, {storms:.2f} storms a frame")
print("term             at the start   all outputs 0   by hand")
for term, value in start.terms.items():
    by_hand = f"{chance[term]:9.2f}" if term in chance else "        -"
    print(f"{term:15} {value:13.2f} {zeros.terms[term]:15.2f} {by_hand}")
print(f"{'sum':15} {start:13.2f} {zeros:15.2f}")

# %% [markdown]
# The first three by hand are exact, the other two an expectation over all frames; for the size,
# there is nothing to say without the sizes of storms. A network whose loss starts far above such
# numbers has something to unlearn first, and one that never gets below has learnt nothing.
#
# Now take away the labels. A frame without them is not a frame without storms: nobody has looked.
# So it must say nothing about cells at all.

# %%
unlabelled = target._replace(labelled=np.zeros(len(some), np.bool_))
without, dy = climate.loss(network.forward(x), unlabelled)
for (term, value), part in zip(without.terms.items(), start.terms.values(), strict=True):
    print(f"{term:15} {part:8.2f} with labels, {value:8.2f} without")
network.backward(dy)
for layer in network.layers():
    if layer.name in ("conv1", "conv5", "confidence", "classes", "position", "size", "deconv5"):
        print(f"gradient of {layer.name:11}: {np.linalg.norm(layer.gradient):.2e}")

# %% [markdown]
# The heads learn nothing from such frames, the decoder as much as ever, and the encoder what the
# decoder asks of it. This is *semi-supervised* learning: a few frames tell what is a storm, all
# frames tell what weather looks like.
#
# ## Training with half the labels
#
# `--labelled 0.5` takes the boxes away from every other frame or so, always from the same ones. On
# two ranks, each with 4 of the 8 frames of an update:

# %%
EPOCHS, FEW_EPOCHS = (30, 4) if SMALL else (16, 12)
WEIGHT = climate.OPTIONS["reconstruction"]


def train(name, epochs, labelled, reconstruction=WEIGHT):
    """Train on two ranks; return the run's folder."""
    run = OUTPUT / f"10_{name}"
    mpiexec(
        2, "minidl", "train", "climate", "--data", *training, "--labelled", labelled,
        "--reconstruction", reconstruction, "--epochs", epochs, "--width", WIDTH,
        "--batch-size", 4, "--optimizer", "adam", "--learning-rate", 1e-3,
        "--schedule", "cosine", "--out", run, "--overwrite",
    )  # fmt: skip
    return run


half = train("half", EPOCHS, 0.5)

# %%
steps = [event for event in read_log(half) if event["event"] == "iteration"]
epoch = np.arange(1, len(steps) + 1) * EPOCHS / len(steps)
window = max(1, len(steps) // EPOCHS)
figure = Figure(figsize=(7.5, 4.2), layout="constrained")
panel = figure.subplots()
colours = ("#0072B2", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "black")
for term, colour in zip(start.terms, colours, strict=True):
    values = smooth(np.array([step["terms"][term] for step in steps]), window)
    panel.plot(epoch, values, color=colour, label=term)
    print(f"{term:15}: first epoch {values[window - 1]:8.3f}, last {values[-1]:8.3f}")
panel.set(xlabel="epoch", ylabel="term of the loss, weighted", yscale="log", xlim=(0, EPOCHS))
panel.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
panel.spines[["top", "right"]].set_visible(False)
show(figure, "10_terms")

# %% [markdown]
# Each line is a mean over the epoch before. (The first five are means over *all* frames of a batch,
# of which half contribute nothing. So they are half of what a labelled frame has.) First the
# network learns that storms are rare: *empty* falls at once, and *object* may rise, since who says
# "none" everywhere is wrong where there is one. Then it learns where they are.
#
# ## Finding boxes
#
# Take the network, let it look at frames of a year that it was not trained on, and read the boxes
# from the cells whose confidence is above 0.8, the paper's threshold:

# %%
checkpoint.load(half / "checkpoint.h5", network)
testing = Dataset(test, ("images", "boxes"))
test_truths = testing.column("boxes")
judged = Model(climate)
judged.measured = moments
found, unsure = [], []
for output, _ in outputs(network, judged, testing, 8, {}):
    found += decode(output, CONFIDENT)
    unsure += decode(output, climate.LEAST_SCORE)


def count(frames):
    return np.array([len(boxes.scores) for boxes in frames])


def suppressed(frames):
    return [suppress(boxes, climate.SAME_STORM) for boxes in frames]


alone = suppressed(found)
before, after = count(found), count(alone)
print(f"{len(testing)} frames, {sum(len(used(boxes)) for boxes in test_truths)} storms in them")
print(f"P(storm) above {CONFIDENT}: {before.sum()} cells; after suppression {after.sum()} boxes")
print(
    f"P(storm) above {climate.LEAST_SCORE}: {count(unsure).sum()} cells; "
    f"after suppression {count(suppressed(unsure)).sum()} boxes"
)

# %% [markdown]
# What is suppression? A storm near the border of two cells may be claimed by both. *Non-maximum
# suppression* takes the box with the best score, removes all others of its class that overlap it by
# more than 0.3, takes the best that is left, and so on. The lower the threshold, the more it has to
# do. Here is the frame where it removed most above 0.8:


# %%
def draw_maps(frames, boxes_of, titles, name):
    """Some frames of the test year, side by side, with what was put in and what was found."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplots(1, len(frames))
    for panel, frame, boxes, title in zip(panels, frames, boxes_of, titles, strict=True):
        images = testing.read(np.array([frame]))["images"][0]
        pictures.draw_map(panel, pictures.Map(images, test_truths[frame], boxes, title))
        panel.set_axis_off()
    figure.suptitle("Found (coloured, with scores) and put in (white, dashed)", fontsize=11)
    show(figure, name)


crowded = int(np.argmax(before - after))
titles = f"{before[crowded]} cells above {CONFIDENT}", f"{after[crowded]} boxes after suppression"
draw_maps([crowded, crowded], [found[crowded], alone[crowded]], titles, "10_suppression")

# %% [markdown]
# The colours are the classes': blue for extratropical, orange for tropical cyclones, pink for
# depressions, green for rivers. The score is P(storm) times P(class), so it can be below 0.8. And
# the two frames with most storms:

# %%
fullest = np.argsort([-len(used(boxes)) for boxes in test_truths], kind="stable")[:2]
titles = [f"frame {frame}" for frame in fullest]
draw_maps(fullest, [alone[frame] for frame in fullest], titles, "10_found")

# %% [markdown]
# ## How good is that?
#
# A threshold trades one mistake for another: a high one misses storms, a low one finds storms that
# are none. *Average precision* looks at all thresholds. Take the boxes of all frames, best score
# first, and go down the list. *Precision* is the share of boxes so far that are right, *recall* the
# share of the storms that have been found. By hand, for two storms and three boxes, of which the
# second is wrong:

# %%
two_storms = np.array([[10, 10, 50, 50, 1], [80, 80, 120, 120, 1]])
three_boxes = Detections(
    boxes=np.array([[12, 8, 52, 48], [10, 90, 50, 130], [85, 85, 125, 125]], float),
    classes=np.array([1, 1, 1]),
    scores=np.array([0.9, 0.7, 0.6]),
)
print("overlaps:", overlap(three_boxes.boxes, two_storms).round(2).tolist())
right = np.array([True, False, True])
precision = np.cumsum(right) / np.arange(1, 4)
recall = np.cumsum(right) / len(two_storms)
for score, p, r in zip(three_boxes.scores, precision, recall, strict=True):
    print(f"down to a score of {score}: precision {p:.3f}, recall {r:.1f}")

# %% [markdown]
# Average precision is the area under precision over recall, where precision at a recall is the best
# that is to be had at that recall *or more*: 1 up to a recall of 1/2, then 2/3. By the rules of the
# COCO challenge the curve is read at 101 recalls, from 0 to 1:

# %%
best = [precision[recall >= at].max() for at in RECALLS]
library = average_precision([three_boxes], [two_storms], iou=0.1)[1].average
print(f"by hand: {np.mean(best):.4f}, the library's: {library:.4f}")

# %% [markdown]
# The mean of that over the classes is *mAP*. `minidl evaluate` does all this for the run, beside
# the rules, for two strictnesses: a box is right from an overlap of 0.1 on, or of 0.5.

# %%
minidl("evaluate", half, "--data", *test)

# %% [markdown]
# Compare the classes. Of the large storms, extratropical cyclones and rivers, the network knows
# more than the rules: it sees all sixteen fields, and has learnt how this generator draws its
# boxes, which nobody told the rules. Of the small ones it knows less. Depressions are faint and
# few, and most are missed. Tropical cyclones are found, but seldom with an overlap of 0.5: to be
# off by a sixth of a cell is little for a network that has one vector for 32 x 32 pixels, and five
# pixels are much for a box of twenty. The rules look for the very pixel where the pressure is
# lowest.
#
# Compare the losses, too. The first five terms had all but vanished at the end of training; on
# these frames they add up to several (the loss in the first line above, less the reconstruction's
# share). The network knows its labelled frames by heart, and has too few of them. For the
# reconstruction, the two figures are nearly the same: there was twice as much to learn from, and a
# frame says more than its boxes do.
#
# The folder of the run, `tutorials/output/10_half/`, has three pictures: `curves.png` (precision
# over recall; dots are the threshold of 0.8, crosses the rules), `storms.png` (maps like the
# paper's figure 9) and `reconstruction.png`. Look at the last one. What is large and smooth is
# drawn well, and what is small and rare, the rain, is not: a mean over all pixels hardly notices a
# storm. That is a reason for doubt, and so to the question of the page.
#
# ## Does the reconstruction help?
#
# With half of the labels there is perhaps little to be gained. Leave one in ten, and train twice:
# with the reconstruction, and with its weight at zero, so that frames without labels teach nothing.
# Same seed, same frames, same boxes, same number of updates:

# %%
first = {}
for weight in (WEIGHT, 0):
    run = train(f"few_{weight:g}", FEW_EPOCHS, 0.1, weight)
    minidl("evaluate", run, "--data", *test)
    figures = json.loads((run / "evaluation.json").read_text())["network"]
    first[weight] = {iou: figures[iou]["mean"] for iou in ("0.1", "0.5")}

# %%
for weight, means in first.items():
    values = ", ".join(f"{mean:.3f} at IOU {iou}" for iou, mean in means.items())
    print(f"one label in ten, reconstruction's weight {weight:4g}: mAP {values}")

# %% [markdown]
# And now do not believe it. This is one seed: other initial weights, in another order of the
# frames, would give other figures, and that difference may well be larger than the one between the
# two lines. One run each proves nothing, whichever way it came out. `benchmarks/semi_supervised.py`
# trains each with several seeds, for several shares of labels, and prints the spread beside the
# mean; it takes about two hours.
#
# ## What the paper did
#
# *Deep Learning at 15PF* trained such a network on frames of 768 x 768 pixels and 16 channels, cut
# from the output of the model CAM5 at 25 km: 15 TB of them. That is 0.4 million frames, on
# thousands of nodes. The network has nine convolutions and five transposed ones, as ours, and 302.1
# MiB of parameters.
#
# What is not known: the numbers of filters (`minidl train climate --preset paper` is a
# reconstruction, one of many with that size; `--preset public` is the published version by a
# co-author), the weights of the loss, and the learning rate. Nor is it known how well it did: the
# paper shows pictures of boxes around tropical cyclones, and states no mAP. What it measured is how
# fast it trained. Whether the reconstruction helped is not in there either.
#
# The public data, real output of that climate model, is read as it is: a file a year,
# `climo_1979.h5` and so on, with `images` (1460, 16, 768, 1152) and `boxes` (1460, 15, 5). Frames
# that are wider than high are cropped to squares, somewhere else each time:
#
#     mpiexec -n 4 minidl train climate --data climo_198*.h5 --validation climo_1990.h5
#
# A year has 62 GB, and the full network wants many cores. `--width 16` is a start.
#
# ## Exercises
#
# 1. Train with `--labels heuristic`: learn from the rules' boxes, all of them, and judge by the
#    generator's. Does the network only repeat the rules, or is it better than its teacher? In which
#    classes, and why could that be?
# 2. Make frames of the North Atlantic (`minidl generate climate --region 0 48 260 308 ...`) and
#    evaluate the run of this page on them. It has never seen that sea. What does it find?
# 3. `losses.EMPTY` is 0.5. What would happen at 50, and at 0.005? Think first, of precision and of
#    recall above 0.8, then try.
#
# ## What to read next
#
# `models/climate/__init__.py`, the model as a whole; `models/climate/boxes.py` and
# `models/climate/losses.py`, where most of this page comes from; `models/climate/precision.py`; and
# `models/climate/weather/frame.py`, where the weather is made. `minidl/layers/deconv.py` is short.
