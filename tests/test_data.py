"""What the loader promises: every sample once an epoch, the same deal for the same seed."""

import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pytest
from events import write_events
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.data import (
    Batches,
    Dataset,
    check_images,
    check_labels,
    prepared,
    read_ahead,
)
from minidl.errors import UserError

sizes = st.integers(1, 6)


@st.composite
def deals(draw):
    size = draw(sizes)
    samples = draw(st.integers(size, 60))
    return samples, draw(st.integers(1, 9)), size, draw(st.integers(0, 100))


def epoch(samples, batch_size, size, seed, number=0):
    """All ranks' indices in every batch of an epoch: [batch][rank]."""
    ranks = [Batches(samples, batch_size, rank, size, seed) for rank in range(size)]
    count = ranks[0].per_epoch
    return [[rank[number * count + batch][0] for rank in ranks] for batch in range(count)]


@given(deals(), st.integers(0, 3))
def test_every_sample_comes_once_an_epoch_to_one_rank(deal, number):
    dealt = np.concatenate([part for batch in epoch(*deal, number) for part in batch])
    assert sorted(dealt) == list(range(deal[0]))


@given(deals())
def test_ranks_share_a_batch_as_evenly_as_can_be(deal):
    samples, batch_size, size, _ = deal
    *whole, last = epoch(*deal)
    assert all(len(part) == batch_size for batch in whole for part in batch)
    counts = [len(part) for part in last]
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == samples - len(whole) * batch_size * size


@given(deals())
def test_many_ranks_see_in_each_batch_what_one_rank_would(deal):
    samples, batch_size, size, seed = deal
    alone = Batches(samples, batch_size * size, 0, 1, seed)
    for number, parts in enumerate(epoch(*deal)):
        np.testing.assert_array_equal(np.concatenate(parts), alone[number][0])


@given(deals())
def test_chances_do_not_depend_on_the_number_of_ranks(deal):
    samples, batch_size, size, seed = deal
    alone = Batches(samples, batch_size * size, 0, 1, seed)
    ranks = [Batches(samples, batch_size, rank, size, seed) for rank in range(size)]
    for number in range(alone.per_epoch + 1):
        together = np.concatenate([rank[number][1] for rank in ranks])
        np.testing.assert_array_equal(together, alone[number][1])


@given(deals())
def test_a_seed_gives_one_order_and_epochs_differ(deal):
    samples, batch_size, _, seed = deal
    first, again = (Batches(samples, batch_size, 0, 1, seed) for _ in range(2))
    orders = []
    for number in range(2):
        start = number * first.per_epoch
        numbers = range(start, start + first.per_epoch)
        orders.append(np.concatenate([first[i][0] for i in numbers]))
        np.testing.assert_array_equal(orders[-1], np.concatenate([again[i][0] for i in numbers]))
    assert samples < 8 or (orders[0] != orders[1]).any()


def test_without_a_seed_samples_stay_in_order_and_nothing_is_random():
    batches = Batches(7, 3, 0, 1, None)
    dealt = [batches[number] for number in range(batches.per_epoch)]
    assert [list(indices) for indices, _ in dealt] == [[0, 1, 2], [3, 4, 5], [6]]
    assert all(chances is None for _, chances in dealt)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.randoms())
