# %% [markdown]
# # 1. A layer and its gradient
#
# Everything that minidl trains is made of *layers*. This page takes one apart: what it computes,
# how it passes derivatives on, and how one can be sure that the derivatives are right. It needs
# linear algebra and Python, nothing else; the later pages need this one.
#
# Run it with `python tutorials/01_a_layer_and_its_gradient.py`, or open it as a notebook in VS Code
# or Jupyter (with Jupytext). Numbers that the text mentions are printed by the cell next to it.

# %%
import time

import numpy as np
from matplotlib.figure import Figure
from page import SMALL, show

from minidl.gradients.gradcheck import check_layer
from minidl.layers import Linear, ReLU, Sequential, Tanh
from minidl.losses import softmax_cross_entropy
from minidl.threads import use_threads
from minidl_models import hep

generator = np.random.default_rng(1)

# %% [markdown]
# ## What a layer is
#
# A layer is a function with two directions. `forward` turns a batch `x` into a batch `y`;
# `backward` turns a derivative by `y` into a derivative by `x`. Some layers also *learn*: their
# function has parameters.
#
# The simplest layer that learns is `Linear`: every output is a weighted sum of all inputs, plus a
# bias. With N samples in the batch, C inputs and K outputs,
#
#     y = x W + b        x (N, C)   W (C, K)   b (K,)   y (N, K)

# %%
N, C, K = 4, 3, 2
linear = Linear(C, K, generator=generator, dtype=np.float64)
x = generator.standard_normal((N, C))
y = linear.forward(x)
print(f"x {x.shape} -> y {y.shape}")
print("y is x W + b:", np.array_equal(y, x @ linear.weight + linear.bias))

# %% [markdown]
# A layer keeps all that it learns in *one flat vector*, `parameters`. `weight` and `bias` are views
# into it: other shapes for the same memory. Change a number here, and it has changed there.

# %%
for name, view in linear.views(linear.parameters).items():
    print(f"{name}: {view.size} of the {linear.parameters.size} parameters, as {view.shape}")
linear.parameters[-1] = 7
print("bias after parameters[-1] = 7:", linear.bias)
linear.bias[...] = 0

# %% [markdown]
# There is a second flat vector of the same length, `gradient`, with the views `dweight` and
# `dbias`. `backward` writes the loss's derivative by each parameter into it. Two vectors instead of
# a bag of arrays pay off in all that follows: an optimiser updates a layer in one expression, and a
# message that carries a layer to another computer is one vector (page 4).

# %%
print("dweight shares the gradient's memory:", np.shares_memory(linear.dweight, linear.gradient))

# %% [markdown]
# ## What backward has to compute
#
# Behind the layer come more layers, and at the end one number, the loss L. Suppose that somebody
# has already told us how L changes with each output of our layer:
#
#     dy[n,k] = dL / dy[n,k]        (N, K)
#
# That is all the layer needs to know of what comes behind it. The chain rule sums over the outputs
# through which a number can reach the loss. The weight W[c,k] enters y[n,k] for every sample n,
# each time multiplied by x[n,c]:
#
#     dL/dW[c,k] = sum over n of  x[n,c] dy[n,k]       dW = x' dy           (C, K)
#     dL/db[k]   = sum over n of         dy[n,k]       db = sum of dy       (K,)
#     dL/dx[n,c] = sum over k of  dy[n,k] W[c,k]       dx = dy W'           (N, C)
#
# (`x'` is the transpose.) The shapes alone nearly give it away: of x (N, C) and dy (N, K) there is
# one product that comes out as (C, K). *Nearly*, as we shall see below.

# %%
dy = generator.standard_normal((N, K))  # what a layer behind this one might send
dx = linear.backward(dy)
print("dW is x' dy:     ", np.allclose(linear.dweight, x.T @ dy))
print("db is sum of dy: ", np.allclose(linear.dbias, dy.sum(axis=0)))
print("dx is dy W':     ", np.allclose(dx, dy @ linear.weight.T))

