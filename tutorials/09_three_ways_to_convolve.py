# %% [markdown]
# # 9. Three ways to convolve
#
# Page 2 turned a convolution into one product of matrices, which runs about as fast as a processor
# can multiply. This page goes on from there: by multiplying less. There are three ways through
# `minidl/layers/`: `im2col.py`, `winograd.py`, and `space_to_depth.py` for strides. For each we
# count the multiplications, watch the clock, and look at the error.

# %%
import time
import tracemalloc
from collections import Counter
from fractions import Fraction

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.lib.stride_tricks import sliding_window_view
from page import SMALL, show

from minidl.layers import Conv2d, ConvTranspose2d, MaxPool2d, ReLU, Sequential, Strips, algorithms
from minidl.layers.algorithms import named
from minidl.layers.cook_toom import cook_toom
from minidl.layers.direct import Direct
from minidl.layers.im2col import Im2col
from minidl.layers.space_to_depth import SpaceToDepth, deep_kernel, to_depth
from minidl.layers.windows import Windows
from minidl.layers.winograd import Winograd
from minidl.losses import softmax_cross_entropy
from minidl.objective import Objective
from minidl.optim import SGD, Adam
from minidl.threads import use_threads
from minidl_models.hep.network import network

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
use_threads(1)  # times on this page are those of one core
generator = np.random.default_rng(1)

# %% [markdown]
# ## Six multiplications, or four
#
# A filter g of 3 numbers slides over 4 numbers d and leaves 2:
#
#     y0 = d0 g0 + d1 g1 + d2 g2
#     y1 = d1 g0 + d2 g1 + d3 g2
#
# Six multiplications. Or four, if one adds first:
#
#     m1 = (d0 - d2) g0                          y0 = m1 + m2 + m3
#     m2 = (d1 + d2) (g0 + g1 + g2) / 2          y1 = m2 - m3 - m4
#     m3 = (d2 - d1) (g0 - g1 + g2) / 2
#     m4 = (d1 - d3) g2
#
# It is easily verified: write out y0, and everything unwanted cancels. It is called F(2, 3), 2
# numbers left by a filter of 3 (S. Winograd, *Arithmetic Complexity of Computations*, 1980). Let
# numbers count what is done to them.


# %%
done = Counter()


class Number:
    """A number that counts additions, subtractions being some, and multiplications."""

    def __init__(self, value):
        self.value = value

    def __add__(self, other):
        done["additions"] += 1
        return Number(self.value + other.value)

    def __sub__(self, other):
        done["additions"] += 1
        return Number(self.value - other.value)

    def __mul__(self, other):
        done["multiplications"] += 1
        return Number(self.value * other.value)


def directly(d, g):
    return [d[i] * g[0] + d[i + 1] * g[1] + d[i + 2] * g[2] for i in range(2)]


def prepare(g):
    outer = g[0] + g[2]
    half = Number(Fraction(1, 2))
    return [g[0], (outer + g[1]) * half, (outer - g[1]) * half, g[2]]


def by_four(d, prepared):
    spread = [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]
    m1, m2, m3, m4 = (a * b for a, b in zip(spread, prepared, strict=True))
    return [m1 + m2 + m3, m2 - m3 - m4]


def counted(name, function, *arguments):
    done.clear()
    result = function(*arguments)
    values = [str(number.value) for number in result]
    print(f"{name:12}: {done['multiplications']} multiplications, {done['additions']} additions; "
          f"result {', '.join(values)}")  # fmt: skip
    return result


d, g = [Number(n) for n in (2, 7, 1, 8)], [Number(n) for n in (3, 1, 4)]
counted("directly", directly, d, g)
prepared = counted("the filter", prepare, g)
counted("by four", by_four, d, prepared)

# %% [markdown]
# Watch the additions. Two multiplications fewer, four additions more, and the filter's own on top,
# although those are made once for all places the filter slides over. Where adding takes as long as
# multiplying, as in any processor today, that is a loss.
#
# It becomes a gain with channels. Let d have C channels, and let there be K filters. Each of the
# four products is then a sum over C channels, one for each of K filters: 4 C K multiplications, and
# about as many additions inside of the sums. But the four numbers in the middle, d0 - d2 and so on,
# are made once a channel, whatever the number of filters; and m1 + m2 + m3 is made once a filter,
# after the sum over the channels. Additions grow like C + K, multiplications like C times K:

# %%
C = K = 128
print(f"directly: {6 * C * K:6,} multiply-adds")
print(f"by four : {4 * C * K:6,} multiply-adds, {4 * C:,} additions before, {4 * K:,} after")

# %% [markdown]
# ## Where the four come from
#
# From the product of two polynomials. (2 + 7x) (3 + x + 4x^2) has four coefficients. The way of
# school takes six multiplications to find them. But a polynomial with four coefficients is known as
# soon as its values at four points are, and at each point the value of the product is the product
# of the values: *one* multiplication. So evaluate both factors at four points, multiply value by
# value, and interpolate. Evaluating and interpolating at fixed points are linear, with fixed
# matrices; for small numbers as points they are mere additions. (A. Toom, 1963; S. Cook, 1966.)
#
# F(2, 3) takes the points 0, 1, -1 and infinity, "the value at infinity" being the highest
# coefficient: of a product it is the product of the highest coefficients, so it serves as well.
# `cook_toom.py` makes the matrices, as exact fractions: A and G evaluate polynomials of 2 and of 3
# coefficients, B interpolates.

# %%
A, B, G = (np.array(matrix, object) for matrix in cook_toom(2, 3))
for name, matrix in (("A", A), ("G", G), ("B", B)):
    print(f"{name}:", "\n".join("   " + " ".join(f"{number!s:>5}" for number in row)
                                for row in matrix).lstrip())  # fmt: skip
two, three = np.array([2, 7], object), np.array([3, 1, 4], object)
print("by values :", *(B @ ((G @ three) * (A @ two))))
print("of school :", *np.convolve(two, three))

# %% [markdown]
# (The divisions of the interpolation were moved from B to G: a filter is evaluated once, the rest
# often.) Now look at the same product as a matrix. With the filter fixed it takes 2 numbers to 4,
# and each of its columns is the filter, one place further down:
#
#     T = [g0  0]              T' = [g0 g1 g2  0]
#         [g1 g0]                   [ 0 g0 g1 g2]
#         [g2 g1]
#         [ 0 g2]
#
# Its transpose takes 4 numbers to 2, and is our filter: y = T' d. Since T = B diag(G g) A for every
# filter, transposing gives
#
#     T' = A' diag(G g) B'          y = A' [(G g) * (B' d)]
#
# with the same number of multiplications, those in the middle. So a filter is the transpose of a
# product, and n = m + r - 1 points are enough for m outputs of a filter of r numbers.

