# %% [markdown]
# # 2. Convolution as a matrix product
#
# Page 1 took a linear layer apart. This page does the same with the layer in which networks on
# images spend nearly all of their time, the convolution, and adds what page 1 did not need: how to
# make it *fast*. The answer is to turn it into the one operation that every computer is good at,
# the product of two matrices, without letting that matrix grow too large.

# %%
import time

import numpy as np
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view
from page import SMALL, show

from minidl.layers import Conv2d, im2col
from minidl.layers.direct import Direct
from minidl.layers.windows import Windows
from minidl.threads import use_threads

use_threads(1)  # times on this page are those of one core
generator = np.random.default_rng(1)

# %% [markdown]
# ## The definition
#
# A convolution slides K small filters over an image. With H x W pixels of C channels, and filters
# of KH x KW pixels, the output pixel (i, j) of filter k is
#
#     y[i,j,k] = bias[k] + sum over a, b, c of  x[i+a, j+b, c] weight[a,b,c,k]
#
# (A mathematician would call this a cross-correlation and flip the filter. The filter is learnt, so
# nobody minds.) `minidl/layers/direct.py` is this formula with one loop an index. Here it finds
# where an image changes from left to right:

# %%
image = np.zeros((1, 5, 6, 1))  # (N, H, W, C)
image[:, :, 3:] = 1
weight = np.array([-1.0, 0.0, 1.0] * 3).reshape(3, 3, 1, 1)  # (KH, KW, C, K)
y = np.empty((1, 3, 4, 1))
Direct(Windows((3, 3), (1, 1), (0, 0))).forward(image, weight, np.zeros(1), y)
print(image[0, :, :, 0])
print(y[0, :, :, 0])

# %% [markdown]
# The output is smaller than the image: only 3 x 4 windows of 3 x 3 fit into 5 x 6 pixels.
#
# ## Patches become rows of a matrix
#
# Every output pixel sees one *patch* of KH x KW x C numbers, and multiplies it with the weights,
# which are as many, for each of the K filters. Multiply and add up: a scalar product. So write each
# patch as one row of a matrix, and all scalar products together are one matrix product:
#
#     columns (pixels, KH*KW*C)  @  weight (KH*KW*C, K)  =  y (pixels, K)
#
# The matrix is called "columns", and making it "image to columns", im2col, because the first codes
# stored images channel-first and their patches stood upright (K. Chellapilla, S. Puri and
# P. Simard, *High Performance Convolutional Neural Networks for Document Processing*, 2006). minidl
# stores images channel-last, (N, H, W, C), so that the channels of a pixel, and even the pixels of
# a window's row, are neighbours in memory.


# %%
def gather(x, kernel, stride=1):
    """Write out the patches of images x (N, H, W, C), a row for each output pixel."""
    windows = sliding_window_view(x, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    # (N, H', W', C, KH, KW) -> (N, H', W', KH, KW, C)
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel * kernel * x.shape[3])


columns = gather(image, 3)
print("columns:", columns.shape)
product = (columns @ weight.reshape(9, 1)).reshape(1, 3, 4, 1)
print("the product is the convolution:", np.array_equal(product, y))

# %% [markdown]
# What does the matrix look like? Number the pixels of the image 0 to 29, and follow one of them.

# %%
numbers = np.arange(30.0).reshape(1, 5, 6, 1)
followed = 14
figure = Figure(figsize=(9, 4.6), layout="constrained")
panels = figure.subplots(1, 2, width_ratios=[6, 9])
for panel, table in zip(panels, (numbers[0, :, :, 0], gather(numbers, 3)), strict=True):
    panel.imshow(table, cmap="Blues", vmin=-5, vmax=45)
    for (row, column), number in np.ndenumerate(table):
        here = number == followed
        panel.text(
            column, row, f"{number:.0f}", ha="center", va="center", fontsize=9,
            color="white" if here else "black", fontweight="bold" if here else "normal",
            bbox={"facecolor": "#D55E00", "edgecolor": "none", "pad": 3} if here else None,
        )  # fmt: skip