# %% [markdown]
# `backward` never builds the matrix of all derivatives of outputs by weights, the *Jacobian*. It
# only ever multiplies by it, from the left, with dy. For a layer of ordinary size the difference is
# the one between a kilobyte and a gigabyte:

# %%
batch, width = 64, 128
print(f"Jacobian of y by W: {batch * width * width * width * 4 / 1e6:8.3f} MB")
print(f"dW:                 {width * width * 4 / 1e6:8.3f} MB")

# %% [markdown]
# ### A layer that learns nothing: ReLU
#
# The rectified linear unit is y = max(x, 0), number by number. Where x is positive y follows it, so
# dx = dy there; where x is negative y is stuck at zero, so dx = 0.

# %%
relu = ReLU()
y = relu.forward(np.array([[-2.0, -0.5, 0.5, 2.0]]))
print("forward: ", y)
print("backward:", relu.backward(np.array([[10.0, 20.0, 30.0, 40.0]])))

# %% [markdown]
# At exactly zero there is a kink and no derivative. Any number between 0 and 1 would do; minidl
# takes 0, and says so in the layer's documentation. Remember the kink, it will come back.
#
# ### Three rules
#
# `backward` **overwrites** the gradient. Some frameworks add to it instead, and everybody who uses
# them has at some time forgotten to set it to zero. And since `backward` needs what `forward` saw,
# every `backward` belongs to **one `forward`** before it:

# %%
for _ in range(2):
    linear.forward(x)
    linear.backward(dy)
    print("gradient of the bias:", linear.dbias)
try:
    linear.backward(dy)
except RuntimeError as error:
    print("RuntimeError:", error)

# %% [markdown]
# The third rule: layers **keep their output arrays** and write the next batch into them, because
# asking the operating system for fresh memory can take longer than the arithmetic. Copy what must
# survive the next `forward`.
#
# ## Is it right? Measure it
#
# A wrong gradient rarely crashes. The network still learns, only worse, and one looks for the
# reason in the data, in the learning rate, everywhere but there. So measure: move one number by a
# small h and see how the result follows,
#
#     dL/dw  is about  (L(w + h) - L(w - h)) / 2h         the central difference
#
# The layer alone has no loss. Any number that depends on all its outputs will do, so take their sum
# with *random* factors f[n,k]; its derivative by y[n,k] is f[n,k], which is therefore the dy to
# start `backward` with.


# %%
def differences(function, numbers, h):
    """Measure the derivative of function() by each of ``numbers``, which it depends on."""
    slopes = np.empty(numbers.size)
    for i, rest in enumerate(numbers.copy()):
        numbers[i] = rest + h
        above = function()
        numbers[i] = rest - h
        below = function()
        slopes[i] = (above - below) / (2 * h)
        numbers[i] = rest
    return slopes


factors = generator.standard_normal((N, K))
slopes = differences(lambda: np.sum(factors * linear.forward(x)), linear.parameters, h=1e-5)
linear.forward(x)
linear.backward(factors)
print("differences:", slopes.round(9))
print("backward:   ", linear.gradient.round(9))
print(f"largest deviation: {np.abs(slopes - linear.gradient).max():.0e}")

# %% [markdown]
# Why random factors, and not simply the sum of all outputs? Because factors that are all alike hide
# mistakes. Here is one: the gradient's columns in the wrong order, as after a flipped index. Start
# with ones, and every column of dW is the same; nobody could tell them apart.

# %%
for name, factors in {"ones": np.ones((N, K)), "random": generator.standard_normal((N, K))}.items():
    right, wrong = x.T @ factors, x.T @ factors[:, ::-1]
    print(f"{name:6}: the mistake shows as a deviation of {np.abs(right - wrong).max():.3f}")