# %%
d = np.array([2, 7, 1, 8], object)
print("B' d               :", *(B.T @ d), " (as by hand, but for signs that cancel)")
print("A' [(G g) * (B' d)]:", *(A.T @ ((G @ three) * (B.T @ d))))
for m in (2, 3, 4):
    A, B, G = (np.array(matrix, object) for matrix in cook_toom(m, 3))
    d = generator.integers(-9, 10, m + 2).astype(object)
    y = A.T @ ((G @ three) * (B.T @ d))
    agrees = np.array_equal(y, [d[i : i + 3] @ three for i in range(m)])
    print(f"F({m}, 3): {len(B)} products in place of {3 * m}, exact: {agrees}")

# %% [markdown]
# ## Two dimensions: tiles and patches
#
# Apply it to rows, and then to columns. An output tile of m x m pixels sees a patch of n x n, and
# with a filter of r x r
#
#     y = A' [(G g G') * (B' d B)] A
#
# (A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural Networks*, CVPR 2016). n^2
# multiplications replace m^2 r^2: for F(4x4, 3x3), 36 instead of 144. Tiles do not overlap, but
# patches do.

# %%
m, r = 4, 3
n = m + r - 1
size = 3 * m
figure = Figure(figsize=(9.5, 3.5), layout="constrained")
output, image, seen = figure.subplots(1, 3)
output.imshow(np.zeros((size, size)), cmap="Blues", vmin=0, vmax=1)
for edge in (m, 2 * m):
    output.axhline(edge - 0.5, color="black")
    output.axvline(edge - 0.5, color="black")
image.imshow(np.zeros((size + 2, size + 2)), cmap="Blues", vmin=0, vmax=1)
for colour, (row, column) in ((ORANGE, (0, 0)), (BLUE, (0, 1)), (GREEN, (1, 1))):
    corner = column * m - 0.5, row * m - 0.5
    output.add_patch(Rectangle(corner, m, m, facecolor=colour, alpha=0.75))
    image.add_patch(Rectangle(corner, n, n, facecolor=colour, alpha=0.35))
    image.add_patch(Rectangle(corner, n, n, fill=False, edgecolor=colour, linewidth=2))
    output.text(column * m + 1.5, row * m + 1.5, "4 x 4", ha="center", va="center", color="white")
counts = np.zeros((size + 2, size + 2), int)
for row in range(0, size, m):
    for column in range(0, size, m):
        counts[row : row + n, column : column + n] += 1
seen.imshow(counts, cmap="Blues", vmin=0, vmax=7)
for (row, column), number in np.ndenumerate(counts):
    seen.text(column, row, number, ha="center", va="center", fontsize=7)
for panel, title, length in (
    (output, "output: tiles of 4 x 4", size),
    (image, "input: their patches of 6 x 6", size + 2),
    (seen, "patches that see a pixel", size + 2),
):
    panel.set_title(title, fontsize=10)
    panel.set_xticks(np.arange(length + 1) - 0.5, [])
    panel.set_yticks(np.arange(length + 1) - 0.5, [])
    panel.grid(color="white" if panel is seen else "0.6", linewidth=0.4)
    panel.tick_params(length=0)
show(figure, "09_tiles")
spread = size // m * (size // m) * n * n
print(f"{counts.size} input pixels are spread out to {spread} numbers: {spread / size**2:.2f} an "
      f"output pixel, where columns have {r * r}")  # fmt: skip

# %% [markdown]
# What happens to a patch is a change of coordinates. Each of its 36 new coordinates is a weighted
# sum of its pixels, whose weights are a product of two rows of B'. Here they are:

# %%
_, B, _ = (np.array(matrix, float) for matrix in cook_toom(m, r))
figure = Figure(figsize=(5.6, 5.9), layout="constrained")
for (i, j), panel in np.ndenumerate(figure.subplots(n, n)):
    weights = np.outer(B[:, i], B[:, j])
    panel.imshow(weights / np.abs(weights).max(), cmap="RdBu_r", vmin=-1, vmax=1)
    panel.set(xticks=[], yticks=[])
names = ["0", "2/3", "-2/3", "3/2", "-3/2", "infinity"]
for name, panel in zip(names, figure.axes[:n], strict=True):
    panel.set_title(name, fontsize=9)
for name, panel in zip(names, figure.axes[::n], strict=True):
    panel.set_ylabel(name, fontsize=9)
figure.suptitle("36 weighted sums of a patch's pixels, by the points of rows and columns\n"
                "(red added, blue subtracted)", fontsize=10)  # fmt: skip
show(figure, "09_coordinates")

# %% [markdown]
# In these coordinates a filter acts on each number by itself. So for all tiles, channels and
# filters at once there are 36 independent matrix products, (tiles, C) @ (C, K). And the changes of
# coordinates are matrix products as well: a row of the Kronecker product kron(B', B') is one of the
# pictures above, written as a line. So the whole of it takes four products:


# %%
def winograd(x, weight, m, points=None):
    """Convolve x (N, H, W, C), whose output whole tiles cover, with weight (r, r, C, K)."""
    r, _, C, K = weight.shape
    n, dtype = m + r - 1, x.dtype
    A, B, G = (np.array(matrix, float) for matrix in cook_toom(m, r, points))
    to_patches, to_filters, to_tiles = (
        np.kron(matrix, matrix).astype(dtype) for matrix in (B.T, G, A.T)
    )
    patches = sliding_window_view(x, (n, n), axis=(1, 2))[:, ::m, ::m]
    N, down, right = patches.shape[:3]
    patches = patches.transpose(4, 5, 0, 1, 2, 3).reshape(n * n, -1)
    spread = (to_patches @ patches).reshape(n * n, -1, C)
    prepared = (to_filters @ weight.reshape(r * r, -1)).reshape(n * n, C, K)
    products = spread @ prepared  # n^2 products: (n^2, tiles, C) @ (n^2, C, K)
    tiles = (to_tiles @ products.reshape(n * n, -1)).reshape(m, m, N, down, right, K)
    return tiles.transpose(2, 3, 0, 4, 1, 5).reshape(N, m * down, m * right, K)


x, weight = generator.standard_normal((1, 14, 14, 4)), generator.standard_normal((3, 3, 4, 5))
expected = np.empty((1, 12, 12, 5))
Direct(Windows((3, 3), (1, 1), (0, 0))).forward(x, weight, np.zeros(5), expected)
for m in (1, 2, 4, 6):
    difference = np.abs(winograd(x, weight, m) - expected).max()
    print(f"F({m}x{m}, 3x3) against plain loops: largest difference {difference:.0e}")
