"""The climate network: its layers and their sizes, its gradients, and its twin in PyTorch."""

import numpy as np
import pytest

from minidl.errors import UserError
from minidl.gradients.gradcheck import check_network
from minidl.optim import SGD, Adam
from minidl_models.climate.losses import Target, loss
from minidl_models.climate.network import PRESETS, filters, network

ENCODER = [f"conv{number}" for number in range(1, 6)]
HEADS = ["confidence", "classes", "position", "size"]
DECODER = [f"deconv{number}" for number in range(1, 6)]
CELL_TERMS = ["object", "empty", "class", "position", "size"]
MIB = 2**20


def random_target(x, generator, labelled):
    """Storms in a third of the cells, and x to be drawn again."""
    cells = len(x), x.shape[1] // 32, x.shape[2] // 32
    return Target(
        generator.random(cells) < 1 / 3,
        generator.integers(0, 4, cells),
        generator.random((*cells, 2)),
        generator.standard_normal((*cells, 2)),
        np.array(labelled),
        x,
    )


@pytest.mark.parametrize(
    ("preset", "encoder", "heads", "decoder", "mebibytes"),
    [
        (
            "public",
            (51_328, 819_456, 3_277_312, 9_831_168, 19_661_824),
            (18_434, 36_868, 18_434, 18_434),
            (19_661_568, 9_830_912, 3_277_056, 819_328, 51_216),
            257.0,
        ),
        (
            "paper",
            (102_656, 2_457_984, 4_301_248, 7_885_504, 24_782_208),
            (25_346, 50_692, 25_346, 25_346),
            (24_781_504, 7_885_248, 4_301_184, 2_457_856, 102_416),
            302.1,
        ),
    ],
)
def test_fourteen_layers_learn_as_many_numbers_as_they_should(
    preset, encoder, heads, decoder, mebibytes
):
    layers = network((768, 768, 16), np.random.default_rng(0), preset=preset).layers()
    assert [layer.name for layer in layers] == [*ENCODER, *HEADS, *DECODER]
    assert [layer.parameters.size for layer in layers] == [*encoder, *heads, *decoder]
    assert sum(layer.parameters.nbytes for layer in layers) / MIB == pytest.approx(
        mebibytes, abs=0.05
    )


def test_a_frame_of_the_paper_has_24_by_24_cells():
    layers = network((768, 768, 16), np.random.default_rng(0), width=2)
    cells = [(24, 24, numbers) for numbers in (2, 4, 2, 2)]
    assert layers.output_shape((768, 768, 16)) == (*cells, (768, 768, 16))


def test_the_outputs_have_the_shapes_that_are_promised():
    layers = network((64, 96, 3), np.random.default_rng(0), width=2)
    for samples in (2, 1, 0):
        outputs = layers.forward(np.ones((samples, 64, 96, 3), np.float32))
        promised = layers.output_shape((64, 96, 3))
        assert [part.shape for part in outputs] == [(samples, *shape) for shape in promised]


def test_width_scales_all_filters():
    assert filters("public", None) == list(PRESETS["public"])
    assert filters("public", 16) == [16, 32, 64, 96, 128]
    assert filters("paper", 64) == [64, 96, 112, 176, 352]
    assert filters("paper", 1) == [1, 2, 2, 3, 6]  # 1.5, 1.75, 2.75 and 5.5


@pytest.mark.parametrize("shape", [(768, 767, 16), (48, 64, 16), (16, 64, 16), (0, 32, 16)])
def test_frames_that_are_not_made_of_cells_are_refused(shape):
    with pytest.raises(UserError, match=f"{shape[0]} x {shape[1]}: crop them to multiples of 32"):
        network(shape, np.random.default_rng(0), width=2)


def test_a_preset_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match=r"'paprr'.*expected one of public, paper"):
        network((64, 64, 16), np.random.default_rng(0), preset="paprr")