panels[0].set(title="the image", xlabel="column", ylabel="row")
panels[1].set(title="its columns", xlabel="place in the window", ylabel="output pixel")
panels[1].set_xticks(range(9), [f"{a},{b}" for a in range(3) for b in range(3)])
panels[1].set_yticks(range(12), [f"{i},{j}" for i in range(3) for j in range(4)])
show(figure, "02_columns")
for pixel in (followed, 0):
    print(f"times that pixel {pixel} is in the columns: {np.sum(gather(numbers, 3) == pixel)}")

# %% [markdown]
# The first row is the upper left window: 0 1 2, 6 7 8, 12 13 14. A step of the window to the right
# is the next row. Pixel 14 lies well inside the image and is seen by nine windows, in each of which
# it has another place; pixel 0, in the corner, is seen by a single one. So the columns hold almost
# KH x KW times as many numbers as the image. That is the price; what is bought with it?
#
# ## Counting and timing
#
# Each of the multiply-adds counts as two floating-point operations (FLOP). Loops and product do the
# same number of them:

# %%
layer = Conv2d(3, 8, 3, padding=1, generator=generator, algorithm="im2col")
x = generator.standard_normal((1, 16, 16, 3), np.float32)
work = layer.flops(x.shape[1:])
print(f"16 x 16 pixels, 3 channels, 8 filters of 3 x 3: {work:,} FLOP")


