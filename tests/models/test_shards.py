"""What every long production promises: order, shards that are kept, and words when it ends."""

import itertools
import os
from pathlib import Path

import pytest
from rich.console import Console

from minidl.errors import UserError
from minidl_models.shards import Workers, check_packages, check_room, prepare_parts, progress


def make_file(folder, number):
    path = folder / str(number)
    path.write_text("made")
    return path


def be_killed(folder, number):
    os._exit(9)


def find_disk_full(folder, number):
    raise OSError(28, "No space left on device")


def refuse(folder, number):
    raise UserError("no such weather")


def test_shards_come_in_order_and_no_more_are_made_than_soon_wanted(tmp_path):
    with Workers(2, "things", tmp_path) as workers:
        made = workers.make(make_file, ((tmp_path, number) for number in itertools.count()))
        names = [path.name for path in itertools.islice(made, 5)]
    assert names == ["0", "1", "2", "3", "4"]
    assert len(list(tmp_path.iterdir())) <= 5 + 3


def test_jobs_that_end_are_all_done(tmp_path):
    with Workers(2, "things", tmp_path) as workers:
        jobs = [(tmp_path, number) for number in range(4)]
        assert [path.name for path in workers.make(make_file, jobs)] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (be_killed, "ended from outside .*; the same command goes on"),
        (find_disk_full, "No space left on device; the same command goes on"),
        (refuse, "^no such weather$"),
    ],
)
def test_what_ends_a_production_is_said_in_one_line(tmp_path, job, expected):
    with (
        pytest.raises(UserError, match=expected) as caught,
        Workers(1, "things", tmp_path) as workers,
    ):
        list(workers.make(job, [(tmp_path, 0)]))
    assert "\n" not in str(caught.value)


def test_an_interruption_says_where_the_finished_shards_are():
    with (
        pytest.raises(KeyboardInterrupt, match=r"finished things are in here, and the same"),
        Workers(1, "things", Path("here")),
    ):
        raise KeyboardInterrupt


def test_finished_shards_are_kept_for_the_same_settings_only(tmp_path):
    parts = tmp_path / "out" / "a.parts"
    prepare_parts(parts, {"seed": 1})
    (parts / "0").touch()
    prepare_parts(parts, {"seed": 1})
    assert (parts / "0").exists()
    prepare_parts(parts, {"seed": 2})
    assert not (parts / "0").exists()


def test_a_missing_package_is_named_with_how_to_install_it():
    with pytest.raises(UserError, match=r"making gold needs no_such_stone.*'minidl\[alchemy\]'"):
        check_packages("making gold", ["json", "no_such_stone"], "alchemy")


def test_without_a_terminal_progress_is_a_line(capsys):
    with progress(Console(), "climo_1999.h5", 4, "frames") as show:
        for done in (1, 4):
            show(done)
    assert capsys.readouterr().out == "climo_1999.h5: 4/4 frames\n"


def test_what_does_not_fit_on_the_disk_is_not_begun(tmp_path):
    check_room(tmp_path, 1)
    with pytest.raises(OSError, match="No space left on device"):
        check_room(tmp_path, 2.0**70)
