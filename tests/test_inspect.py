"""What is printed and drawn of a data set: contents, classes, statistics, warnings, samples."""

import re

import h5py
import numpy as np
import pytest
from events import write_events
from launch import minidl
from printed import Printed

from minidl.cli import survey
from minidl.cli.contents import Contents
from minidl.cli.gallery import choose, draw_samples
from minidl.cli.inspect import inspect_file
from minidl.cli.survey import Survey, blocks, decompressed, is_image
from minidl.errors import UserError

RANDOM = np.random.default_rng(0)


def inspected(path, picture=None):
    console = Printed()
    inspect_file(path, picture, console)
    return console.text


def write(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
    return path


def test_a_file_of_events_is_described_and_drawn(tmp_path):
    path = write_events(tmp_path / "events.h5", 30)
    with h5py.File(path, "a") as file:
        file.attrs["generator"] = np.bytes_("none [at all]")
    text = inspected(path)
    assert "generator: none [at all]" in text
    assert re.search(r"data +30x3x16x16 +float32", text)
    assert re.search(r"label +0 +15 +50.0% *\n.*1 +15 +50.0%", text)
    assert re.search(r"weight +1 +1 +1 +0.0% +0", text)
    assert "warning" not in text
    assert (tmp_path / "events.png").read_bytes().startswith(b"\x89PNG")


def test_texts_of_variable_length_are_not_read(tmp_path):
    """They lie in a heap without a checksum, and in a damaged one HDF5 may look for ever."""
    path = write_events(tmp_path / "events.h5", 4)
    with h5py.File(path, "a") as file:
        file.attrs["generator"], file.attrs["classes"] = "mine", ["one", "two"]
        file.attrs["seed"] = 7
    text = inspected(path)
    assert "generator: not read" in text and "mine" not in text
    assert "seed: 7" in text and re.search(r"data +4x3x16x16 +float32", text)
    with h5py.File(path) as file:
        assert Contents(file).classes == []


def test_the_command_draws_where_it_is_told_to(tmp_path):
    path = write_events(tmp_path / "events.h5", 4)
    done = minidl("inspect", path, "--picture", tmp_path / "here.pdf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here.pdf").exists() and not (tmp_path / "events.png").exists()


def test_odd_contents_are_no_obstacle(tmp_path):
    path = write(
        tmp_path / "odd.h5",
        deep__er__numbers=np.arange(6).reshape(3, 2),
        empty=h5py.Empty("f4"),
        nothing=np.zeros((0, 3)),
        record=np.zeros(2, [("a", "f4"), ("b", "i4")]),
        text="hello",
        true=np.array([True, False]),
        words=np.array([b"a", b"b"]),
    )
    text = inspected(path)
    assert re.search(r"deep/er/numbers +3x2 +int64", text)
    assert re.search(r"empty +empty", text)
    assert not list(tmp_path.glob("*.png"))


def test_statistics_are_those_of_numpy_for_each_channel(tmp_path):
    images = RANDOM.normal(size=(7, 3, 8, 5)).astype(np.float32)
    images[images < 0] = 0
    images[2, 1, 0, 0], images[3, 1, 0, 0] = np.nan, -np.inf
    with h5py.File(write(tmp_path / "images.h5", data=images)) as file:
        found = Survey(file["data"])
    by_channel = np.moveaxis(images, 1, 0).reshape(3, -1)
    finite = [row[np.isfinite(row)] for row in by_channel]
    np.testing.assert_allclose(found.minimum, [row.min() for row in finite])
    np.testing.assert_allclose(found.maximum, [row.max() for row in finite])
    np.testing.assert_allclose(found.mean, [row.mean(dtype=float) for row in finite])
    np.testing.assert_allclose(found.zeros, (by_channel == 0).mean(axis=1))
    assert found.not_finite.tolist() == [0, 2, 0] and found.samples == 7


def test_large_fields_are_read_in_part_and_this_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "SAMPLES", 10)
    path = write_events(tmp_path / "events.h5", 50)
    assert "data: looked at 10 of 50 samples, evenly spaced" in inspected(path)
    monkeypatch.setattr(survey, "BYTES", 4 * 3 * 16 * 16 * 4)
    assert "data: looked at 4 of 50 samples" in inspected(path)


def test_no_more_is_read_at_a_time_than_told(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "BLOCK", 8)
    with h5py.File(write_events(tmp_path / "events.h5", 30)) as file:
        assert [len(block) for block in blocks(file["label"])] == [8, 8, 8, 6]
        assert {len(block) for block in blocks(file["data"])} == {1}
        assert Survey(file["label"]).classes == {0: 15, 1: 15}


def test_many_integers_are_no_classes(tmp_path):
    with h5py.File(write(tmp_path / "numbers.h5", run=np.arange(100), energy=np.ones(5))) as file:
        assert not Survey(file["run"]).classes and not Survey(file["energy"]).classes


@pytest.mark.parametrize(
    ("chunks", "times"),
    [((1, 2, 8, 8), 1), ((5, 2, 8, 8), 5), ((5, 1, 4, 4), 5), ((1, 2, 5, 8), 1.25)],
)
def test_what_reading_a_sample_decompresses(tmp_path, chunks, times):
    with h5py.File(tmp_path / "chunks.h5", "w") as file:
        packed = file.create_dataset("a", (20, 2, 8, 8), "f4", chunks=chunks, compression="lzf")
        plain = file.create_dataset("b", (20, 2, 8, 8), "f4", chunks=chunks)
        assert (decompressed(packed), decompressed(plain)) == (times, 1)


