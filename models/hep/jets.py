"""Large-radius jets, the preselection on them, and the numbers that the physics selection uses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from .detector import Hits

RADIUS = 1.0
SUBJET_RADIUS, SUBJET_SHARE = 0.2, 0.05
JET_PT, JET_ETA = 200.0, 2.0
PRESELECTED_JETS, PRESELECTED_LEADING_PT = 3, 440.0


def find_jets(calorimeters: Sequence[Hits]) -> np.ndarray:
    """Find the trimmed anti-kt jets of an event, pT > 200 GeV and |eta| < 2.0.

    Anti-kt with R = 1.0 (Cacciari, Salam, Soyez, JHEP 04 (2008) 063) on all cells of the
    calorimeters, taken as massless. Then trimming (Krohn, Thaler, Wang, JHEP 02 (2010) 084):
    each jet is clustered again, by kt with R = 0.2, and keeps the subjets with 5 % of its pT or
    more. This removes what fell into the jet by chance.

    Returns
    -------
    jets : np.ndarray, shape (jets, 4)
        pT, eta, phi, mass; in GeV and radians; highest pT first.
    """
    fastjet, large, trimmer = _algorithms()
    value, eta, phi = (
        np.concatenate([getattr(hits, name) for hits in calorimeters])
        for name in ("value", "eta", "phi")
    )
    pt = value / np.cosh(eta)
    momenta = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), value], axis=1)
    cells = [fastjet.PseudoJet(*momentum) for momentum in momenta.tolist()]
    clusters = fastjet.ClusterSequence(cells, large)
    trimmed = [trimmer(jet) for jet in clusters.inclusive_jets(JET_PT)]
    jets = np.array([(jet.pt(), jet.eta(), jet.phi_std(), jet.m()) for jet in trimmed])
    jets = jets.reshape(-1, 4)
    jets = jets[(jets[:, 0] > JET_PT) & (np.abs(jets[:, 1]) < JET_ETA)]
    return jets[np.argsort(-jets[:, 0])]


@cache
def _algorithms() -> tuple[Any, Any, Any]:
    import fastjet

    large = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    small = fastjet.JetDefinition(fastjet.kt_algorithm, SUBJET_RADIUS)
    return fastjet, large, fastjet.Filter(small, fastjet.SelectorPtFractionMin(SUBJET_SHARE))


def preselect(jets: np.ndarray) -> bool:
    """Whether an event is one of the paper's: three such jets, the leading one above 440 GeV.

    Above that, the trigger of the experiment would have recorded every event.
    """
    return len(jets) >= PRESELECTED_JETS and bool(jets[0, 0] > PRESELECTED_LEADING_PT)
