"""Against PyTorch: layers over random geometries, then the whole HEP network and its training."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers.strategies import (
    algorithms,
    convolutions,
    deconvolutions,
    geometries,
    images,
    linears,
    poolings,
)

from minidl import losses
from minidl.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    GlobalAvgPool2d,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Sigmoid,
    Tanh,
)
from minidl.optim import SGD
from minidl_models.hep.network import network

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make test-torch")
functional = torch.nn.functional
both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])
seeds = st.integers(0, 2**32 - 1)


def theirs(x):
    """PyTorch's own copy of an array, with a gradient; images go channel first."""
    x = np.moveaxis(x, -1, 1) if x.ndim == 4 else x
    return torch.tensor(np.ascontiguousarray(x), requires_grad=True)


def ours(tensor):
    """Back to an array, images channel last."""
    x = tensor.detach().numpy()
    return np.moveaxis(x, 1, -1) if x.ndim == 4 else x


def kernel(weight):
    """A convolution's weight (KH, KW, C, K) in PyTorch's order (K, C, KH, KW)."""
    return weight.transpose(3, 2, 0, 1)


def close(found, expected):
    """Equal up to rounding, relative to the whole tensor."""
    eps = np.finfo(found.dtype).eps
    assert found.shape == tuple(expected.shape)
    assert np.abs(found - expected).max() <= 100 * eps * (np.linalg.norm(expected) + 1)


# oneDNN's convolution takes memory behind small images for a part of them: with a kernel of 2 x 4
# on 3 x 5 pixels, one row of results is wrong. PyTorch's own kernels are the reference.
@torch.backends.mkldnn.flags(enabled=False)
def agree(layer, function, case, dtype):
    """Compare forward and backward; ``function`` is theirs."""
    x = case.batch(dtype)
    y, x_theirs = layer.forward(x.copy()), theirs(x)
    y_theirs = function(x_theirs)
    close(y, ours(y_theirs))
    dy = case.upstream(y)
    y_theirs.backward(theirs(dy).detach())
    close(layer.backward(dy.copy()), ours(x_theirs.grad))


@both_precisions
@given(case=algorithms(deconvolutions()))
def test_transposed_convolution(dtype, case):
    layer = case.build(dtype)
    weight = torch.tensor(kernel(layer.weight).copy(), requires_grad=True)
    bias, windows = theirs(layer.bias), layer.windows
    agree(
        layer,
        lambda x: functional.conv_transpose2d(
            x, weight, bias, windows.stride, windows.padding, layer.more
        ),
        case,
        dtype,
    )
    close(kernel(layer.dweight), weight.grad.numpy())
    close(layer.dbias, bias.grad.numpy())


@both_precisions
@given(case=algorithms(convolutions()))
def test_convolution(dtype, case):
    layer = case.build(dtype)
    weight = torch.tensor(kernel(layer.weight).copy(), requires_grad=True)
    bias, windows = theirs(layer.bias), layer.windows
    agree(
        layer,
        lambda x: functional.conv2d(x, weight, bias, windows.stride, windows.padding),
        case,
        dtype,
    )
    close(kernel(layer.dweight), weight.grad.numpy())
    close(layer.dbias, bias.grad.numpy())


@both_precisions
@given(case=poolings(MaxPool2d))
def test_max_pooling(dtype, case):
    layer = case.build(dtype)
    w = layer.windows
    agree(layer, lambda x: functional.max_pool2d(x, w.kernel, w.stride, w.padding), case, dtype)


@given(case=poolings(MaxPool2d), values=st.integers(1, 3))
def test_max_pooling_s_rule_for_ties(case, values):
    layer = case.build()
    w, x = layer.windows, np.round(values * case.batch() / 2)
    x_theirs = theirs(x)
    y = layer.forward(x)
    dy = case.upstream(y)
    functional.max_pool2d(x_theirs, w.kernel, w.stride, w.padding).backward(theirs(dy).detach())
    close(layer.backward(dy), ours(x_theirs.grad))


@both_precisions
@given(case=poolings(AvgPool2d))
def test_average_pooling(dtype, case):
    layer = case.build(dtype)
    w = layer.windows
    agree(layer, lambda x: functional.avg_pool2d(x, w.kernel, w.stride, w.padding), case, dtype)


@both_precisions
@given(case=linears())
def test_linear(dtype, case):
    layer = case.build(dtype)
    weight, bias = theirs(layer.weight.T), theirs(layer.bias)
    agree(layer, lambda x: functional.linear(x, weight, bias), case, dtype)
    close(layer.dweight.T, weight.grad.numpy())
    close(layer.dbias, bias.grad.numpy())


