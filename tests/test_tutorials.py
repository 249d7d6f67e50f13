"""The tutorials run from start to end, write their pictures, and what they print is true."""

import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from launch import mpiexec

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "tutorials"
PAGES = sorted(TUTORIALS.glob("[0-9]*.py"))

# The first run simulates some events, on which a busy machine may spend minutes.
TIMEOUT = 280
needs_events = pytest.mark.skipif(
    not (find_spec("pythia8mc") and find_spec("fastjet")),
    reason="simulated events need pythia8mc and fastjet: pip install 'minidl[hep]'",
)


def run(name, pictures, ranks=0):
    """Run a page at its small setting; return what it printed."""
    (page,) = TUTORIALS.glob(f"{name}_*.py")
    start = time.time()
    if ranks:
        done = mpiexec(ranks, sys.executable, "-m", "mpi4py", page, "--small", timeout=TIMEOUT)
    else:
        done = subprocess.run(
            [sys.executable, str(page), "--small"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    for picture in pictures:
        path = TUTORIALS / "output" / "small" / f"{name}_{picture}.png"
        assert path.stat().st_mtime > start - 2, f"{path} is an old one"
        assert f"{path.relative_to(ROOT)}\n" in done.stdout
    return done.stdout


def numbers(phrase, printed):
    """Every number that was printed right after a phrase."""
    found = re.findall(re.escape(phrase) + r"\s*(-?\d[\d,.]*(?:e[-+]\d+)?)", printed)
    assert found, f"{phrase!r} was not printed"
    return [float(number.replace(",", "")) for number in found]


def number(phrase, printed):
    (found,) = numbers(phrase, printed)
    return found


def test_a_layer_and_its_gradient():
    printed = run("01", ["step_size", "announced"])
    assert number("largest deviation:", printed) < 1e-8
    assert number("ones  : the mistake shows as a deviation of", printed) == 0
    assert number("random: the mistake shows as a deviation of", printed) > 0.1
    double = number("float64, central  : smallest relative error", printed)
    single = number("float32, central  : smallest relative error", printed)
    assert double < 1e-8 < single < 1e-3
    _, *broken = re.split("^--- ", printed.split("accepted:")[0], flags=re.MULTILINE)
    assert [name.split()[0] for name in broken] == ["Swapped", "Averaged", "Unstopped"]
    assert all("WRONG" in report for report in broken)
    assert "swapped.weight        10 x 10           WRONG" in printed
    assert "accepted: False" in printed
    assert "announced:     ['last', 'first']" in printed


def test_convolution_as_a_matrix_product():
    printed = run("02", ["columns", "windows_a_pixel", "block_size"])
    assert "the product is the convolution: True" in printed
    forward = [number(name, printed) for name in ("<A x, y>  =", "<forward(x), dy>  =")]
    backward = [number(name, printed) for name in ("<x, A' y> =", "<x, backward(dy)> =")]
    assert forward == pytest.approx(backward, rel=1e-10)
    assert number("times that pixel 14 is in the columns:", printed) == 9
    assert number("columns:  ", printed) == pytest.approx(8 * 112**2 * 9 * 128 * 4 / 1e6, abs=0.1)
    assert number("the product is", printed) > 10


@needs_events
def test_training_on_collision_events():
    printed = run("03", ["events", "loss", "roc"])
    assert (
        number("largest difference between the page's losses and minidl train's:", printed) < 1e-6
    )
    page = number("area under the curve:", printed)
    assert number("the library's:", printed) == pytest.approx(page, abs=2e-3)
    assert (TUTORIALS / "output" / "small" / "03_run" / "evaluation.json").exists()


@needs_events
@pytest.mark.parametrize("ranks", [0, 2])
def test_the_same_on_many_ranks(ranks):
    printed = run("04", ["step", "allreduce"] if ranks else ["step"], ranks)
    assert printed.count("This page runs on") == 1  # only the first rank prints
    assert number("mean of the ranks' means: wrong by", printed) >= 1
    assert number("sum of the ranks' sums, divided by 8: deviates by", printed) < 1e-12
    assert number("ring against MPI's all-reduce: largest difference", printed) < 1e-12
    assert number("losses differ by at most", printed) < 1e-12
    assert number("parameters differ by at most", printed) < 1e-12
    assert number("parameters on different ranks differ by", printed) == 0
    if ranks:
        sums = re.search(r"before start: \[(.*)\]\n.*after: \[(.*)\]", printed)
        before, after = (set(side.split()) for side in sums.groups())
        assert (len(before), len(after)) == (ranks, 1)
        assert "dealt [2 1]" in printed
        assert all(bandwidth > 0 for bandwidth in numbers("µs, bandwidth", printed))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem[:2])
def test_files_that_a_page_names_exist(page):
    text = page.read_text()
    assert "# ## Exercises\n" in text
    assert "# ## What to read next\n" in text
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/**/*.py")}
    for named in re.findall(r"`([\w/]+\.py)`", text):
        assert any(f"/{file}".endswith(f"/{named}") for file in files), named