for name in ("im2col", "winograd2", "winograd4"):
    layer = Conv2d(4, 5, 3, generator=generator, algorithm=name, dtype=np.float64)
    layer.weight[...] = weight
    print(f"the library's {name:9}  against them: largest difference "
          f"{np.abs(layer.forward(x) - expected).max():.0e}")  # fmt: skip

# %% [markdown]
# The library makes the same steps with fewer operations: first by rows, then by columns, each with
# the n x n matrix B' instead of its square.
#
# What does each m buy, and what does it cost? Multiply-adds for an output number, that is one
# filter at one pixel, with 128 channels and 128 filters. Spreading is shared by all filters,
# collecting is done once for all channels. (The transforms are counted as the matrix products they
# are made by, zeros and ones included.) The last column is for an image of 14 x 14 pixels, which is
# rounded up to whole tiles.

# %%
C = K = 128
print("   m    products  spread  collect      all       gain   at 14 x 14")
for m in (1, 2, 4, 6):
    n = m + r - 1
    products, spread = n * n * C / m**2, 2 * n**3 * C / K / m**2
    collect = (n * n * m + n * m**2) / m**2
    total = products + spread + collect if m > 1 else products
    waste = (-(-14 // m) * m / 14) ** 2
    what = f"{spread:7.1f} {collect:8.1f}" if m > 1 else f"{'-':>7} {'-':>8}"
    print(f"{m:4} {products:10.1f} {what} {total:9.1f} {9 * C / total:10.2f} "
          f"{9 * C / total / waste:11.2f}")  # fmt: skip

# %% [markdown]
# (m = 1 is the direct way: no transform is needed.) From 2 to 4 the gain is large. From 4 to 6 it
# is smaller, and is eaten up where tiles do not fit the image. The error will speak against 6 too.
# So the library has 2 and 4.
#
# ## One shape for all
#
# Im2col wrote out patches, multiplied, and was done. Winograd writes out patches in other
# coordinates, multiplies, and changes coordinates back. In general
#
#     y = collect(spread(x) @ prepare(weight))
#
# where all three steps are linear. The chain rule needs the transpose of each, and nothing else:
#
#     dweight = prepare_back(spread(x)' @ collect_back(dy))
#     dx      = spread_back(collect_back(dy) @ prepare(weight)')
#
# So `convolution.py` knows how to go forward and backward, and an algorithm is six functions and
# the shapes between them. Are they transposes of each other? Page 2 has the test that needs no
# matrix: <A x, y> = <x, A' y>.


# %%
def deviation(there, y, x, back):
    """Of <A x, y> from <x, A' y>, as a part of the lengths of A x and y."""
    return abs(np.vdot(there, y) - np.vdot(x, back)) / np.linalg.norm(there) / np.linalg.norm(y)


def check(name, algorithm, kernel):
    weight, shape = generator.standard_normal((kernel, kernel, 4, 5)), (2, 8, 8, 5)
    slab = generator.standard_normal((2, *algorithm.reach(8, 8), 4))
    P, tiles, Q = algorithm.spread_shape(weight.shape, 8, 8)
    found = []
    # Results lie in memory that the next step uses again: copy them.
    there, y = algorithm.spread(slab).copy(), generator.standard_normal((P, 2 * tiles, Q))
    found.append(deviation(there, y, slab, algorithm.spread_back(y.copy(), slab.shape)))
    there = algorithm.prepare(weight, np.empty((P, Q, 5)))
    y = generator.standard_normal((P, Q, 5))
    back = np.empty_like(weight)
    algorithm.prepare_back(y, back)
    found.append(deviation(there, y, weight, back))
    products, y = generator.standard_normal((P, 2 * tiles, 5)), generator.standard_normal(shape)
    there = algorithm.collect(products.copy(), shape).copy()
    found.append(deviation(there, y, products, algorithm.collect_back(y)))
    print(f"{name:28} spread {(P, 2 * tiles, Q)!s:>13}; transposes deviate by "
          + ", ".join(f"{number:.0e}" for number in found))  # fmt: skip


check("im2col, 3x3", Im2col(Windows((3, 3), (1, 1), (0, 0))), 3)
check("im2col, 5x5 /2", Im2col(Windows((5, 5), (2, 2), (0, 0))), 5)
check("F(2x2, 3x3)", Winograd(2, 3), 3)
check("F(4x4, 3x3)", Winograd(4, 3), 3)
check("5x5 /2 by F(4x4, 3x3)", SpaceToDepth((2, 2), Winograd(4, 3)), 5)

# %% [markdown]
# Everything else, the checks of gradients included, is the same for all algorithms. The last line
# comes below.
#
# ## The error
#
# In fractions all algorithms give the same numbers. In floating point they round differently.
# Powers of the points grow or vanish: F(4x4, 3x3) with the points 0, 1, -1, 2, -2 of the literature
# multiplies by numbers from 1/24 to 8, and along both axes. Large numbers are rounded, and then
# subtracted from each other. How much is that, in single precision, against the same in double? Let
# x and weight be random, with 64 channels, and give errors as root mean square over that of y.

# %%
C = K = 64
x = generator.standard_normal((1 if SMALL else 4, 26, 26, C), np.float32)
weight = generator.standard_normal((3, 3, C, K), np.float32)
exact = winograd(x.astype(float), weight.astype(float), 1)


def error(m, points=None):
    difference = winograd(x, weight, m, points and tuple(map(Fraction, points))) - exact
    return np.sqrt(np.mean(difference**2) / np.mean(exact**2))


columns = sliding_window_view(x, (3, 3), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3).reshape(-1, 9 * C)
y = (columns @ weight.reshape(-1, K)).reshape(exact.shape)
by_columns = np.sqrt(np.mean((y - exact) ** 2) / np.mean(exact**2))
LITERATURE = (0, 1, -1, 2, -2)
CHOSEN = (0, Fraction(2, 3), Fraction(-2, 3), Fraction(3, 2), Fraction(-3, 2))
errors = {m: error(m) for m in (2, 4, 6)}
literature = error(4, LITERATURE)
print(f"im2col                             : {by_columns:.1e}")
print(f"F(2x2), points 0, 1, -1            : {errors[2]:.1e}")
print(f"F(4x4), points 0, 1, -1, 2, -2     : {literature:.1e}")
print(f"F(4x4), points 0, +- 2/3, +- 3/2   : {errors[4]:.1e}, {errors[4] / literature:.2f} of it")
print(f"F(6x6), points 0, +- 1, 1/2, 2     : {errors[6]:.1e}")

# %% [markdown]
# Other points, half of the error, and not one operation more. What do they have that 1 and 2 have
# not? They are as near to 1 as can be while being well apart, and come with their reciprocals, so
# that no power grows on one side only. Let a go from 1/4 to nearly 1, with the points 0, +- a and
# +- 1/a:

# %%
scan = [Fraction(number, 60) for number in range(15, 58, 6 if SMALL else 2)]
scanned = [error(4, (0, a, -a, 1 / a, -1 / a)) for a in scan]
best = scan[int(np.argmin(scanned))]
figure = Figure(figsize=(9, 3.6), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
bars = {"im2col": by_columns, "F(2x2)": errors[2], "F(4x4)\n1, 2": literature,
        "F(4x4)\n2/3, 3/2": errors[4], "F(6x6)": errors[6]}  # fmt: skip
colours = ["0.6", BLUE, ORANGE, GREEN, BLUE]
left.bar(list(bars), [1e6 * bar for bar in bars.values()], color=colours)
left.set(ylabel="rms error, in millionths of y")
left.tick_params(axis="x", labelsize=8)
right.plot([float(a) for a in scan], [1e6 * found for found in scanned], "o-", color=BLUE,
           markersize=4)  # fmt: skip
right.plot(2 / 3, 1e6 * errors[4], "o", color=GREEN, markersize=9)
right.annotate("2/3, 3/2: the library's", (2 / 3, 1e6 * errors[4]), (0, -18),
               textcoords="offset points", color=GREEN, ha="center")  # fmt: skip
right.axhline(1e6 * literature, color=ORANGE, linestyle=":")
right.text(0.63, 1.05e6 * literature, "0, 1, -1, 2, -2", color=ORANGE, ha="center", va="bottom")
right.set(xlabel="a, for the points 0, +- a and +- 1/a", yscale="log", ylim=(0.5, None))
right.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
right.minorticks_off()
right.set_title("F(4x4, 3x3)", fontsize=10)
for panel in (left, right):
    panel.spines[["top", "right"]].set_visible(False)
show(figure, "09_error")
print(f"least error at a = {best} = {float(best):.2f}; {max(scanned) / min(scanned):.0f} times as "
      "much at the worst a")  # fmt: skip

# %% [markdown]
# To the left powers of 1/a are large; to the right points nearly coincide, and hardly tell one
# polynomial from another. In between the valley is flat, so that 2/3 is as good as its neighbours,
# and a simple fraction. For F(6x6) there have to be three pairs, and some of them are near to each
# other or far from 1. But even F(6x6) is off by some millionths only, of numbers that training
# computes from a batch drawn at random.
#
# ### Zeros that are not zero
#
# Beside large numbers, then, rounding does little harm. But some numbers should be exactly zero. In
# this batch the image is dark but for its left edge, and the output's gradient zero but for the
# right edge. No window with a gradient sees any light, so the gradient of the weights is zero.

# %%
x, dy = np.zeros((1, 4, 4, 8), np.float32), np.zeros((1, 4, 4, 8), np.float32)
x[:, :, 0], dy[:, :, 3] = generator.standard_normal((2, 1, 4, 8))
RATE = 1e-3
for name in ("im2col", "winograd2", "winograd4"):
    layer = Conv2d(8, 8, 3, padding=1, generator=np.random.default_rng(1), algorithm=name)
    layer.forward(x)
    layer.backward(dy)
    largest, before = np.abs(layer.dweight).max(), layer.weight.copy()
    Adam(layer.parameters, learning_rate=RATE).step(layer.gradient)
    moved = np.abs(layer.weight - before).max()
    print(f"{name:9}: a gradient of up to {largest:.0e}, and Adam moves a weight by up to "
          f"{moved / RATE:.2f} of the learning rate")  # fmt: skip

# %% [markdown]
# Where im2col adds up zeros, Winograd adds up numbers that ought to cancel, and some millionths
# remain. To SGD that is as good as nothing: its step is as small as the gradient. But Adam divides
# by the gradient's own size (epsilon in it is 1e-8), so it makes a step of nearly full length of
# whatever is left. (Points 0, 1, -1 lead to sums of few numbers with weights that are powers of
# two; such sums cancel exactly more often.)
#
# There is a second place where a zero decides, whatever the optimiser. A ReLU's derivative is 0 at
# 0, and 1 right above it. Let images be dark but for 3 % of their pixels. A network whose biases
# begin at 0 makes exact zeros of dark windows, and hands them to a ReLU:

# %%
UPDATES, SAMPLES = 5 if SMALL else 20, 16
images = np.where(generator.random((UPDATES, SAMPLES, 32, 32, 3)) < 0.03, 1, 0).astype(np.float32)
images *= generator.exponential(size=images.shape).astype(np.float32)
for name in ("im2col", "winograd2", "winograd4"):
    layer = Conv2d(3, 16, 3, padding=1, generator=np.random.default_rng(1), algorithm=name)
    y = layer.forward(images[0])
    if name == "im2col":
        dark = y == 0
        print(f"{100 * dark.mean():.0f} % of the outputs are exactly zero by im2col")
    through = 100 * (y[dark] > 0).mean()
    print(f"{name:9}: of these, a ReLU lets pass the gradient of {through:.0f} %")

# %% [markdown]
# All these gradients are as right as others: at the corner of a ReLU anything from 0 to 1 will do.
# But the result depends on the very last bits of everything, and so on the order of sums, which
# differs from one BLAS to another, and from a batch of 8 to one of 16. The first update moves the
# biases, and this is over. What Adam does, is not: its steps are no longer than others, and move
# weights on which the loss of this batch does not depend, but they depend on those last bits in
# every update.
#
# Let the same network train on the same 16 images an update, in one pass or in two of 8 each, by
# SGD and by Adam, and compare the parameters in the end. The order of some sums is all that
# differs. Biases begin at random numbers first, so that no ReLU stands at its corner. `minidl diff`
# calls runs equal if no layer differs by more than rounding explains, 4 sqrt(n) u t after t updates
# of n samples (`minidl/runs/diff.py` has the source). We also ask where the difference is: what
# share of its square is in those weights whose gradient by im2col was exactly zero in some update?

# %%
labels = generator.integers(0, 2, (UPDATES, SAMPLES))
RATES = {SGD: 0.03, Adam: 0.001}


def train(name, optimizer, updates, passes, bias=0.01):
    """The parameters in the end, layer by layer, and which of them once had a gradient of zero."""
    trained = network((32, 32, 3), np.random.default_rng(1), width=16)
    algorithms.use_algorithm(trained, name)
    biases = np.random.default_rng(2)
    for layer in trained.layers():
        if isinstance(layer, Conv2d):
            layer.bias[...] = bias * biases.standard_normal(layer.bias.shape)
    objective = Objective(trained, softmax_cross_entropy)
    optimizers = [optimizer(layer.parameters, RATES[optimizer]) for layer in objective.layers]
    zero = [np.zeros(layer.parameters.shape, bool) for layer in objective.layers]
    for x, label in zip(images[:updates], labels[:updates], strict=True):
        batches = zip(np.split(x, passes), np.split(label, passes), strict=True)
        objective.forward(list(batches))
        objective.backward(lambda layer: None)
        for layer, own, once in zip(objective.layers, optimizers, zero, strict=True):
            once |= layer.gradient == 0
            own.step(layer.gradient / SAMPLES)
    return [layer.parameters for layer in objective.layers], zero


def compare(name, optimizer, updates, bias=0.01):
    """Squares of what one pass and two differ by, and the worst layer, in parts of the bound."""
    whole, _ = train(name, optimizer, updates, 1, bias)
    halved, _ = train(name, optimizer, updates, 2, bias)
    squares = [(a - b) ** 2 for a, b in zip(whole, halved, strict=True)]
    worst = max(
        np.sqrt(square.sum()) / np.linalg.norm(layer)
        for square, layer in zip(squares, whole, strict=True)
    )
    return squares, worst / (4 * np.sqrt(SAMPLES) * 2**-24 * updates)


for updates in (1, UPDATES):
    print(f"after {updates} update{'s' if updates > 1 else ''}, in parts of the bound:")
    for optimizer in (SGD, Adam):
        _, zero = train("im2col", optimizer, updates, 1)
        share = 100 * np.concatenate(zero).mean()
        print(f"  {optimizer.__name__}: once zero are {share:.0f} % of the weights")
        for name in ("im2col", "winograd2", "winograd4"):
            squares, worst = compare(name, optimizer, updates)
            inside = sum(square[once].sum() for square, once in zip(squares, zero, strict=True))
            share = 100 * inside / sum(square.sum() for square in squares)
            print(f"    {name:9}: a layer differs by up to {worst:8.3f}; "
                  f"{share:5.1f} % of it in these")  # fmt: skip
print("biases that begin at 0, one update by SGD:")
for name in ("im2col", "winograd2", "winograd4"):
    _, worst = compare(name, SGD, 1, bias=0)
    print(f"    {name:9}: a layer differs by up to {worst:.3f} of the bound")

# %% [markdown]
# By SGD, all are far inside of the bound. (Its learning rate is the larger one, so that it moves
# the weights, too.) By Adam, im2col is. Winograd is far outside, at once, although nothing went
# wrong; and after the first update the difference is in those weights that ought to have stayed
# where they were. Later it can spread from there. No bound on rounding foresees that. So the
# promise "N ranks compute what one does" is checked with `--algorithm im2col`; for training, take
# what is fastest.
#
# The last lines are about the ReLUs. They may say more of your processor than of the algorithms:
# with OpenBLAS's sums for AVX-512, winograd4 differs by a hundredth of the bound there; with those
# for AVX2, which add in another order, by 14 times the bound. `OPENBLAS_CORETYPE=Haswell` before
# the command shows that, where the processor has both.
#
# ## Strides: space to depth
#
# Winograd's tiles need filters that move by one pixel. A filter that moves by two meets each square
# of 2 x 2 pixels at places of its own: what is the upper left one now will never be another. So
# write each square as *one* pixel of four times the channels. On these the filter moves by one. A
# filter of 5 x 5 covers 3 x 3 squares, not quite: pad it with zeros to 6 x 6.

# %%
colours = ["#9ecae8", "#f2b48a", "#8fd0b8", "#d9c2e0"]  # one for each place in a square
figure = Figure(figsize=(9, 3.5), layout="constrained")
panels = figure.subplot_mosaic("AABC;AADE")


def draw(panel, title, size, place):
    for row, column in np.ndindex(size, size):
        a, b = place(row, column)
        inside = a < 5 and b < 5
        colour = colours[2 * (a % 2) + b % 2] if inside else "0.93"
        panel.add_patch(
            Rectangle((column, row), 1, 1, edgecolor="white", linewidth=1.5, facecolor=colour)
        )
        panel.text(column + 0.5, row + 0.5, f"{a},{b}" if inside else "0", ha="center",
                   va="center", fontsize=9, color="black" if inside else "0.45")  # fmt: skip
    panel.set(xlim=(0, size), ylim=(size, 0), xticks=[], yticks=[], aspect="equal")
    panel.set_title(title, fontsize=10)
    panel.spines[:].set_visible(False)


draw(panels["A"], "5 x 5, moves by 2 (padded to 6 x 6)", 6, lambda row, column: (row, column))
for line in (2, 4):
    panels["A"].axhline(line, color="black", linewidth=1.2)
    panels["A"].axvline(line, color="black", linewidth=1.2)
NTH = ("first", "second", "third", "fourth")
for key, nth, (i, j) in zip("BCDE", NTH, np.ndindex(2, 2), strict=True):
    draw(panels[key], f"{nth} C channels", 3,
         lambda row, column, i=i, j=j: (2 * row + i, 2 * column + j))  # fmt: skip
figure.suptitle("one filter of 3 x 3 on 4C channels, moves by 1", x=0.75, fontsize=10)
show(figure, "09_space_to_depth")

# %% [markdown]
# Check it: rearrange the image, rearrange the filter, convolve by im2col with stride 1.

# %%
x = generator.standard_normal((1, 12, 12, 3))
layer = Conv2d(3, 4, 5, stride=2, generator=generator, algorithm="im2col", dtype=np.float64)
KH, KW, C, K = deep_kernel(layer.weight.shape, (2, 2))
padded = np.zeros((6, 6, 3, 4))
padded[:5, :5] = layer.weight
deep = Conv2d(C, K, 3, generator=generator, algorithm="im2col", dtype=np.float64)
deep.weight[...] = padded.reshape(3, 2, 3, 2, 3, 4).transpose(0, 2, 1, 3, 4, 5).reshape(3, 3, 12, 4)
squares = to_depth(x, (2, 2)).copy()
print(f"image {x.shape[1:]} -> {squares.shape[1:]}, filter {layer.weight.shape} -> "
      f"{deep.weight.shape}")  # fmt: skip
print(f"largest difference: {np.abs(layer.forward(x) - deep.forward(squares)).max():.0e}")
print(f"zeros in the deep filter: {np.sum(padded[:, :, 0, 0] == 0)} of {KH * KW * 4} places")

# %% [markdown]
# Eleven places of 36 are zeros, so by itself the rearrangement costs 36/25 of the multiplications.
# But now Winograd can take it. Multiplications for an output number, by the channels of the image:

# %%
for name, count in (
    ("directly", 25),
    ("deep, directly", 36),
    ("deep, F(2x2, 3x3)", 4 * 16 / 4),
    ("deep, F(4x4, 3x3)", 4 * 36 / 16),
):
    print(f"{name:18}: {count:4.0f} C, a gain of {25 / count:.2f}")


def clock(layers, x, repetitions):
    """The least seconds, (forward, backward), of each layer; they take turns."""
    least = np.full((len(layers), 2), np.inf)
    dy = np.ones_like(layers[0].forward(x))
    for _ in range(repetitions):
        for row, layer in zip(least, layers, strict=True):
            start = time.perf_counter()
            layer.forward(x)
            between = time.perf_counter()
            layer.backward(dy)
            np.minimum(row, (between - start, time.perf_counter() - between), out=row)
    return least


NAMES = ("im2col", "winograd2", "winograd4")
TURNS = 2 if SMALL else 6
C, K, size, N = (16, 32, 32, 1) if SMALL else (64, 128, 96, 4)
print(f"5 x 5 /2, {C} to {K} channels, {N} images of {size} x {size}, in ms (forward + backward):")
x = generator.standard_normal((N, size, size, C), np.float32)
layers = [
    Conv2d(C, K, 5, stride=2, padding=2, generator=generator, algorithm=name) for name in NAMES
]
for name, row in zip(NAMES, 1e3 * clock(layers, x, TURNS), strict=True):
    print(f"{name:9}: {row[0]:6.1f} + {row[1]:6.1f}")

# %% [markdown]
# The clock grants less than the count: transforms, the rearrangement and memory have their share.
#
# A *transposed* convolution, which makes small images large, is the same thing backwards. Its
# forward is a convolution's way from dy to dx, so all that it needs is there: `collect_back`, the
# products with the transposed weights, `spread_back`. No algorithm had to be written twice.

# %%
convolution = Conv2d(
    4, 5, 5, stride=2, padding=2, generator=generator, dtype=np.float64, algorithm="winograd4"
)
transposed = ConvTranspose2d(
    5, 4, 5, stride=2, padding=2, output_padding=1, generator=generator, dtype=np.float64,
    algorithm="im2col",
)  # fmt: skip
transposed.weight[...] = convolution.weight
y = convolution.forward(generator.standard_normal((1, 16, 16, 4)))
upstream = generator.standard_normal(y.shape)
back, forth = convolution.backward(upstream), transposed.forward(upstream)
print(f"{upstream.shape[1:]} -> {forth.shape[1:]}")
print(f"backward by winograd4 against forward by im2col: {np.abs(back - forth).max():.0e}")

# %% [markdown]
# ## Strips
#
# What is spread out is several times the image, so all algorithms work on a strip of some rows at a
# time, as page 2 did on blocks of columns. Why stop after the convolution? What follows it in the
# paper's network is a maximum of 2 x 2 pixels and a ReLU, and both need no more than their strip.
# `Sequential` writes the map of the whole batch to memory, and the next layer reads it from there.
# `Strips` sends a strip through all three layers while it is in the cache; the large map is never
# there. Take the first convolution, whose map is the largest.

# %%
N, size = (2, 64) if SMALL else (8, 224)


def three_layers():
    weights = np.random.default_rng(1)
    return {
        "conv": Conv2d(3, 128, 3, padding=1, generator=weights, input_gradient=False),
        "pool": MaxPool2d(2),
        "relu": ReLU(),
    }


x = generator.standard_normal((N, size, size, 3), np.float32)
chains = {"Sequential": Sequential(**three_layers()), "Strips": Strips(**three_layers())}
map_megabytes = N * size * size * 128 * 4 / 1e6
print(f"the map: {map_megabytes:.1f} MB; after the maximum: {map_megabytes / 4:.1f} MB")
results, megabytes = [], {}
dy = np.ones((N, size // 2, size // 2, 128), np.float32)
for name, chain in chains.items():
    tracemalloc.start()  # NumPy reports to it what memory it takes
    y = chain.forward(x)
    chain.backward(dy)
    megabytes[name] = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    results.append((y.copy(), chain.children[0].dweight.copy()))
elapsed = dict(zip(chains, clock(list(chains.values()), x, TURNS), strict=True))
for name, (forward, backward) in elapsed.items():
    print(f"{name:10}: {1e3 * forward:6.1f} + {1e3 * backward:6.1f} ms, "
          f"takes {megabytes[name]:6.1f} MB")  # fmt: skip
for what, one, other in zip(("y", "the weights' gradient"), *results, strict=True):
    difference = np.abs(one - other).max() / np.abs(other).max()
    print(f"largest difference of {what}: {difference:.0e} of the largest number")

# %% [markdown]
# The same numbers, but for the order of sums, in less time and for a fraction of the memory.
#
# ## The clock
#
# Now the five convolutions of the paper's network, by all three ways. "As direct" are the
# operations that the *direct* way makes, over the seconds: it says what one gets. "Made" are those
# of the products that are really made.

# %%
N, first, width = (2, 64, 32) if SMALL else (8, 224, 128)
shapes = [(f"conv{number + 1}", first >> number, width if number else 3) for number in range(5)]
measured, estimated, operations, hep = {}, {}, {}, {}
print("                          forward + backward, ms    GFLOP/s: as direct   made")
for label, size, C in shapes:
    x = generator.standard_normal((N, size, size, C), np.float32)
    backwards = 1 if label == "conv1" else 2  # the network's first layer needs no dx
    layers = [
        Conv2d(
            C, width, 3, padding=1, generator=generator, algorithm=name,
            input_gradient=label != "conv1",
        )
        for name in NAMES
    ]  # fmt: skip
    for name, layer, row in zip(NAMES, layers, clock(layers, x, TURNS), strict=True):
        algorithm = named(name, layer.windows)
        P, tiles, Q = algorithm.spread_shape(layer.weight.shape, size, size)
        direct, made = N * layer.flops(x.shape[1:]), N * 2 * P * tiles * Q * width
        case = label, name
        measured[case], operations[case], hep[case] = row, (direct, made), (layer, x)
        y_shape = (N, size, size, width)
        estimated[case] = algorithms.seconds(algorithm, layer.weight.shape, y_shape)
        rates = [(1 + backwards) * count / row.sum() / 1e9 for count in (direct, made)]
        print(f"{label} {size:3} x {size:3}  {name:9} {1e3 * row[0]:10.1f} + {1e3 * row[1]:6.1f} "
              f"{rates[0]:20.1f} {rates[1]:9.1f}")  # fmt: skip

# %% [markdown]
# Are these numbers good? That takes two measurements of the machine: how many operations it makes
# in a second at best, by products of matrices; and how many bytes it moves, by a copy, in
# main memory and in the cache. (A copy reads every byte and writes it, so bytes count twice.)


# %%
def shortest(function, repetitions):
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


peak = 0.0
for left, right in (((2048, 1152), (1152, 128)), ((36, 56, 128), (36, 128, 128))):
    a, b = (generator.standard_normal(shape, np.float32) for shape in (left, right))
    seconds = shortest(lambda: a @ b, 10 if SMALL else 60)  # noqa: B023
    rate = 2 * a.size * 128 / seconds
    print(f"product {left} @ {right}: {rate / 1e9:.1f} GFLOP/s")
    peak = max(peak, rate)
bandwidth = {}
for where, mebibytes in (("memory", 32 if SMALL else 256), ("cache", 1)):
    source = np.ones(mebibytes << 18, np.float32)
    target = np.zeros_like(source)
    seconds = shortest(lambda: np.copyto(target, source), 10 if where == "memory" else 500)  # noqa: B023
    bandwidth[where] = 2 * source.nbytes / seconds
for where, rate in bandwidth.items():
    print(f"copy in {where:6}     : {rate / 1e9:6.1f} GB/s; {peak / rate:.1f} operations could be "
          "made in the time of a byte")  # fmt: skip

# %% [markdown]
# A step that makes I operations for each byte that goes in or out, its *arithmetic intensity*, can
# make no more than I times the bandwidth a second, and no more than the peak. Drawn over I, these
# limits look like a roof, and each step has its place below it (S. Williams, A. Waterman and
# D. Patterson, *Roofline*, Communications of the ACM 52, 2009). Take the three steps apart, strip
# by strip as `convolution.py` does them. What goes in and out of a step are the arrays that it is
# given and that it returns. Not counted is what it does in between, copies of patches, say.


# %%
def apart(layer, x, repetitions):
    """Operations, bytes and least seconds of spread, products and collect, over all strips."""
    layer.forward(x)
    convolution, algorithm = layer.convolution, layer.convolution.algorithm
    n, m, K, strips = algorithm.n, algorithm.tile, len(layer.bias), []
    P, _, Q = algorithm.spread_shape(layer.weight.shape, m, m)
    prepared = generator.standard_normal((P, Q, K), np.float32)  # as good as any for the time
    convolution.each_strip(strips.append)
    cost, least = np.zeros((3, 2)), np.full((len(strips), 3), np.inf)
    for strip, seconds in zip(strips, least, strict=True):
        whole = (strip.size, -(-strip.height // m) * m, -(-x.shape[2] // m) * m, K)
        for _ in range(repetitions):
            times = [time.perf_counter()]
            spread = convolution.spread(x, strip)
            times.append(time.perf_counter())
            out = memory[: spread[:, :, 0].size * K].reshape(*spread.shape[:2], K)
            products = np.matmul(spread, prepared, out=out)
            times.append(time.perf_counter())
            y = algorithm.collect(products, whole)
            times.append(time.perf_counter())
            np.minimum(seconds, np.diff(times), out=seconds)
        tiles = spread.shape[1]
        seen = strip.size * np.prod(algorithm.reach(*whole[1:3])) * x.shape[3]
        # By rows, then by columns: B' takes n numbers to n, A' takes n to m.
        cost += (
            (4 * n**3 * tiles * Q, 4 * (seen + spread.size)),
            (2 * P * tiles * Q * K, 4 * (spread.size + prepared.size + products.size)),
            (2 * (n * n * m + n * m * m) * tiles * K, 4 * (products.size + y.size)),
        )
    return np.column_stack([cost, least.sum(axis=0)])


STEPS = ("spread", "products", "collect")
memory = np.empty(2**22, np.float32)
steps = {}
print("winograd4         share of time   operations a byte   GFLOP/s     GB/s")
for label, *_ in shapes[1:]:
    steps[label] = apart(*hep[label, "winograd4"], TURNS)
    for step, (count, moved, seconds) in zip(STEPS, steps[label], strict=True):
        share = 100 * seconds / steps[label][:, 2].sum()
        print(f"{label:6} {step:9} {share:12.0f} % {count / moved:16.1f} "
              f"{count / seconds / 1e9:13.1f} {moved / seconds / 1e9:8.1f}")  # fmt: skip

# %%
figure = Figure(figsize=(8, 4.8), layout="constrained")
panel = figure.subplots()
BESIDE = {"1": (9, 0), "2": (9, 0), "3": (0, 9), "4": (0, -10), "5": (-9, 0)}
intensity = np.geomspace(0.7, 600, 200)
for where, style, at in (("memory", "--", 1.1), ("cache", "-", 0.72)):
    roof = np.minimum(peak, intensity * bandwidth[where]) / 1e9
    panel.plot(intensity, roof, color="0.35", linestyle=style, linewidth=1.2)
    panel.annotate(f"copy in {where}", (at, at * bandwidth[where] / 1e9), (8, 0),
                   textcoords="offset points", fontsize=8, color="0.35", va="top")  # fmt: skip
panel.text(20, peak / 1e9, "product of matrices", va="bottom", fontsize=8, color="0.35")
for number, (step, colour) in enumerate(zip(STEPS, (GREEN, ORANGE, "#CC79A7"), strict=True)):
    rows = np.array([steps[label][number] for label in steps])
    panel.plot(rows[:, 0] / rows[:, 1], rows[:, 0] / rows[:, 2] / 1e9, "o", color=colour,
               label=f"winograd4: {step}")  # fmt: skip
for name, colour in (("im2col", BLUE), ("winograd4", ORANGE)):
    points = []
    for label, *_ in shapes:
        (layer, x), (direct, _) = hep[label, name], operations[label, name]
        y_size = len(x) * np.prod(layer.output_shape(x.shape[1:]))
        moved = x.nbytes + layer.weight.nbytes + 4 * y_size
        points.append((direct / moved, direct / measured[label, name][0] / 1e9))
        panel.annotate(label[4:], points[-1], BESIDE[label[4:]], textcoords="offset points",
                       fontsize=8, color=colour, ha="center", va="center")  # fmt: skip
    panel.plot(*np.transpose(points), "D", color=colour, markerfacecolor="none", markersize=5,
               label=f"{name}: conv1 to conv5, as direct")  # fmt: skip
panel.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GFLOP/s, forward")
for axis, ticks in ((panel.xaxis, (1, 10, 100)), (panel.yaxis, (10, 20, 50, 100, 200))):
    axis.set_ticks(ticks, ticks)
panel.minorticks_off()
panel.spines[["top", "right"]].set_visible(False)
panel.legend(fontsize=8, frameon=False, loc="lower right")
show(figure, "09_roofline")
direct, made = operations["conv3", "winograd4"]
seconds = measured["conv3", "winograd4"][0]
print(f"conv3 by winograd4: {100 * direct / seconds / peak:.0f} % of the peak as direct, "
      f"{100 * made / seconds / peak:.0f} % made")  # fmt: skip

# %% [markdown]
# Where nothing else runs, the products of Winograd lie on the roof: they are as good as products
# get. Only so few are made that the layer as a whole, counted as the direct way counts, lies
# *above* it. That breaks no law: the roof limits what is made, not what is got. Im2col cannot be
# above, since what it makes is what is counted. (On a busy machine all points sink, each as long as
# it is disturbed.)
#
# Spreading and collecting lie below. What holds them? Not the bandwidth, by this count; but the
# count hides what they are made of. Each is two products with B' or A' one after the other, and a
# copy in between, and each of these goes through the cache. A product with the 6 x 6 matrix B'
# makes 72 operations of 6 numbers and leaves 6: 48 bytes, 1.5 operations a byte, which is not far
# from the edge of the roof. And a copy makes no operations at all. So the transforms are few of the
# operations (42 of 330, says the table of m above) and a larger part of the time.
#
# Then there is conv1, which is slow by either way. Its pixels have 3 channels, so that products are
# sums of few terms, while as many numbers as anywhere are written to memory. Winograd makes that
# worse, since it collects 36 numbers for 16.
#
# ## What `auto` chooses
#
# The library does not measure while it trains, but estimates. `seconds` in
# `minidl/layers/algorithms.py` counts three things, gives each a time, measured once on the
# author's machine, and takes the algorithm with the least sum:

# %%
for what, seconds in (
    ("an operation of a product", algorithms.SECONDS_PER_OPERATION),
    ("a number that is spread or collected", algorithms.SECONDS_PER_NUMBER),
    ("a weight that is prepared", algorithms.SECONDS_PER_WEIGHT),
):
    print(f"{what:36}: {1e9 * seconds:.3f} ns")
for label, *_ in shapes:
    total = {name: measured[label, name].sum() for name in NAMES}
    chosen = min(NAMES, key=lambda name: estimated[label, name])
    best = min(total, key=total.get)
    print(f"{label}: auto takes {chosen}; the fastest was {best}, "
          f"in {100 * total[best] / total[chosen]:.0f} % of that time")  # fmt: skip

figure = Figure(figsize=(7, 3.4), layout="constrained")
panel = figure.subplots()
for place, (label, *_) in enumerate(shapes):
    for shift, name, colour in zip((-0.25, 0, 0.25), NAMES, (BLUE, GREEN, ORANGE), strict=True):
        base = measured[label, "im2col"].sum(), estimated[label, "im2col"]
        first_one = place == 0
        panel.bar(place + shift, measured[label, name].sum() / base[0], 0.23, color=colour,
                  label=name if first_one else None)  # fmt: skip
        panel.plot(place + shift, estimated[label, name] / base[1], "_", color="black",
                   markersize=14, markeredgewidth=2,
                   label="estimated" if first_one and name == "im2col" else None)  # fmt: skip
panel.set_xticks(range(len(shapes)), [f"{label}\n{size} x {size}" for label, size, _ in shapes])
panel.set(ylabel="time over that of im2col")
panel.spines[["top", "right"]].set_visible(False)
panel.legend(fontsize=8, frameon=False, ncols=4, loc="upper right")
show(figure, "09_clock")

# %% [markdown]
# An estimate may be off by a third or more. It matters only where two algorithms are close, and
# there it matters little. What do the three numbers lead to elsewhere, with batches of 8?

# %%
SIZES = (4, 7, 14, 28, 56)
print(" " * 23, *(f"{f'{size} x {size}':>10}" for size in SIZES), "  output pixels")
for kernel, stride, C, K in (
    (3, 1, 3, 128), (3, 1, 64, 64), (3, 1, 1024, 1024), (5, 2, 3, 64), (5, 2, 64, 128),
    (5, 2, 1024, 1024),
):  # fmt: skip
    windows = Windows((kernel, kernel), (stride, stride), (1, 1))
    ways = {name: named(name, windows) for name in NAMES}
    chosen = [
        min(NAMES, key=lambda name: algorithms.seconds(
            ways[name], (kernel, kernel, C, K), (8, size, size, K)))
        for size in SIZES
    ]  # fmt: skip
    print(f"{kernel} x {kernel} /{stride}, {C:4} to {K:4} ", *(f"{name:>10}" for name in chosen))

# %% [markdown]
# Three channels stay with im2col, unless a stride makes twelve of them and the image is large. And
# in small images with many channels the weights count: for each channel and filter, im2col has 9 of
# them, F(2x2, 3x3) has 16 and F(4x4, 3x3) has 36, to be made anew in every step for few pixels.
# (For 5 x 5 with stride 2 it is 25, 64 and 144; in the last line, those of F(4x4, 3x3) would also
# take more memory than `LARGEST` allows.) `minidl train --algorithm` overrules the choice.
#
# ## Exercises
#
# 1. F(3, 2) has the same four points as F(2, 3). Make it by `cook_toom(3, 2)`. Which of the three
#    matrices stays the same, and why do the other two trade places, but for the divisors? Which of
#    the two would you take for the rows, and which for the columns, of a filter of 3 x 2?
# 2. Add "winograd6" to `AlgorithmName` in `minidl/layers/algorithms.py`; for filters of 3 x 3
#    nothing else is needed. Measure conv2 to conv5 with it. With its error in mind, would you keep
#    it?
# 3. Filters of 5 x 5 with stride 1 are left to im2col. `cook_toom(4, 5)` needs seven points besides
#    infinity. How many multiplications would F(4x4, 5x5) save, and what does `winograd` above say
#    of its error?
# 4. Take 3 x 3 filters with stride 2. How many places of the deep filter are zeros, and what does
#    F(4x4, 2x2) leave of the multiplications? From which number of channels on does it pay on your
#    machine?
# 5. Measure the three numbers of the estimate on your machine: the first is on this page, the
#    second follows from the times of `apart`. Does the table above change? (`minidl bench machine`
#    measures them, too.)
#
# ## What to read next
#
# `minidl/layers/convolution.py`, the strips and the three products, and `minidl/layers/im2col.py`
# as the simplest algorithm that fits into it. Then `minidl/layers/cook_toom.py`, which is shorter
# than its explanation here; `minidl/layers/winograd.py`, with `as_strided` for patches that overlap
# without being copied; `minidl/layers/space_to_depth.py` and `minidl/layers/strips.py`. What is
# promised is in `tests/layers/test_winograd.py`, errors included. `minidl/runs/diff.py` says more
# of rounding.