ACTIVATIONS = {
    "ReLU": (ReLU, functional.relu),
    "ReLU in place": (lambda: ReLU(inplace=True), functional.relu),
    "leaky ReLU": (lambda: LeakyReLU(0.2), lambda x: functional.leaky_relu(x, 0.2)),
    "sigmoid": (Sigmoid, torch.sigmoid),
    "tanh": (Tanh, torch.tanh),
    "global average": (GlobalAvgPool2d, lambda x: x.mean(dim=(2, 3))),
}


@both_precisions
@pytest.mark.parametrize("kind", ACTIVATIONS)
@given(data=st.data())
def test_layers_without_parameters(dtype, kind, data):
    make, function = ACTIVATIONS[kind]
    case = data.draw(images(lambda C, generator, dtype: make()))
    agree(case.build(dtype), function, case, dtype)


@both_precisions
@given(case=images(lambda C, generator, dtype: BatchNorm2d(C, momentum=0.3, dtype=dtype)))
def test_batch_norm_and_its_running_moments(dtype, case):
    layer = case.build(dtype)
    twin = torch.nn.BatchNorm2d(case.shape[3], momentum=0.3, dtype=theirs(layer.scale).dtype)
    with torch.no_grad():
        twin.weight.copy_(torch.tensor(layer.scale))
        twin.bias.copy_(torch.tensor(layer.shift))
    agree(layer, twin, case, dtype)
    close(layer.dscale, twin.weight.grad.numpy())
    close(layer.dshift, twin.bias.grad.numpy())
    close(layer.running_mean, twin.running_mean.numpy())
    close(layer.running_variance, twin.running_var.numpy())
    twin.eval()
    x = case.batch(dtype)
    close(layer.forward(x, training=False), ours(twin(theirs(x))))


ELEMENTWISE = {
    "binary cross-entropy": (
        losses.binary_cross_entropy,
        functional.binary_cross_entropy_with_logits,
    ),
    "mean squared error": (losses.mean_squared_error, functional.mse_loss),
    "smooth L1": (losses.smooth_l1, functional.smooth_l1_loss),
    "smooth L1, beta 0.3": (
        lambda y, target: losses.smooth_l1(y, target, 0.3),
        lambda y, target: functional.smooth_l1_loss(y, target, beta=0.3),
    ),
}


@both_precisions
@pytest.mark.parametrize("kind", ELEMENTWISE)
@given(geometry=geometries(), seed=seeds)
def test_losses_by_elements(dtype, kind, geometry, seed):
    loss, function = ELEMENTWISE[kind]
    generator = np.random.default_rng(seed)
    output = (3 * generator.standard_normal(geometry.image)).astype(dtype)
    target = generator.uniform(0, 1, geometry.image).astype(dtype)
    value, dy = loss(output, target)
    output_theirs = theirs(output)
    expected = function(output_theirs, torch.tensor(target))
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-5)
    close(dy, output_theirs.grad.numpy())


@both_precisions
@given(N=st.integers(1, 6), K=st.integers(1, 5), weighted=st.booleans(), seed=seeds)
def test_softmax_cross_entropy(dtype, N, K, weighted, seed):
    generator = np.random.default_rng(seed)
    logits = (5 * generator.standard_normal((N, K))).astype(dtype)
    labels = generator.integers(0, K, N)
    weights = generator.uniform(0, 2, N) if weighted else None
    value, dy = losses.softmax_cross_entropy(logits, labels, weights)
    logits_theirs = theirs(logits)
    each = functional.cross_entropy(logits_theirs, torch.tensor(labels), reduction="none")
    expected = (each * torch.tensor(1.0 if weights is None else weights.astype(dtype))).mean()
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-5, abs=1e-6)
    close(dy, logits_theirs.grad.numpy())


@pytest.mark.parametrize("options", [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.2},
])  # fmt: skip
@given(seed=seeds)
def test_descent(options, seed):
    generator = np.random.default_rng(seed)
    parameters, gradients = generator.standard_normal(7), generator.standard_normal((6, 7))
    twin = torch.tensor(parameters.copy(), requires_grad=True)
    optimiser, descent = SGD(parameters, 0.1, **options), torch.optim.SGD([twin], 0.1, **options)
    for gradient in gradients:
        optimiser.step(gradient)
        twin.grad = torch.tensor(gradient)
        descent.step()
        close(parameters, twin.detach().numpy())