def seconds(function, repetitions=3):
    """The shortest of several measurements: the one that was disturbed least."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


product = seconds(lambda: layer.forward(x), 20)
y = layer.forward(x)
padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
slow, expected = Direct(layer.windows), np.empty_like(y)
loops = seconds(lambda: slow.forward(padded, layer.weight, layer.bias, expected), 1)
print(f"largest difference of the outputs: {np.abs(y - expected).max():.0e}")
print(f"loops:   {1e3 * loops:8.2f} ms, {work / loops / 1e9:7.4f} GFLOP/s")
print(f"product: {1e3 * product:8.2f} ms, {work / product / 1e9:7.4f} GFLOP/s")
print(f"the product is {loops / product:.0f} times as fast")

# %% [markdown]
# Interpreting Python costs far more than the arithmetic, so the loops lose by orders of magnitude.
# But they are short enough to be believed, and the library's tests compare everything faster with
# them. A product of matrices runs in a library (BLAS) in which every number that was fetched from
# memory is used many times before it is given up.
#
# ## Backward: two more products
#
# As for the linear layer on page 1, y = columns W gives
#
#     dW       = columns' dy          (KH*KW*C, K)
#     dcolumns = dy W'                (pixels, KH*KW*C)
#
# One step is left, from dcolumns to dx. A pixel that was copied to nine places has nine
# derivatives, and by the chain rule its own is their sum. So where `gather` copied, its counterpart
# adds: "columns to image", col2im.


# %%
def scatter(columns, shape, kernel, stride=1):
    """Add every number of the columns to the pixel of an image (N, H, W, C) it was copied from."""
    N, H, W, C = shape
    down, right = (H - kernel) // stride + 1, (W - kernel) // stride + 1
    patches = columns.reshape(N, down, right, kernel, kernel, C)
    x = np.zeros(shape)
    for a in range(kernel):
        for b in range(kernel):
            pixels = x[:, a : a + stride * down : stride, b : b + stride * right : stride]
            pixels += patches[:, :, :, a, b]
    return x


# %% [markdown]
# In the language of linear algebra: gathering is a linear map A, a matrix of zeros and ones that
# nobody writes down, and scattering is its transpose A'. There is a test of that which needs
# neither matrix nor differences. For any x and y,
#
#     <A x, y> = <x, A' y>

# %%
x, y = generator.standard_normal((2, 7, 8, 3)), generator.standard_normal((2 * 5 * 6, 27))
print(f"<A x, y>  = {np.vdot(gather(x, 3), y):.12f}")
print(f"<x, A' y> = {np.vdot(x, scatter(y, x.shape, 3)):.12f}")

# %% [markdown]
# The whole layer passes the same test, as it is linear in x once the bias is zero, which is how it
# starts; here with steps of two and padding:

# %%
layer = Conv2d(3, 4, 3, stride=2, padding=1, generator=generator, dtype=np.float64)
y = layer.forward(x)
dy = generator.standard_normal(y.shape)
print(f"<forward(x), dy>  = {np.vdot(y, dy):.12f}")
print(f"<x, backward(dy)> = {np.vdot(x, layer.backward(dy)):.12f}")

# %% [markdown]
# ## Stride and padding
#
# Two numbers change which windows there are. *Padding* puts a frame of zeros around the image, so
# that windows may stick out; a filter of 3 x 3 with padding 1 keeps the image's size. A *stride* of
# s takes every s-th window only. In each direction
#
#     H' = (H + 2 padding - kernel) // stride + 1        (// rounds down)

# %%
for stride, padding in ((1, 0), (1, 1), (2, 0), (2, 1)):
    count = Windows((3, 3), (stride, stride), (padding, padding)).count(8, 8)
    print(f"8 x 8 pixels, kernel 3, stride {stride}, padding {padding} -> {count[0]} x {count[1]}")

# %% [markdown]
# How many windows see each pixel? Gather an image of ones and scatter it again.

# %%
figure = Figure(figsize=(9, 3.5), layout="constrained")
for panel, (stride, padding) in zip(figure.subplots(1, 3), ((1, 0), (1, 1), (2, 0)), strict=True):
    ones = np.pad(np.ones((1, 8, 8, 1)), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    seen = scatter(gather(np.ones_like(ones), 3, stride), ones.shape, 3, stride)
    seen = seen[0, padding : padding + 8, padding : padding + 8, 0]
    panel.imshow(seen, cmap="Blues", vmin=0, vmax=14)
    for (row, column), number in np.ndenumerate(seen):
        panel.text(column, row, f"{number:.0f}", ha="center", va="center", fontsize=9)
    panel.set(title=f"stride {stride}, padding {padding}", xticks=[], yticks=[])
    times = f"{seen.min():.0f} to {seen.max():.0f}"
    print(f"stride {stride}, padding {padding}: a pixel is seen {times} times")
show(figure, "02_windows_a_pixel")

# %% [markdown]
# Without padding, a pixel in the corner has a ninth of the influence of one inside. Padding makes
# that milder. With stride 2 the influence goes up and down like a chessboard, and where the stride
# does not divide the rest, the last row and column are seen by nobody: their gradient is exactly
# zero, and no loss will ever depend on them.
#
# ## Why blocks
#
# Now the price. The second layer of the paper's network takes a batch of 8 images of 112 x 112
# pixels with 128 channels. How large are its columns?

# %%
N, H, W, C = 8, 112, 112, 128
image_bytes = N * H * W * C * 4
columns_bytes = 9 * image_bytes  # padding 1: as many windows as pixels
print(f"images:  {image_bytes / 1e6:7.1f} MB")
print(f"columns: {columns_bytes / 1e6:7.1f} MB, for one layer")
print(f"columns of a batch of 32: {4 * columns_bytes / 1e9:.2f} GB")

# %% [markdown]
# They need not exist all at once. Rows of the matrix are output pixels, and each output pixel is
# computed from its own row. So write out a *block* of rows, multiply it, forget it, and use the
# same memory for the next block. `minidl/layers/convolution.py` does this, a strip of some rows of
# an image at a time; `STRIP_BYTES` in `im2col.py` says how large the columns and outputs of a strip
# may be, with one row of an image's pixels as the least.
#
# Small blocks are modest; are they slow? Take the fifth layer, whose images are so small (14 x 14)
# that a block can be anything from a row of 14 pixels to the whole matrix.

# %%
N = 8 if SMALL else 96
layer = Conv2d(C, C, 3, padding=1, generator=generator, algorithm="im2col")
x = generator.standard_normal((N, 14, 14, C), np.float32)
dy = generator.standard_normal(x.shape, np.float32)
work = 3 * N * layer.flops(x.shape[1:])  # backward is two more products of the same size
chosen = im2col.STRIP_BYTES


def forward_and_backward():
    layer.forward(x)
    layer.backward(dy)


rates = {kibibytes: 0.0 for kibibytes in (64, 128, 256, 512, 1024, 2048, 4096, 16384, 65536)}
for turn in range(1 if SMALL else 5):
    # Taking turns, there and back, so that a disturbance does not hit one of them alone.
    for kibibytes in reversed(rates) if turn % 2 else rates:
        im2col.STRIP_BYTES = kibibytes * 1024
        rate = work / seconds(forward_and_backward, 2) / 1e9
        rates[kibibytes] = max(rate, rates[kibibytes])
im2col.STRIP_BYTES = chosen
for kibibytes, rate in rates.items():
    print(f"blocks of {kibibytes:5} KiB: {rate:5.1f} GFLOP/s")

# %% [markdown]
# What would be the best that one can hope for? A product of two large matrices, with no patches to
# write out:

# %%
a = generator.standard_normal((2048, 1152), np.float32)
b = generator.standard_normal((1152, 128), np.float32)
best = 2 * a.size * b.shape[1] / seconds(lambda: a @ b, 20) / 1e9
block = chosen // 1024
print(f"a matrix product alone: {best:.1f} GFLOP/s")
print(f"convolution, blocks of {block} KiB: {100 * rates[block] / best:.0f} % of it")
print(f"convolution, blocks of 64 KiB: {100 * rates[64] / best:.0f} % of it")

# %%
figure = Figure(figsize=(7, 4), layout="constrained")
panel = figure.subplots()
panel.semilogx(list(rates), list(rates.values()), "o-", color="#0072B2", base=2)
panel.axhline(best, color="0.5", linestyle=":")
panel.text(64, best, "a matrix product alone", va="bottom", color="0.4")
panel.axvline(block, color="#D55E00", linewidth=1)
panel.text(1.1 * block, 0.06 * best, "the library's choice", color="#D55E00")
ticks = 4 ** np.arange(3, 9)
panel.set_xticks(ticks, [f"{k} KiB" if k < 1024 else f"{k // 1024} MiB" for k in ticks])
panel.set(xlabel="block of columns", ylabel="GFLOP/s, forward and backward", ylim=(0, 1.15 * best))
panel.minorticks_off()
panel.spines[["top", "right"]].set_visible(False)
show(figure, "02_block_size")

# %% [markdown]
# The curve is low at the left: products of a few rows hardly use the weights before the next ones
# come. It has a broad top, and sinks again to the right, where a block no longer fits into the
# processor's caches, so that columns travel to the main memory and back. (On a busy machine the
# points scatter; the left side always shows.) So blocks cost nothing: somewhere between one row and
# everything is the fastest, and it need not be met exactly. Larger images, whose rows are longer,
# care even less. Where the top begins and ends differs between machines; `lscpu` prints the sizes
# of the caches.
#
# ## Exercises
#
# 1. What are the columns of a convolution with a 1 x 1 kernel? Which of the steps above could it do
#    without?
# 2. A *transposed* convolution makes small images large. Its forward is one of the three products
#    on this page. Which one, and what are then its two gradients?
# 3. `Im2col.spread` writes out patches with `as_strided` and one `copyto`. Why does it name runs
#    of KW * C numbers instead of single pixels? Replace it by `gather` from this page and measure.
#
# ## What to read next
#
# `minidl/layers/direct.py`, then `minidl/layers/im2col.py`, the three products in
# `minidl/layers/convolution.py`, and the test that compares them. `minidl/layers/windows.py` for
# the geometry, which pooling shares (`pool.py`), and `minidl/layers/conv.py`, which is short once
# the products are elsewhere. (There are faster ways: page 9.) The next
# page, `03_training_on_collision_events.py`, puts five of these layers to work.
