"""The channels' means and deviations: those of all numbers, measured once, in little memory."""

import json
import os
import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minidl.data import Dataset
from minidl.errors import UserError
from minidl_models.climate.channels import CHANNELS
from minidl_models.climate.normalisation import measure, normalise, of_frame

LEVELS = np.linspace(-3, 5, 16)


def fields(frames, seed=0, size=32):
    """Fields of as different a size as pressure and rain are, with gaps of both kinds."""
    generator = np.random.default_rng(seed)
    scale = (10.0**LEVELS)[:, None, None]
    images = (generator.standard_normal((frames, 16, size, size)) + 100) * scale
    images[:, 2, :5] = np.nan
    images[:, 7, :, 3:9] = 1e20
    images[:, 8, 4, 4] = -1e20
    return images.astype(np.float32)


def write(path, images, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, **options)
    return path


def opened(*paths):
    return Dataset(paths, ["images"], gaps=["images"])


def expected(images):
    numbers = np.where(np.abs(images) < 1e15, images, np.nan).astype(np.float64)
    return np.nanmean(numbers, axis=(0, 2, 3)), np.nanstd(numbers, axis=(0, 2, 3))


def silent(line):
    pass


def test_several_files_give_the_moments_of_all_their_numbers(tmp_path):
    parts = [fields(frames, seed) for seed, frames in enumerate((3, 1, 4))]
    paths = [write(tmp_path / f"climo_{n}.h5", images) for n, images in enumerate(parts)]
    found = measure(opened(*paths), silent)
    mean, deviation = expected(np.concatenate(parts))
    np.testing.assert_allclose(found["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(found["deviation"], deviation, rtol=1e-10)
    assert json.loads(json.dumps(found)) == found


values = st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf, 1e20, -1e15])


@given(
    arrays.arrays(np.float32, (4, 2, 3), elements=values),
    arrays.arrays(np.float32, (4, 2, 3), elements=values),
)
def test_merging_in_either_order_is_measuring_together(one, other):
    together = of_frame(np.concatenate([one, other], axis=1))
    for merged in (of_frame(one).merge(of_frame(other)), of_frame(other).merge(of_frame(one))):
        for name in ("numbers", "minimum", "maximum"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(together, name))
        np.testing.assert_allclose(merged.mean, together.mean, rtol=1e-9, atol=1e-7)
        np.testing.assert_allclose(merged.squares, together.squares, rtol=1e-9, atol=1e-3)


def test_a_small_spread_about_a_large_mean_is_not_lost(tmp_path):
    pressure = 1e5 + np.tile([-0.5, 0.5], (50, 16, 8, 4))
    found = measure(opened(write(tmp_path / "a.h5", pressure)), silent)
    np.testing.assert_allclose(found["deviation"], 0.5, rtol=1e-12)


def test_a_channel_that_does_not_vary_or_is_missing_gets_deviation_one(tmp_path):
    images = fields(2)
    images[:, 4], images[:, 9] = 7, np.nan
    found = measure(opened(write(tmp_path / "a.h5", images)), silent)
    assert (found["mean"][4], found["deviation"][4]) == (7, 1)
    assert (found["mean"][9], found["deviation"][9]) == (0, 1)


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    peaks = []
    for frames in (4, 40):
        path = write(tmp_path / f"{frames}.h5", fields(frames), chunks=(1, 16, 32, 32))
        dataset = opened(path)
        tracemalloc.start()
        measure(dataset, silent)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    frame = 16 * 32 * 32 * 4
    assert peaks[1] < peaks[0] + frame