# %% [markdown]
# ## How small is a small step?
#
# A linear layer is too easy: it has no curvature, and any step would do. So take a small network
# with a loss, and one direction u in the space of all its parameters. Along it the loss is a
# function of one number, f(t) = L(p + t u), and its slope at t = 0 should be
#
#     f'(0) = gradient . u
#
# Two errors fight each other. *Truncation*: by Taylor's theorem the central difference is off by
# h² f'''/6, and the one-sided one, (f(h) - f(0)) / h, by h f''/2. *Rounding*: f is only known to a
# relative error of about ε (the spacing of floating-point numbers, 2e-16 or 1e-7), and the
# difference of two such numbers is divided by h: an error of about ε f / h. One falls with h, the
# other rises, and the best step is in between: near ε^(1/3) for central, ε^(1/2) for one-sided
# differences (W. Press et al., *Numerical Recipes*, section 5.7).

# %%
labels = generator.integers(0, 3, size=32)
images = generator.standard_normal((32, 10))


def classifier(dtype):
    """Two layers with a smooth function in between, always with the same weights."""
    weights = np.random.default_rng(2)
    return Sequential(
        Linear(10, 20, generator=weights, dtype=dtype),
        Tanh(),
        Linear(20, 3, generator=weights, dtype=dtype),
    )


def loss_along(network, direction, t):
    """The loss at the parameters plus t times the direction, both cut into the layers' pieces."""
    batch = images.astype(network.layers()[0].parameters.dtype)
    rest = [layer.parameters.copy() for layer in network.layers()]
    for layer, piece in zip(network.layers(), direction, strict=True):
        layer.parameters += (t * piece).astype(piece.dtype)
    loss, _ = softmax_cross_entropy(network.forward(batch), labels)
    for layer, before in zip(network.layers(), rest, strict=True):
        layer.parameters[...] = before
    return loss


network = classifier(np.float64)
direction = [generator.standard_normal(layer.parameters.size) for layer in network.layers()]
_, dy = softmax_cross_entropy(network.forward(images), labels)
network.backward(dy)
pieces = zip(network.layers(), direction, strict=True)
exact = sum(layer.gradient @ piece for layer, piece in pieces)
print(f"gradient . u = {exact:.6f}")

# %% [markdown]
# Now the step from 10⁻¹² to 1, in double and in single precision.

# %%
steps = np.logspace(-12, 0, 49)
errors = {}
for dtype in (np.float64, np.float32):
    network = classifier(dtype)
    u = [piece.astype(dtype) for piece in direction]
    here = loss_along(network, u, 0)
    above = np.array([loss_along(network, u, h) for h in steps])
    below = np.array([loss_along(network, u, -h) for h in steps])
    name = np.dtype(dtype).name
    errors[f"{name}, central"] = np.abs((above - below) / (2 * steps) / exact - 1)
    errors[f"{name}, one-sided"] = np.abs((above - here) / steps / exact - 1)
for name, error in errors.items():
    best = error.argmin()
    print(f"{name:18}: smallest relative error {error[best]:.0e}, at h = {steps[best]:.0e}")

# %%
figure = Figure(figsize=(8, 5), layout="constrained")
panel = figure.subplots()
for name, error in errors.items():
    colour = "#0072B2" if "64" in name else "#D55E00"
    style = "-" if "central" in name else ":"
    panel.loglog(steps, np.maximum(error, 1e-16), style, color=colour, label=name)
panel.set(xlabel="step h", ylabel="relative error of the slope", ylim=(1e-13, 1e2))
panel.text(1.5e-11, 4e-6, "rounding, as 1/h", rotation=-27, color="0.4")
panel.text(6e-8, 1.2e-6, "truncation, as h", rotation=27, color="0.4")
panel.text(3e-4, 1e-8, "truncation, as h²", rotation=46, color="0.4")
panel.legend(frameon=False, loc="lower left")
panel.grid(color="0.92")
panel.spines[["top", "right"]].set_visible(False)
show(figure, "01_step_size")

