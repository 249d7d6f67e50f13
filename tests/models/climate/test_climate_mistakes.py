"""Files that are no climate data, and options that are none: one clear line and status 2."""

import re

import numpy as np
import pytest
from events import write_events
from frames import draw_frames, write_frames
from launch import minidl


def spoilt(row, **replaced):
    """Boxes of four frames, in whose third, row 5, is something else."""
    boxes = draw_frames(4)[1].astype(np.float32)
    boxes[2, 5] = row
    return {"boxes": boxes, **replaced}


FILES = {
    "good": {},
    "channels": {"images": np.zeros((4, 15, 64, 96), np.float32)},
    "flat": {"images": np.zeros((4, 64, 96), np.float32)},
    "outside": spoilt((10, 80, 30, 97, 1)),
    "north": spoilt((-1, 80, 30, 90, 1)),
    "turned": spoilt((30, 10, 10, 30, 1)),
    "mirrored": spoilt((10, 30, 30, 10, 1)),
    "class": spoilt((10, 10, 30, 30, 4)),
    "half-class": spoilt((10, 10, 30, 30, 0.5)),
    "nan-box": spoilt((10, np.nan, 30, 30, 0)),
    "no-images": {"images": None},
    "no-boxes": {"boxes": None},
    "four": {"boxes": np.full((4, 15, 4), -1)},
    "fewer": {"boxes": np.full((3, 15, 5), -1)},
    "height": {"height": 48},
    "width": {"width": 80},
}

BOX = r"'boxes', frame 2, row 5: the box \[.*\] \(ymin, xmin, ymax, xmax, class\) "
TRAIN = "train climate --data good.h5"
MISTAKES = {
    "15 channels": ("train climate --data channels.h5", r"\(15, 64, 96\); expected \(16, height"),
    "no channels": ("train climate --data flat.h5", r"\(64, 96\); expected \(16, height, width\)"),
    "east of the frame": ("train climate --data outside.h5", BOX + "reaches out of .* 64 x 96"),
    "south of the frame": ("train climate --data north.h5", BOX + "reaches out of the frame"),
    "ymin > ymax": ("train climate --data turned.h5", BOX + "has its minimum above its maximum"),
    "xmin > xmax": ("train climate --data mirrored.h5", BOX + "has its minimum above its maximum"),
    "unknown class": ("train climate --data class.h5", BOX + "is of no known class.* 0 to 3"),
    "half a class": ("train climate --data half-class.h5", BOX + "is of no known class"),
    "a box that is not finite": ("train climate --data nan-box.h5", BOX + "is not of finite num"),
    "missing images": ("train climate --data no-images.h5", "no numbers 'images'.*it has: boxes"),
    "missing boxes": ("train climate --data no-boxes.h5", "no numbers 'boxes'.*it has: images"),
    "missing labels": (f"{TRAIN} --labels heuristic", "no numbers 'heuristic'.*has: boxes, images"),
    "labels that are none": (f"{TRAIN} --labels images", r"\(16, 64, 96\) a frame.*\(boxes, 5\)"),
    "boxes of four numbers": ("train climate --data four.h5", r"\(15, 4\) a frame.*\(boxes, 5\)"),
    "fewer boxes": ("train climate --data fewer.h5", "different lengths"),
    "height": ("train climate --data height.h5", "frames of 48 x 96 pixels; expected mult.* 32"),
    "width": ("train climate --data width.h5", "frames of 64 x 80 pixels; expected multip.* 32"),
    "bad validation": (f"{TRAIN} --validation outside.h5", "outside.h5: 'boxes', frame 2"),
    "sizes that differ": (f"{TRAIN} wide.h5", "wide.h5: .* files read together must agree"),
    "too large a share": (f"{TRAIN} --labelled 1.5", "--labelled 1.5: expected a share"),
    "a share in words": (f"{TRAIN} --labelled half", "--labelled half: expected a value like 1.0"),
    "unknown preset": (f"{TRAIN} --preset huge", "no preset 'huge'.*public, paper"),
    "a weight in words": (f"{TRAIN} --reconstruction none", "--reconstruction none: expected a"),
    "a negative weight": (f"{TRAIN} --reconstruction -1", "--reconstruction -1.*0 or more"),
    "no weight": (f"{TRAIN} --reconstruction nan", "--reconstruction nan.*0 or more"),
    "a slip": (f"{TRAIN} --epoch 3", r"unknown flag --epoch; did you mean --epochs\?"),
    "a slip in an option": (f"{TRAIN} --labeled 1", r"--labeled; did you mean --labelled\?"),
    "hep has no labels": ("train hep --data events.h5 --labelled 0.5", r"flag --labelled\. See"),
    "--from with a slip": ("train --from run --labeled 1", r"did you mean --labelled\?"),
    "evaluation of no weather": ("evaluate run --data events.h5", "no numbers 'images'"),
    "evaluation out of the frame": ("evaluate run --data outside.h5", BOX + "reaches out"),
    "summary": ("summary climate --preset huge", "no preset 'huge'"),
    "summary's slip": ("summary climate --pre paper", "no option --pre; it has: --preset"),
    "check of odd sizes": ("check climate --size 48", "32 x 32 pixels; these are 48 x 48"),
}  # fmt: skip
TOGETHER = (
    "15 channels", "east of the frame", "missing labels", "width", "too large a share",
    "a share in words", "unknown preset", "a slip",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data sets, of which only ``good.h5`` is in order, and a run."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name, different in FILES.items():
        write_frames(folder / f"{name}.h5", 4, **different)
    write_frames(folder / "wide.h5", 4, width=128)
    write_events(folder / "events.h5", 4)
    flags = ("--data", "good.h5", "--width", 2, "--iterations", 1, "--out", "run")
    done = minidl("train", "climate", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def refuse(folder, name, ranks):
    line, expected = MISTAKES[name]
    done = minidl(*line.split(), cwd=folder, ranks=ranks, timeout=60)
    said = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == 2, done.stderr
    assert len(said) == 1, said
    assert said[0].startswith("minidl: ")
    assert re.search(expected, said[0])
    assert "Traceback" not in done.stdout
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line_and_status_2(folder, name):
    refuse(folder, name, ranks=0)


@pytest.mark.parametrize("name", TOGETHER)
def test_a_mistake_is_said_once_on_two_ranks(folder, name):
    refuse(folder, name, ranks=2)


def test_missing_values_are_no_mistake(tmp_path):
    images, boxes = draw_frames(2)
    images[0, 3, :9], images[0, 7], images[1, 5, 20:, 3] = np.nan, np.inf, -1e20
    write_frames(tmp_path / "gaps.h5", 0, images=images, boxes=boxes)
    flags = ("--data", "gaps.h5", "--width", 2, "--out", "run")
    done = minidl("train", "climate", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