def test_activations_keep_their_scale_and_outputs_start_small():
    generator = np.random.default_rng(0)
    layers = network((192, 192, 16), generator, width=16)
    x = generator.standard_normal((1, 192, 192, 16)).astype(np.float32)
    *encoder, branches = layers.children
    *heads, decoder = branches.children
    scales = []
    for layer in (*encoder, *decoder.children[:-1]):
        x = layer.forward(x)
        scales.append(np.sqrt(np.mean(x**2)))
        if layer is encoder[-1]:
            outputs = [head.forward(x) for head in heads]
    outputs.append(decoder.children[-1].forward(x))
    assert min(scales) > 0.3 and max(scales) < 2
    assert all(0.01 < np.sqrt(np.mean(output**2)) < 0.3 for output in outputs)


def test_the_loss_starts_where_knowing_nothing_would_put_it():
    generator = np.random.default_rng(0)
    layers = network((96, 96, 16), generator, width=16)
    x = generator.standard_normal((4, 96, 96, 16)).astype(np.float32)
    target = random_target(x, generator, [True] * 4)
    value, _ = loss(layers.forward(x), target, reconstruction=1.0)
    storms = target.object.sum() / 4
    assert value.terms["object"] == pytest.approx(storms * np.log(2), rel=0.15)
    assert value.terms["empty"] == pytest.approx(0.5 * (9 - storms) * np.log(2), rel=0.15)
    assert value.terms["class"] == pytest.approx(storms * np.log(4), rel=0.15)
    assert value.terms["reconstruction"] == pytest.approx(1, rel=0.15)


def shifted(layers, generator):
    """Biases start at zero, which is where a ReLU behind dead ones has its kink."""
    for layer in layers.layers():
        layer.parameters += 0.1 * generator.standard_normal(layer.parameters.size)
    return layers


def test_every_gradient_of_the_network_with_its_loss():
    generator = np.random.default_rng(1)
    layers = shifted(network((32, 64, 3), generator, width=2, dtype=np.float64), generator)
    x = generator.standard_normal((2, 32, 64, 3))
    target = random_target(x.copy(), generator, [True, False])
    report = check_network(layers, loss, x, target, generator)
    assert report.ok, report
    assert {tensor.layer for tensor in report.tensors} == {*ENCODER, *HEADS, *DECODER}


def test_an_unlabelled_frame_teaches_all_layers_but_the_heads():
    generator = np.random.default_rng(0)
    layers = network((64, 64, 3), generator, width=2)
    x = generator.standard_normal((1, 64, 64, 3)).astype(np.float32)
    _, dy = loss(layers.forward(x), random_target(x, generator, [False]))
    layers.backward(dy)
    taught = [layer.name for layer in layers.layers() if layer.gradient.any()]
    assert taught == [*ENCODER, *DECODER]


def test_gradients_are_announced_last_layer_first():
    layers = network((32, 32, 3), np.random.default_rng(0), width=1)
    x = np.ones((1, 32, 32, 3), np.float32)
    _, dy = loss(layers.forward(x), random_target(x, np.random.default_rng(0), [True]))
    announced = []
    layers.backward(dy, lambda layer: announced.append(layer.name))
    assert announced == [*ENCODER, *HEADS, *DECODER][::-1]


def waves(generator, shape):
    """Fields as smooth as weather, of variance one: a few plane waves, in every channel others."""
    N, H, W, C = shape
    y, x = np.mgrid[:H, :W][..., np.newaxis, np.newaxis] / 64
    numbers, phases = generator.uniform(-3, 3, (2, 6)), generator.uniform(0, 7, (N, 6))
    planes = np.sin(2 * np.pi * (numbers[0] * y + numbers[1] * x) + phases)  # (H, W, N, 6)
    fields = np.einsum("hwnk,nkc->nhwc", planes, generator.standard_normal((N, 6, C)))
    return (fields / fields.std()).astype(np.float32)