@settings(max_examples=20)
def test_several_files_are_one_set(tmp_path_factory, counts, random):
    folder = tmp_path_factory.mktemp("files")
    paths, expected = [], []
    for number, count in enumerate(counts):
        values = np.arange(count) + 100 * number
        paths.append(write_events(folder / f"{number}.h5", count, weight=values))
        expected.extend(values)
    dataset = Dataset(paths, ["weight", "data"])
    indices = np.array([random.randrange(len(dataset)) for _ in range(10)])
    read = dataset.read(indices)
    np.testing.assert_array_equal(read["weight"], np.array(expected)[indices])
    np.testing.assert_array_equal(dataset.column("weight"), expected)
    for sample, value in enumerate(expected):
        assert dataset.locate(sample) == (paths[value // 100], value % 100)


@given(st.lists(st.integers(0, 8), max_size=9))
@settings(max_examples=20)
def test_samples_come_with_their_numbers_in_the_whole_set(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("files")
    parts = {"a": np.arange(4), "b": np.arange(4, 9)}
    paths = [write_events(folder / f"{n}.h5", len(w), weight=w) for n, w in parts.items()]
    samples = Dataset(paths, ["weight"]).read(np.array(numbers, int))
    np.testing.assert_array_equal(samples["index"], numbers)
    np.testing.assert_array_equal(samples["weight"], numbers)


def test_numbers_that_are_not_finite_are_read_where_gaps_may_be(tmp_path):
    data = np.zeros((3, 3, 16, 16), np.float32)
    data[:, 0, 0, 0] = np.nan, np.inf, -np.inf
    path = write_events(tmp_path / "gaps.h5", 3, data=data, weight=np.array([1.0, 2.0, np.nan]))
    dataset = Dataset([path], ["data", "weight"], gaps=["data"])
    samples = dataset.read(np.array([1, 0]))
    np.testing.assert_array_equal(samples["data"], data[[1, 0]])
    with pytest.raises(UserError, match="'weight', sample 2: not a finite number"):
        dataset.read(np.array([0, 2]))


def test_a_column_need_not_be_among_the_fields_but_has_to_be_in_the_file(tmp_path):
    dataset = Dataset([write_events(tmp_path / "a.h5", 4)], ["data"])
    assert sorted(dataset.column("label")) == [0, 0, 1, 1]
    with pytest.raises(UserError, match=r"a\.h5: no numbers 'mass'"):
        dataset.column("mass")


def test_reading_ahead_changes_nothing_but_the_time(tmp_path):
    dataset = Dataset([write_events(tmp_path / "a.h5", 20)], ["data", "label"])
    batches = Batches(20, 3, 0, 1, 5)

    def items():
        return prepared(dataset, batches, lambda samples, chances: (samples, chances), 0, 14)

    for (samples, chances), (ahead, chances_ahead) in zip(
        items(), read_ahead(items()), strict=True
    ):
        np.testing.assert_array_equal(samples["data"], ahead["data"])
        np.testing.assert_array_equal(chances, chances_ahead)


def test_no_more_than_so_many_batches_are_read_ahead():
    made = []

    def items():
        for number in range(100):
            made.append(number)
            yield number

    reader = read_ahead(items(), depth=2)
    assert next(reader) == 0
    time.sleep(0.3)
    # One taken, two waiting, one in the thread's hands.
    assert len(made) <= 4


def test_an_error_in_the_thread_arrives_where_the_batch_was_awaited():
    def items():
        yield 1
        raise UserError("file.h5: gone")

    reader = read_ahead(items())
    assert next(reader) == 1
    with pytest.raises(UserError, match="gone"):
        next(reader)


def test_a_reader_that_is_dropped_leaves_no_thread():
    before = threading.active_count()
    reader = read_ahead(iter(range(1000)))
    next(reader)
    reader.close()
    assert threading.active_count() == before


class TestBadFiles:
    """One line each that names the file and what is wrong with it."""

    def refuse(self, path, match):
        with pytest.raises(UserError, match=match) as caught:
            dataset = Dataset([path], ["data", "label"])
            check_labels(dataset, "label", 2)
            check_images(dataset, "data", 3)
            dataset.read(np.arange(len(dataset)))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_missing(self, tmp_path):
        self.refuse(tmp_path / "none.h5", "no such file")

    def test_a_folder(self, tmp_path):
        self.refuse(tmp_path, "no such file")

    def test_not_hdf5(self, tmp_path):
        path = tmp_path / "text.h5"
        path.write_text("data")
        self.refuse(path, "not an HDF5 file")

    def test_cut_off(self, tmp_path):
        path = write_events(tmp_path / "a.h5", 20)
        path.write_bytes(path.read_bytes()[:-1000])
        self.refuse(path, "cut off")

    def test_without_labels(self, tmp_path):
        self.refuse(write_events(tmp_path / "a.h5", 4, label=None), "no numbers 'label'.*data")

    def test_a_number_instead_of_an_array(self, tmp_path):
        self.refuse(write_events(tmp_path / "a.h5", 4, label=1), "no numbers 'label'")

    def test_words_instead_of_numbers(self, tmp_path):
        self.refuse(write_events(tmp_path / "a.h5", 2, label=[b"a", b"b"]), "no numbers 'label'")

    def test_unequal_lengths(self, tmp_path):
        self.refuse(write_events(tmp_path / "a.h5", 4, label=np.zeros(3)), "different lengths")

    def test_empty(self, tmp_path):
        self.refuse(write_events(tmp_path / "a.h5", 0), "no samples")

    @pytest.mark.parametrize("label", [2, -1, 0.5, np.nan])
    def test_label_out_of_range(self, tmp_path, label):
        labels = np.array([0.0, 1.0, label, 0.0])
        self.refuse(write_events(tmp_path / "a.h5", 4, label=labels), "sample 2.*0 to 1")

    def test_wrong_channels(self, tmp_path):
        data = np.zeros((4, 2, 16, 16), np.float32)
        self.refuse(write_events(tmp_path / "a.h5", 4, data=data), r"expected \(3,")

    @pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, tmp_path, number):
        data = np.zeros((5, 3, 16, 16), np.float32)
        data[3, 1, 2, 3] = number
        self.refuse(write_events(tmp_path / "a.h5", 5, data=data), "'data', sample 3: not a finite")

    def test_files_of_different_shapes(self, tmp_path):
        paths = [write_events(tmp_path / f"{size}.h5", 4, size=size) for size in (16, 32)]
        with pytest.raises(UserError, match=r"32\.h5.*must agree"):
            Dataset(paths, ["data"])

    def test_fewer_samples_than_ranks(self):
        with pytest.raises(UserError, match="3 samples are fewer than 4 ranks"):
            Batches(3, 1, 0, 4, 0)


ENDS_WHILE_READING = """
import sys, time
import h5py
from minidl.data import read_ahead

file = h5py.File(sys.argv[1])

def items():
    while True:
        yield file["x"][...]

batches = read_ahead(items())
next(batches)
time.sleep(0.05)
raise RuntimeError("something else is wrong")
"""


def test_a_program_that_fails_while_data_are_read_ends(tmp_path):
    """A thread that is stopped inside of HDF5 keeps its lock; leaving would wait for it."""
    with h5py.File(tmp_path / "slow.h5", "w") as file:
        file.create_dataset("x", data=np.zeros((64, 1 << 18)), compression="gzip")
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", ENDS_WHILE_READING, tmp_path / "slow.h5"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "RuntimeError: something else is wrong" in done.stderr
