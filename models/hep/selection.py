"""The physicist's selection, which the network is measured against.

Signal makes more jets than QCD, heavier ones, and closer to each other along the beam. The cuts
are those that the paper compares with, of the ATLAS search for gluinos that violate R-parity:
signal regions 4J and 5J, of which an event has to lie in one.
"""

from __future__ import annotations

import numpy as np

DELTA_ETA = 1.4
REGIONS = {"SR4J": (4, 800.0), "SR5J": (5, 600.0)}  # at least so many jets, mass sum in GeV

FEATURES = ("jets", "leading_pt", "delta_eta", "mass_sum")


def features(jets: np.ndarray) -> dict[str, float]:
    """Compute what the cuts look at.

    Parameters
    ----------
    jets : np.ndarray, shape (jets, 4)
        At least two of pT, eta, phi, mass, highest pT first.

    Returns
    -------
    dict
        ``jets``: their number; ``leading_pt`` (GeV); ``delta_eta`` between the two leading ones;
        ``mass_sum`` of up to four leading ones (GeV).
    """
    return {
        "jets": len(jets),
        "leading_pt": jets[0, 0],
        "delta_eta": abs(jets[0, 1] - jets[1, 1]),
        "mass_sum": jets[:4, 3].sum(),
    }


def select(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Apply the cuts to events' features, arrays of shape (events,).

    Returns
    -------
    dict of str to np.ndarray of bool
        Who passes ``SR4J``, ``SR5J``, and ``SR``: one of them.
    """
    central = values["delta_eta"] < DELTA_ETA
    passed = {
        name: central & (values["jets"] >= jets) & (values["mass_sum"] > mass)
        for name, (jets, mass) in REGIONS.items()
    }
    return {**passed, "SR": passed["SR4J"] | passed["SR5J"]}
