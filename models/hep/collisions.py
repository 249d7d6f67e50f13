"""Proton collisions from Pythia 8: gluino pairs (signal) and QCD jets (background).

Reference: Bierlich et al., "A comprehensive guide to the physics and usage of PYTHIA 8.3",
SciPost Phys. Codebases 8 (2022).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .particles import Particles

BACKGROUND, SIGNAL = 0, 1

MILLIBARN = 1e9  # in picobarn

COMMON = """
Print:quiet = on
Random:setSeed = on
Beams:eCM = 13000
! What flies further than 10 mm reaches the detector.
ParticleDecays:limitTau0 = on
! A vetoed event is reported, as its weight counts among those tried.
Check:abortIfVeto = on
"""

# The cross-section falls by ten orders of magnitude. Drawn in proportion to pT-hat^4 times it,
# there are enough events both at low pT-hat, which makes most of the background that passes the
# preselection, and at high pT-hat, which looks most like signal; weights undo it. Below 250 GeV
# next to nothing passes.
QCD = """
HardQCD:all = on
PhaseSpace:pTHatMin = 250
PhaseSpace:bias2Selection = on
PhaseSpace:bias2SelectionPow = 4
PhaseSpace:bias2SelectionRef = 250
"""

GLUINO_PAIRS = """
SUSY:gg2gluinogluino = on
SUSY:qqbar2gluinogluino = on
SLHA:file = {spectrum}
"""

# The spectrum in the SUSY Les Houches format (JHEP 07 (2004) 036). A gluino goes to two quarks and
# a neutralino; this, by a coupling that violates R-parity, to three quarks: ten quarks an event.
# Everything else is too heavy to matter.
HEAVY = [1000000 * side + quark for side in (1, 2) for quark in (1, 2, 3, 4, 5, 6)]
HEAVY += [1000023, 1000024, 1000025, 1000035, 1000037]
HEAVY_MASSES = "\n".join(f" {code} 100000.0" for code in HEAVY)
SPECTRUM = f"""
BLOCK MODSEL
 1 0
BLOCK MASS
 1000021 1400.0
 1000022 850.0
{HEAVY_MASSES}
DECAY 1000021 1.0
 0.25 3 1 -1 1000022
 0.25 3 2 -2 1000022
 0.25 3 3 -3 1000022
 0.25 3 4 -4 1000022
DECAY 1000022 1.0
 0.5 3 2 1 3
 0.5 3 -2 -1 -3
"""


class Collisions:
    """Collisions of one kind, one after the other.

    Parameters
    ----------
    kind : int
        ``BACKGROUND`` or ``SIGNAL``.
    seed : int
        1 to 900,000,000, as Pythia takes it.

    Attributes
    ----------
    weight : float
        The weight of the latest collision.
    tried : int
        Number of collisions up to now, those that were vetoed early among them.
    weight_tried : float
        Sum of their weights.
    """

    def __init__(self, kind: int, seed: int) -> None:
        import pythia8mc

        from .veto import EarlyVeto

        self.pythia = pythia8mc.Pythia("", False)
        self.weight, self.tried, self.weight_tried = 0.0, 0, 0.0
        with tempfile.TemporaryDirectory() as folder:
            spectrum = Path(folder) / "spectrum.slha"
            spectrum.write_text(SPECTRUM)
            process = QCD if kind == BACKGROUND else GLUINO_PAIRS.format(spectrum=spectrum)
            for line in f"{COMMON}Random:seed = {seed}\n{process}".splitlines():
                if not self.pythia.readString(line):
                    raise RuntimeError(f"Pythia does not know the setting {line!r}")
            if kind == BACKGROUND:
                self._veto = EarlyVeto()  # Pythia keeps no reference of its own.
                self.pythia.setUserHooksPtr(self._veto)
            if not self.pythia.init():
                raise RuntimeError("Pythia did not start; its messages say why")

    def next(self) -> Particles | None:
        """Simulate the next collision; None if it was vetoed, being far from the preselection."""
        whole = self.pythia.next()
        self.weight = self.pythia.infoPython().weight()
        self.tried += 1
        self.weight_tried += self.weight
        if not whole:
            return None
        # Faster than nextBatch, which copies all of an event's intermediate particles.
        return Particles.from_momenta(
            np.array(
                [
                    (p.id(), p.charge(), p.px(), p.py(), p.pz(), p.e())
                    for p in self.pythia.event
                    if p.isFinal()
                ]
            )
        )

    def cross_section(self) -> float:
        """Cross-section of all collisions of this kind, in picobarn, as estimated up to now."""
        info: Any = self.pythia.infoPython()
        # Pythia's figure leaves out the share that was vetoed, counted without weights.
        return info.sigmaGen() * MILLIBARN * info.nSelected() / info.nAccepted()
