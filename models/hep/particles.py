"""The particles of one collision event, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Particles:
    """The final state of one event; all arrays have shape (n,).

    Attributes
    ----------
    pdg : np.ndarray of int
        Absolute value of the particles' code in the numbering of the Particle Data Group.
    charge : np.ndarray
        In units of the positron's.
    pt, energy : np.ndarray
        Momentum across the beam, and energy, in GeV.
    eta, phi : np.ndarray
        Pseudorapidity, -ln tan(theta / 2), and angle around the beam, -pi to pi.
    """

    pdg: np.ndarray
    charge: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    energy: np.ndarray

    @classmethod
    def from_momenta(cls, rows: np.ndarray) -> Particles:
        """Make them from rows of (PDG code, charge, px, py, pz, energy), shape (n, 6)."""
        code, charge, px, py, pz, energy = rows.T
        pt = np.hypot(px, py)
        # Nothing is exactly along the beam but what never left it.
        eta = np.arcsinh(pz / np.maximum(pt, 1e-9))
        return cls(np.abs(code).astype(int), charge, pt, eta, np.arctan2(py, px), energy)
