"""Random layers and batches: geometry without exceptions, for properties that hold for all.

``LAYERS`` is the table of all kinds. A case of it can be built in any precision, with the same
random parameters each time.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, get_args

import numpy as np
from hypothesis import strategies as st

from minidl.layers import (
    AvgPool2d,
    BatchNorm2d,
    Branches,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Strips,
    Tanh,
)
from minidl.layers.algorithms import AlgorithmName, choose


class Case(NamedTuple):
    """A layer and the shape of a batch for it."""

    make: Callable[[np.random.Generator, type], Layer]
    shape: tuple[int, ...]
    seed: int

    def build(self, dtype=np.float64):
        generator = np.random.default_rng(self.seed)
        layer = self.make(generator, dtype)
        for leaf in layer.layers():
            # Biases start at zero, where a test would not see them.
            leaf.parameters[...] = generator.standard_normal(leaf.parameters.size)
        return layer

    def batch(self, dtype=np.float64, size=None):
        shape = self.shape if size is None else (size, *self.shape[1:])
        return distinct(np.random.default_rng([self.seed, 1]), shape).astype(dtype)

    def upstream(self, y):
        """A random derivative by each of the outputs, whatever size batches the case has."""
        return like(y, np.random.default_rng([self.seed, 2]))


def distinct(generator, shape):
    """Numbers between -2 and 2 of which no two are close, and none to zero: far from kinks."""
    size = int(np.prod(shape))
    return (4 * (generator.permutation(size) + 0.3) / max(size, 1) - 2).reshape(shape)


def like(y, generator):
    """Random numbers in the form of an output, which may be a tuple."""
    if isinstance(y, tuple):
        return tuple(like(part, generator) for part in y)
    return generator.standard_normal(y.shape).astype(y.dtype)


def parts(y):
    """The arrays of an output that may be a tuple; copies, since layers reuse theirs."""
    if isinstance(y, tuple):
        return [array for part in y for array in parts(part)]
    return [np.array(y)]


@st.composite
def layouts(draw, x):
    """``x`` with the same numbers, elsewhere in memory: what slices and transposes leave."""
    how = draw(st.sampled_from(["channel first", "every other", "backwards", "offset"]))
    if how == "channel first":
        return np.moveaxis(np.moveaxis(x, -1, 1).copy(), 1, -1)
    if how == "backwards":
        return np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    roomy = np.full([2 * length + 1 for length in x.shape], np.nan, x.dtype)
    start, step = (1, 2) if how == "every other" else (1, 1)
    view = roomy[tuple(slice(start, start + step * length, step) for length in x.shape)]
    view[...] = x
    return view


few = st.integers(1, 3)
seeds = st.integers(0, 2**32 - 1)


class Geometry(NamedTuple):
    """Windows on an image: height and width never have to be alike, nor strides to divide."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    image: tuple[int, int]

    @property
    def arguments(self):
        return {"stride": self.stride, "padding": self.padding}