def test_a_file_is_measured_once_and_again_when_it_changes(tmp_path):
    path = write(tmp_path / "climo_1999.h5", fields(2))
    said = []
    first = measure(opened(path), said.append)
    assert said == ["measuring climo_1999.h5: 0/2 frames, once; kept in climo_1999.channels.json"]
    assert measure(opened(path), said.append) == first
    assert len(said) == 1
    write(path, fields(2) * 2)
    later = measure(opened(path), said.append)
    assert len(said) == 2
    np.testing.assert_allclose(later["mean"], 2 * np.array(first["mean"]), rtol=1e-6)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_kept_says_of_which_channels_it_is(tmp_path):
    images = fields(2)
    measure(opened(write(tmp_path / "a.h5", images)), silent)
    kept = json.loads((tmp_path / "a.channels.json").read_text())
    assert kept["channels"] == [channel.name for channel in CHANNELS]
    there = np.where(np.abs(images) < 1e15, images, np.nan)
    assert kept["minimum"] == np.nanmin(there, axis=(0, 2, 3)).tolist()
    assert kept["maximum"] == np.nanmax(there, axis=(0, 2, 3)).tolist()


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: "{",
        lambda kept: "[1, 2]",
        lambda kept: kept.replace('"mean": [', '"mean": ["cold", '),
        lambda kept: kept.replace('"squares": [', '"squares": [1, '),
        lambda kept: kept.replace('"mean": [', '"mean": [NaN, '),
        lambda kept: kept.replace('"numbers"', '"counts"'),
        lambda kept: kept.replace('"bytes": ', '"bytes": 1'),
    ],
)
def test_what_was_kept_is_not_trusted_when_it_makes_no_sense(tmp_path, damage):
    path = write(tmp_path / "a.h5", fields(2))
    found = measure(opened(path), silent)
    kept = tmp_path / "a.channels.json"
    whole = kept.read_text()
    assert damage(whole) != whole
    kept.write_text(damage(whole))
    assert measure(opened(path), silent) == found
    assert kept.read_text() == whole


def test_where_nothing_can_be_kept_the_result_is_used_all_the_same(tmp_path):
    path = write(tmp_path / "a.h5", fields(2))
    (tmp_path / "a.channels.json").mkdir()  # also for root, who may write to any folder
    said = []
    found = measure(opened(path), said.append)
    np.testing.assert_allclose(found["mean"], expected(fields(2))[0])
    assert "will be measured again" in said[-1]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only_stays_as_it_is(tmp_path):
    path = write(tmp_path / "a.h5", fields(2))
    tmp_path.chmod(0o555)
    try:
        found = measure(opened(path), silent)
    finally:
        tmp_path.chmod(0o755)
    np.testing.assert_allclose(found["mean"], expected(fields(2))[0])
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]


def test_a_damaged_frame_is_named(tmp_path):
    path = write(tmp_path / "a.h5", fields(3), chunks=(1, 16, 32, 32), fletcher32=True)
    with h5py.File(path) as file:
        place = file["images"].id.get_chunk_info(1).byte_offset
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"storm")
    with pytest.raises(UserError, match=r"a\.h5: cannot read 'images', sample 1: "):
        measure(opened(path), silent)
    assert not (tmp_path / "a.channels.json").exists()


def test_normalised_numbers_have_mean_zero_and_deviation_one(tmp_path):
    images = fields(4)
    found = measure(opened(write(tmp_path / "a.h5", images)), silent)
    x, missing = normalise(images, **found)
    assert x.shape == (4, 32, 32, 16) and x.dtype == np.float32 and x.flags.c_contiguous
    numbers = np.where(missing, np.nan, x).reshape(-1, 16).astype(np.float64)
    np.testing.assert_allclose(np.nanmean(numbers, axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.nanstd(numbers, axis=0), 1, rtol=1e-3)


def test_missing_values_are_flagged_and_become_the_mean():
    images = fields(2)
    before = images.copy()
    x, missing = normalise(images, [5.0] * 16, [2.0] * 16)
    wanted = ~(np.abs(images.transpose(0, 2, 3, 1)) < 1e15)
    np.testing.assert_array_equal(missing, wanted)
    assert (x[missing] == 0).all()
    np.testing.assert_array_equal(x[~missing], ((images.transpose(0, 2, 3, 1) - 5) / 2)[~wanted])
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf, 1e20, -1e20, 1e15])
def test_a_single_missing_value_is_found(hole):
    images = np.ones((2, 16, 8, 8), np.float32)
    assert normalise(images, [0.0] * 16, [1.0] * 16)[1] is None
    images[1, 3, 2, 5] = hole
    x, missing = normalise(images, [0.0] * 16, [1.0] * 16)
    assert np.argwhere(missing).tolist() == [[1, 2, 5, 3]]
    assert np.isfinite(x).all()


def test_normalising_makes_no_second_copy_of_the_images():
    images = np.ones((1, 16, 256, 256), np.float32)
    tracemalloc.start()
    normalise(images, [1.0] * 16, [1.0] * 16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * images.nbytes