def test_what_stops_or_slows_training_is_warned_of(tmp_path):
    images = RANDOM.normal(size=(20, 2, 8, 8))
    images[3, 1, 2, 2] = np.nan
    path = tmp_path / "bad.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=images, chunks=(10, 2, 8, 8), compression="gzip")
        file["last"] = np.ones((4, 8, 8, 3))
        file["none"] = np.ones((0, 3, 8, 8))
    text = inspected(path)
    assert "warning: data: of the numbers looked at, 1 are NaN" in text
    assert "decompresses 10 times its size" in text
    assert "h5repack -l data:CHUNK=1x2x8x8" in text
    assert "warning: last: samples of 8x8x3 seem to have their channels last" in text
    assert "warning: none: no samples in it" in text


def panels(figure):
    return [axes for axes in figure.axes if axes.images]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((3, 2, 8, 8)), [0, 0, 1]),
        (np.full((3, 2, 8, 8), np.nan), [0, 1, 2]),
        (np.full((3, 2, 8, 8), 5.0), None),
        (np.where(RANDOM.random((4, 3, 300, 200)) < 0.01, np.inf, 0), [1, 1, 1, 1]),
        (RANDOM.normal(size=(14, 18, 21, 22)), list(range(7)) * 2),
        (RANDOM.integers(0, 255, (1, 1, 9, 9)), [True]),
    ],
)
def test_all_kinds_of_images_are_drawn(tmp_path, images, labels):
    arrays = {"data": images} if labels is None else {"data": images, "label": np.array(labels)}
    path = write(tmp_path / "images.h5", **arrays)
    inspected(path)
    assert (tmp_path / "images.png").stat().st_size > 1000


def test_samples_of_every_class_are_drawn_with_all_channels(tmp_path):
    with h5py.File(write_events(tmp_path / "events.h5", 30)) as file:
        chosen = choose(30, file["label"])
        assert [title for _, title in chosen] == ["label 0"] * 3 + ["label 1"] * 3
        assert [file["label"][index] for index, _ in chosen] == [0] * 3 + [1] * 3
        assert len(panels(draw_samples(Contents(file), file["label"]))) == 6 * 3


def test_labels_of_another_length_do_not_group_images(tmp_path):
    path = write(tmp_path / "a.h5", data=np.ones((3, 1, 4, 4)), label=np.array([0, 1]))
    assert "wrote" in inspected(path)


def test_integers_of_another_length_than_the_images_are_no_labels(tmp_path):
    path = write(
        tmp_path / "a.h5", data=np.ones((3, 1, 4, 4)), level=np.array([500, 850, 850, 1000])
    )
    text = inspected(path)
    assert "labels" not in text and re.search(r"level +500 +800 +1000", text)
    with h5py.File(path) as file:
        assert not Survey(file["level"], {3}).classes
        assert Survey(file["level"], {3, 4}).classes == {500: 1, 850: 2, 1000: 1}


def test_what_is_named_label_groups_images_before_other_integers(tmp_path, monkeypatch):
    arrays = {"jets": np.array([3, 4, 5, 6]), "label": np.array([0, 1, 0, 1])}
    path = write(tmp_path / "a.h5", data=np.ones((4, 1, 4, 4)), **arrays)
    grouped = []
    monkeypatch.setattr(
        "minidl.cli.inspect.draw_samples",
        lambda contents, labels: grouped.append(labels.name) or draw_samples(contents, labels),
    )
    inspected(path)
    assert grouped == ["/label"]


def test_images_have_fewer_channels_than_pixels(tmp_path):
    shapes = {"a": (2, 3, 4, 5), "b": (2, 4, 5, 3), "c": (2, 3)}
    path = write(tmp_path / "a.h5", **{name: np.ones(shape) for name, shape in shapes.items()})
    with h5py.File(path) as file:
        assert [is_image(file[name]) for name in shapes] == [True, False, False]


def refused(message, *arguments):
    with pytest.raises(UserError, match=message) as caught:
        inspected(*arguments)
    assert "\n" not in str(caught.value)


def test_mistakes_are_told_in_one_line_and_nothing_is_written(tmp_path):
    path = write_events(tmp_path / "events.h5", 4)
    (tmp_path / "text.h5").write_text("no HDF5")
    write(tmp_path / "empty.h5")
    before = sorted(tmp_path.iterdir())
    refused("no such file", tmp_path / "missing.h5")
    refused("no such file", tmp_path)
    refused("not an HDF5 file", tmp_path / "text.h5")
    refused("no data sets", tmp_path / "empty.h5")
    refused("unknown kind of picture.*--picture", path, tmp_path / "picture.doc")
    refused("no folder", path, tmp_path / "nowhere" / "picture.png")
    assert sorted(tmp_path.iterdir()) == before


def test_damage_inside_a_file_is_told_in_one_line(tmp_path):
    path = tmp_path / "damaged.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "data", data=RANDOM.random((4, 1, 16, 16)), chunks=(1, 1, 16, 16), fletcher32=True
        )
        place = data.id.get_chunk_info(2).byte_offset
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"garbage")
    refused("cannot be read, maybe damaged", path)
    assert list(tmp_path.iterdir()) == [path]