@st.composite
def geometries(draw, pooling=False):
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(few, few))
    padding = tuple(draw(st.integers(0, k // 2 if pooling else k)) for k in kernel)
    image = tuple(
        max(1, k - 2 * p) + draw(st.integers(0, 5)) for k, p in zip(kernel, padding, strict=True)
    )
    return Geometry(kernel, stride, padding, image)


@st.composite
def convolutions(draw):
    g, channels, filters = draw(geometries()), draw(few), draw(few)

    def make(generator, dtype):
        return Conv2d(channels, filters, g.kernel, generator=generator, dtype=dtype, **g.arguments)

    return Case(make, (draw(few), *g.image, channels), draw(seeds))


@st.composite
def fitting_algorithms(draw, windows):
    """An algorithm by name that can take such windows."""
    names = []
    for name in get_args(AlgorithmName):
        with suppress(ValueError):
            choose(name, windows, (*windows.kernel, 1, 1), (1, 4, 4, 1))
            names.append(name)
    return draw(st.sampled_from(names))


@st.composite
def algorithms(draw, base):
    """The cases of a convolution, by any algorithm that can take them."""
    case = draw(base)
    name = draw(fitting_algorithms(case.build().windows))

    def make(generator, dtype):
        layer = case.make(generator, dtype)
        layer.algorithm = name
        return layer

    return case._replace(make=make)


@st.composite
def deconvolutions(draw):
    g, channels, filters = draw(geometries()), draw(few), draw(few)
    more = tuple(draw(st.integers(0, s - 1)) for s in g.stride)
    arguments = {**g.arguments, "output_padding": more}
    # What comes out has to have at least a pixel.
    image = tuple(
        n + -(-max(0, 2 * p - k + 1) // s)
        for n, p, k, s in zip(g.image, g.padding, g.kernel, g.stride, strict=True)
    )

    def make(generator, dtype):
        return ConvTranspose2d(
            channels, filters, g.kernel, generator=generator, dtype=dtype, **arguments
        )

    return Case(make, (draw(few), *image, channels), draw(seeds))


@st.composite
def strips(draw):
    """A convolution with what may follow it."""
    case = draw(algorithms(convolutions()))
    height, width, _ = case.build().output_shape(case.shape[1:])
    pool = draw(st.tuples(st.integers(1, min(3, height)), st.integers(1, min(3, width))))
    rest = draw(st.sampled_from(["", "pool", "relu", "pool relu", "relu pool"])).split()

    def make(generator, dtype):
        made = {"pool": MaxPool2d(pool), "relu": ReLU(inplace=True)}
        return Strips(conv=case.make(generator, dtype), **{name: made[name] for name in rest})

    return case._replace(make=make)


@st.composite
def poolings(draw, kind):
    g = draw(geometries(pooling=True))
    shape = (draw(few), *g.image, draw(few))
    return Case(lambda generator, dtype: kind(g.kernel, **g.arguments), shape, draw(seeds))


@st.composite
def images(draw, make):
    """Cases of a layer that takes images of any size; ``make(channels, generator, dtype)``."""
    shape = (draw(few), draw(st.integers(2, 5)), draw(st.integers(2, 5)), draw(few))
    return Case(
        lambda generator, dtype: make(shape[3], generator, dtype),
        shape,
        draw(seeds),
    )


@st.composite
def linears(draw):
    N, C, K = draw(few), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    return Case(
        lambda generator, dtype: Linear(C, K, generator=generator, dtype=dtype), (N, C), draw(seeds)
    )


def conv(channels, filters, generator, dtype):
    return Conv2d(channels, filters, (3, 1), padding=(1, 0), generator=generator, dtype=dtype)


def sequence(channels, generator, dtype):
    return Sequential(
        conv(channels, 3, generator, dtype),
        BatchNorm2d(3, dtype=dtype),
        ReLU(inplace=True),
        MaxPool2d(2),
        Tanh(),
        GlobalAvgPool2d(),
        Linear(3, 2, generator=generator, dtype=dtype),
    )


def branches(channels, generator, dtype):
    """As in a detector: a common trunk, heads of their own, one of them branching again."""
    return Sequential(
        trunk=conv(channels, 2, generator, dtype),
        heads=Branches(
            boxes=conv(2, 1, generator, dtype),
            rest=Branches(
                classes=Sequential(Flatten(), LeakyReLU(0.1)),
                scores=Sequential(
                    GlobalAvgPool2d(), Linear(2, 2, generator=generator, dtype=dtype)
                ),
            ),
        ),
    )


def residual(channels, generator, dtype):
    inner = Residual(Sequential(ReLU(), conv(channels, channels, generator, dtype)))
    return Residual(Sequential(inner, Sigmoid(), conv(channels, channels, generator, dtype)))


LAYERS = {
    "convolution": algorithms(convolutions()),
    "transposed convolution": algorithms(deconvolutions()),
    "strips": strips(),
    "max pooling": poolings(MaxPool2d),
    "average pooling": poolings(AvgPool2d),
    "linear": linears(),
    "global average": images(lambda C, generator, dtype: GlobalAvgPool2d()),
    "flatten": images(lambda C, generator, dtype: Flatten()),
    "ReLU": images(lambda C, generator, dtype: ReLU()),
    "ReLU in place": images(lambda C, generator, dtype: ReLU(inplace=True)),
    "leaky ReLU": images(lambda C, generator, dtype: LeakyReLU(0.3)),
    "sigmoid": images(lambda C, generator, dtype: Sigmoid()),
    "tanh": images(lambda C, generator, dtype: Tanh()),
    "batch norm": images(lambda C, generator, dtype: BatchNorm2d(C, dtype=dtype)),
    "dropout": images(lambda C, generator, dtype: Dropout(0.4, generator=generator)),
    "sequence": images(sequence),
    "branches": images(branches),
    "residual": images(residual),
}