@pytest.mark.parametrize(
    "optimiser",
    [lambda p: SGD(p, 0.002, momentum=0.9), lambda p: Adam(p, 0.002)],
    ids=["SGD with momentum", "Adam"],
)
def test_it_learns_a_batch_by_heart(optimiser):
    generator = np.random.default_rng(0)
    layers = network((64, 64, 4), generator, width=8)
    x = waves(generator, (2, 64, 64, 4))
    target = random_target(x, generator, [True, True])
    descents = [(leaf, optimiser(leaf.parameters)) for leaf in layers.layers()]
    losses = []
    for _ in range(250):
        value, dy = loss(layers.forward(x), target)
        layers.backward(dy)
        for leaf, descent in descents:
            descent.step(leaf.gradient)
        losses.append(value)
    first, last = losses[0].terms, losses[-1].terms
    assert all(last[name] < first[name] / 10 for name in CELL_TERMS)
    assert last["reconstruction"] < 0.7 * first["reconstruction"]


def in_torch(layers, x, target):
    """The loss and the outputs as PyTorch has them, and the parameters' gradients by name."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: make test-torch")
    functional = torch.nn.functional
    tensors = {
        layer.name: [torch.tensor(view.copy(), requires_grad=True) for view in views]
        for layer in layers.layers()
        for views in [layer.views(layer.parameters).values()]
    }

    def conv(name, y, stride, padding):
        weight, bias = tensors[name]
        return functional.conv2d(y, weight.permute(3, 2, 0, 1), bias, stride, padding)

    def deconv(name, y):
        weight, bias = tensors[name]
        return functional.conv_transpose2d(y, weight.permute(3, 2, 0, 1), bias, 2, 2, 1)

    y = torch.tensor(x).permute(0, 3, 1, 2)
    for name in ENCODER:
        y = functional.relu(conv(name, y, 2, 2))
    outputs = [conv(name, y, 1, 1) for name in HEADS]
    for name in DECODER:
        y = deconv(name, y if name == "deconv1" else functional.relu(y))
    outputs = [part.permute(0, 2, 3, 1) for part in (*outputs, y)]
    confidence, classes, position, size, drawn = outputs

    labelled = torch.tensor(target.labelled)[:, None, None]
    storm, kinds = torch.tensor(target.object), torch.tensor(target.classes)
    there = storm & labelled
    objectness = functional.cross_entropy(
        confidence.permute(0, 3, 1, 2),
        storm.long(),
        torch.tensor([0.5, 1.0]).to(y),
        reduction="none",
    )
    distances = [
        weight
        * functional.smooth_l1_loss(part[there], torch.tensor(wanted).to(y)[there], reduction="sum")
        for weight, part, wanted in ((5, position, target.position), (7, size, target.size))
    ]
    cells = (objectness * labelled).sum() + sum(distances)
    cells = cells + functional.cross_entropy(classes[there], kinds[there], reduction="sum")
    value = cells / len(x) + 10 * functional.mse_loss(drawn, torch.tensor(target.fields))
    value.backward()
    gradients = {
        name: np.concatenate([tensor.grad.numpy().ravel() for tensor in pair])
        for name, pair in tensors.items()
    }
    return value.item(), [part.detach().numpy() for part in outputs], gradients


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_outputs_loss_and_gradients_are_pytorch_s(dtype, tolerance):
    generator = np.random.default_rng(0)
    layers = shifted(network((64, 64, 16), generator, width=4, dtype=dtype), generator)
    x = generator.standard_normal((3, 64, 64, 16)).astype(dtype)
    target = random_target(x, generator, [True, False, True])
    expected, outputs_expected, gradients = in_torch(layers, x, target)
    outputs = layers.forward(x.copy())
    value, dy = loss(outputs, target)
    layers.backward(dy)
    assert value == pytest.approx(expected, rel=tolerance)
    pairs = [*zip(outputs, outputs_expected, strict=True)]
    pairs += [(layer.gradient, gradients[layer.name]) for layer in layers.layers()]
    for found, wanted in pairs:
        assert np.linalg.norm(found - wanted) < tolerance * np.linalg.norm(wanted)