def hep_in_torch(layers):
    """The paper's network as PyTorch would have it, with the same weights."""
    nn, modules = torch.nn, []
    for number, conv in enumerate(layers[:-1], start=1):
        KH, KW, C, K = conv.weight.shape
        modules += [nn.Conv2d(C, K, (KH, KW), padding=1), nn.ReLU()]
        modules += [nn.MaxPool2d(2)] if number < 5 else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    twin = nn.Sequential(*modules, nn.Linear(*layers[-1].weight.shape))
    twin = twin.to(theirs(layers[0].bias).dtype)
    with torch.no_grad():
        for name, tensor in named(twin):
            layer, kind = name.split(".")
            tensor.copy_(torch.tensor(in_torch_order(layers, layer, kind, "parameters").copy()))
    return twin


def named(twin):
    """Their parameters under the names of ours."""
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "linear"]
    names = [f"{layer}.{kind}" for layer in names for kind in ("weight", "bias")]
    return list(zip(names, twin.parameters(), strict=True))


def in_torch_order(layers, layer, kind, vector):
    (leaf,) = (leaf for leaf in layers if leaf.name == layer)
    tensor = leaf.views(getattr(leaf, vector))[kind]
    return kernel(tensor) if tensor.ndim == 4 else tensor.T


@pytest.fixture
def problem():
    generator = np.random.default_rng(0)
    return generator, generator.standard_normal((4, 35, 32, 3)), np.array([0, 1, 1, 0])


def step(layers, x, labels):
    loss, dy = losses.softmax_cross_entropy(layers.forward(x), labels)
    layers.backward(dy)
    return loss


def step_theirs(twin, x, labels):
    twin.zero_grad()
    loss = functional.cross_entropy(twin(theirs(x)), torch.tensor(labels))
    loss.backward()
    return loss.item()


@both_precisions
def test_the_hep_network_s_loss_and_every_gradient(problem, dtype):
    generator, x, labels = problem
    layers = network((35, 32, 3), generator, dtype=dtype)
    twin = hep_in_torch(layers.layers())
    assert sum(tensor.numel() for _, tensor in named(twin)) == 594_178
    x = x.astype(dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert step(layers, x.copy(), labels) == pytest.approx(step_theirs(twin, x, labels), tolerance)
    for name, tensor in named(twin):
        expected = tensor.grad.numpy()
        found = in_torch_order(layers.layers(), *name.split("."), "gradient")
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error < tolerance, f"{name}: relative error {error:.1e}"


@both_precisions
def test_ten_losses_of_training(problem, dtype):
    generator, x, labels = problem
    layers = network((35, 32, 3), generator, dtype=dtype)
    twin = hep_in_torch(layers.layers())
    optimisers = [SGD(leaf.parameters, 0.002, momentum=0.9) for leaf in layers.layers()]
    descent = torch.optim.SGD(twin.parameters(), 0.002, momentum=0.9)
    found, expected = [], []
    for _ in range(10):
        found.append(step(layers, x.astype(dtype), labels))
        expected.append(step_theirs(twin, x.astype(dtype), labels))
        for leaf, optimiser in zip(layers.layers(), optimisers, strict=True):
            optimiser.step(leaf.gradient)
        descent.step()
    assert found[-1] < found[0] / 10
    np.testing.assert_allclose(found, expected, rtol=1e-4 if dtype == np.float32 else 1e-12)


def largest_errors(found, exact):
    """Of each gradient, over its largest number."""
    return [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found, exact, strict=True)]


@pytest.mark.parametrize("algorithm", ["im2col", "winograd2", "winograd4"])
def test_gradients_are_as_accurate_as_theirs(algorithm):
    """Single precision against direct convolution in double: dx and dweight, 128 filters."""
    generator = np.random.default_rng(1)
    x, dy = generator.standard_normal((2, 2, 56, 56, 128)).astype(np.float32)

    def ours_by(algorithm, dtype):
        layer = Conv2d(
            128, 128, 3, padding=1, generator=np.random.default_rng(2), dtype=dtype,
            algorithm=algorithm,
        )  # fmt: skip
        layer.weight[...] = layer.weight.astype(np.float32)
        layer.forward(x.astype(dtype))
        return layer, (layer.backward(dy.astype(dtype)), layer.dweight)

    layer, exact = ours_by("im2col", np.float64)
    tolerance = 0.0
    for layout in (torch.contiguous_format, torch.channels_last):
        there = theirs(x).detach().contiguous(memory_format=layout).requires_grad_()
        weight = torch.tensor(kernel(layer.weight).astype(np.float32), requires_grad=True)
        functional.conv2d(there, weight, padding=1).backward(theirs(dy).detach())
        found = ours(there.grad), weight.grad.numpy().transpose(2, 3, 1, 0)
        tolerance = max(tolerance, *largest_errors(found, exact))
    assert max(largest_errors(ours_by(algorithm, np.float32)[1], exact)) <= tolerance