# %% [markdown]
# Each curve is a V. To the right of its lowest point the error is smooth: that is truncation, which
# has the same value in both precisions, and falls by a hundred for a step of a tenth where the
# difference is central, by ten where it is one-sided. (The dip near 0.1 is no merit: there the
# error changes its sign.) To the left it is ragged: that is rounding, which grows as the step
# shrinks. At the far left of single precision even p + h u is rounded back to p, the measured slope
# is zero and the relative error exactly 1.
#
# Three conclusions. Gradients are checked in **double precision**: that is why every layer of
# minidl follows the `dtype` that it is given. Differences are **central**. And no single step is
# right for all functions: better try several, and believe a slope where two of them agree.
#
# ## A million parameters
#
# Moving every number by itself takes two forward passes a parameter. The network of the paper has
# 594,178, so that is hopeless. But the last section has shown the way out: a *random direction* u
# moves them all at once, and two forward passes measure gradient . u.
#
# Can an error hide? If the gradient is wrong by the vector e, the comparison is off by e . u. For
# u with independent normal components that is a normal number with standard deviation |e|, however
# many parameters there are, and however few of them are wrong. It can be small by chance: below
# |e|/100 with a probability of 0.8 %. Then take another direction.

# %%
size = 594_178
print(f"one by one: {2 * size:,} forward passes; along a direction: 2")
error = np.zeros(size)
error[size // 3] = 1.0  # one single parameter's gradient is wrong
seen = np.abs([error @ generator.standard_normal(size) for _ in range(8)])
print("one wrong number of 594,178, along eight directions:", seen.round(2))
chance = np.mean(np.abs(generator.standard_normal(1_000_000)) < 0.01)
print(f"share of directions that show less than a hundredth of it: {100 * chance:.1f} %")

# %% [markdown]
# ## The checker
#
# `minidl.gradients.gradcheck` is all of the above in one call: random factors, double precision,
# central differences with three steps, every number of a small tensor by itself, samples and
# random directions for a large one.

# %%
check = Sequential(Linear(10, 20, generator=generator, dtype=np.float64), ReLU())
print(check_layer(check, images, generator))

# %% [markdown]
# Each line is one tensor; "slopes" says along how many directions it was measured, and the error is
# relative. The limit is 10⁻⁵. Some slopes may be skipped *at kinks*: a ReLU's input may be so close
# to zero that a step crosses over, and then the differences are wrong, not the gradient. The
# checker sees it because the slopes from both sides disagree. In the extreme, with all inputs
# exactly zero, there is nothing to be said, and it says so:

# %%
print(check_layer(ReLU(), np.zeros((2, 3)), generator))


# %% [markdown]
# Now three layers that are broken on purpose. The first has its product the wrong way round. With
# as many inputs as outputs all shapes fit, and nothing complains: this is what "nearly" meant.


# %%
class Swapped(Linear):
    def backward(self, dy, announce=None):
        x = self._recall()
        np.matmul(dy.T, x, out=self.dweight)  # wrong: should be x.T @ dy
        np.sum(dy, axis=0, out=self.dbias)
        return dy @ self.weight.T


class Averaged(Linear):
    def backward(self, dy, announce=None):
        dx = super().backward(dy, announce)
        self.dbias[...] = dy.mean(axis=0)  # wrong: dy holds the 1/N of the loss's mean already
        return dx


class Unstopped(ReLU):
    def backward(self, dy, announce=None):
        self._recall()
        return dy  # wrong: passes through where y is zero, too


broken = {
    "Swapped": Swapped(10, 10, generator=generator, dtype=np.float64),
    "Averaged": Averaged(10, 10, generator=generator, dtype=np.float64),
    "Unstopped": Unstopped(),
}
for name, layer in broken.items():
    print(f"--- {name}")
    print(check_layer(layer, images, generator))

# %% [markdown]
# The report names the worst number, what backward says of it and what the differences say, with
# each of three steps, so that one can see for oneself how well they agree. Above that stands the
# likely cause: the checker knows what common mistakes look like, undoes each in what backward has
# computed, and says which one makes it right.
#
# Does it also find small mistakes? Here a gradient is wrong by one part in a thousand:


# %%
class SlightlyOff(Linear):
    def backward(self, dy, announce=None):
        dx = super().backward(dy, announce)
        self.gradient *= 1.001
        return dx


report = check_layer(SlightlyOff(10, 10, generator=generator, dtype=np.float64), images, generator)
print(report)
print("accepted:", report.ok)

# %% [markdown]
# The same check is a command: `minidl check hep` goes through the paper's network, layer by layer
# and as a whole, and `minidl check my_model` through one of yours.
#
# ## Announcing
#
# One thing is left in the signature of `backward`: the argument `announce`. It is a function that
# is called with each layer that learns, the moment its gradient is complete. A container passes it
# on to the layers inside. Backward starts at the end, so the last layer is announced first:

# %%
network = Sequential(
    first=Linear(10, 20, generator=generator, input_gradient=False),
    middle=Tanh(),
    last=Linear(20, 3, generator=generator),
)
print("forward order:", [layer.name for layer in network.layers()])
_, dy = softmax_cross_entropy(network.forward(images.astype(np.float32)), labels)
announced = []
network.backward(dy, announce=lambda layer: announced.append(layer.name))
print("announced:    ", announced)

# %% [markdown]
# Why would anybody want to know? Because a finished gradient can be sent to other computers while
# the layers in front of it are still being computed. How much time is there? Let the paper's
# network tell (a quarter as wide as there, on images of 64 x 64 pixels):

# %%
height = 32 if SMALL else 64
network = hep.network((height, height, 3), generator, width=32)
batch = generator.standard_normal((8, height, height, 3), np.float32)


def timed_backward():
    """Seconds from the start of backward to each announcement, and to the end."""
    times = {}
    output = network.forward(batch)
    start = time.perf_counter()
    network.backward(
        np.ones_like(output), lambda layer: times.update({layer.name: time.perf_counter() - start})
    )
    return times, time.perf_counter() - start


use_threads(1)  # the machine's other cores are for other ranks
times, end = min((timed_backward() for _ in range(10)), key=lambda run: run[1])
for name, seconds in times.items():
    print(f"{name:7} is complete after {1e3 * seconds:5.2f} ms of {1e3 * end:.2f} ms")

# %%
figure = Figure(figsize=(8, 3), layout="constrained")
panel = figure.subplots()
names, done = list(times), 1e3 * np.array(list(times.values()))
panel.barh(names, done, color="0.85", label="being computed, or waiting for its turn")
panel.barh(names, 1e3 * end - done, left=done, color="#0072B2", label="can be sent meanwhile")
panel.invert_yaxis()
panel.set_xlabel("milliseconds since the start of backward")
panel.spines[["top", "right", "left"]].set_visible(False)
figure.legend(frameon=False, loc="outside upper center", ncols=2)
show(figure, "01_announced")

# %% [markdown]
# The blue bars are the time in which each gradient may travel for free. The last layers have nearly
# all of backward; the first, whose images are largest, takes longest and has nothing left.
#
# ## Exercises
#
# 1. Write a layer `Softplus`, y = log(1 + exp(x)), with its backward. Let the checker judge it.
#    Does it survive x = 1000? (`Sigmoid` in `minidl/layers/activation.py` shows the trick.)
# 2. Let a ReLU's derivative at zero be 1 (`y >= 0`). Does the checker notice? Should it?
# 3. (-f(2h) + 8 f(h) - 8 f(-h) + f(-2h)) / 12h has a truncation error of order h⁴. Add it to the
#    picture. Where should its best step be, by the argument above, and where is it?
#
# ## What to read next
#
# `minidl/layers/layer.py`, which says what every layer is, then `linear.py` and `activation.py`
# beside it; `minidl/gradients/gradcheck.py`, then `differences.py` (how a slope is measured) and
# `diagnosis.py` (what mistakes look like). The next page is
# `02_convolution_as_a_matrix_product.py`.
