"""``minidl explore``: every schedule of a small training, by one command."""

import re

from launch import minidl


def test_all_schedules_are_counted_and_all_promises_hold():
    done = minidl("explore")
    assert done.returncode == 0, done.stderr
    counts = re.findall(r"([\d,]+) (?:schedule|distinct order|distinct network)", done.stdout)
    assert counts == ["328", "34", "14"]
    assert "Every promise holds in all of them" in done.stdout


def test_one_worker_has_one_outcome():
    done = minidl("explore", "--groups", 1, "--servers", 1)
    assert "1 schedule in" in done.stdout
    assert "in 1 distinct order, ending in 1 distinct network." in done.stdout


def test_what_cannot_be_dealt_is_said():
    done = minidl("explore", "--servers", 3)
    assert done.returncode == 2
    assert done.stderr.startswith("minidl: --layers must be at least as many as --servers")


def test_what_is_too_large_to_be_checked_is_said():
    done = minidl("explore", "--groups", 1, "--iterations", 200)
    assert done.returncode == 2
    assert done.stderr.startswith("minidl: layers x workers x iterations is 400")
    assert minidl("explore", "--groups", 1, "--iterations", 170).returncode == 0
