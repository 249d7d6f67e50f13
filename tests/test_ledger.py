"""The ledger of the paper's claims: its page has all of them, and says what agrees."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def ledger(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import ledger

    return ledger


def test_the_page_has_every_claim_as_it_stands(ledger):
    page = (ROOT / "benchmarks" / "LEDGER.md").read_text()
    assert page.startswith(ledger.TITLE)
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    for claim, row in zip(ledger.CLAIMS, rows, strict=True):
        published = f"{claim.published:g} {claim.unit}".rstrip()
        assert row.startswith(f"| {claim.what} | {published} | {claim.certainty} | ")
        assert f"| {claim.kind} |" in row
        assert claim.why == "" or f". {claim.why[0].upper()}{claim.why[1:]}.\n" in page


def test_a_row_says_whether_it_agrees(ledger):
    def verdict(found, certainty="read", why=""):
        claim = ledger.Claim("what", 200, "x", certainty, "predicted", "minidl it", None, why)
        return ledger.row(ledger.Entry(claim, found), [why]).split(" | ")[5]

    assert verdict(210) == "yes, +5.0%"
    assert verdict(231) == "NO, +15.5%"
    assert verdict(231, "vague") == "(+16%)"
    assert verdict(100, why="known") == "NO, -50.0% [1]"
    assert verdict(None) == "-"


def test_only_what_is_no_curve_is_counted_as_held(ledger):
    entries = [
        ledger.Entry(ledger.Claim("what", 100, "x", certainty, kind, "", None), found)
        for certainty, kind, found in (
            ("read", "predicted", 110), ("checked", "predicted", 150), ("vague", "predicted", 90),
            ("read", "put in", 100), ("read", "predicted", None),
        )
    ]  # fmt: skip
    (line,) = ledger.summary(entries)
    assert line == (
        "Of 2 predictions that are held to a number, 1 are within 15%; of 1 beside a vague one, 1."
    )
