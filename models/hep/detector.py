"""What a detector would see of the particles: cells of two calorimeters, and tracks.

A fast simulation in the manner of Delphes (JHEP 02 (2014) 057): particles are followed through the
magnetic field, their energy falls into cells, and resolutions and efficiencies do the rest. The
numbers are those of Delphes' card for the ATLAS detector, unless said otherwise. There is no
pile-up of other collisions, and no noise of the electronics.

Energies and momenta in GeV, lengths in metres, angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .particles import Particles

# The magnetic field and the volume that it fills.
FIELD, RADIUS, HALF_LENGTH = 2.0, 1.15, 3.51  # tesla, metres, metres
BENDING = 0.299792458  # pT in GeV = 0.3 * field in tesla * radius of curvature in metres

TRACKER_ETA, TRACKER_BARREL_ETA = 2.5, 1.5
CALORIMETER_ETA = 3.2

ELECTRON, MUON, PHOTON = 11, 13, 22
INVISIBLE = (12, MUON, 14, 16)  # to calorimeters
LONG_LIVED = (310, 3122)  # K short and Lambda
LONG_LIVED_SHARE = 0.3  # of their energy is left in the electromagnetic calorimeter


@dataclass(frozen=True)
class Hits:
    """Energies in GeV, or tracks that count 1 each, at points (eta, phi); shapes (n,)."""

    value: np.ndarray
    eta: np.ndarray
    phi: np.ndarray


@dataclass(frozen=True)
class Calorimeter:
    """A grid of cells and how well they measure.

    The relative resolution at the energy E is stochastic / sqrt(E) + constant, the two added in
    quadrature; (stochastic, constant) are given for the barrel, |eta| < 1.7, and the end caps.
    """

    cell: tuple[float, float]
    threshold: float
    barrel: tuple[float, float]
    end_cap: tuple[float, float]

    def resolution(self, energy: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """Relative resolution of these energies at these eta."""
        terms = np.where(np.abs(eta) < 1.7, *np.array([self.barrel, self.end_cap])[..., None])
        return np.hypot(terms[0] / np.sqrt(energy), terms[1])


# Cells line up with the pixels of images of 64 x 64 (hadronic) and 256 x 256 pixels. They are
# close to the real ones, 0.1 and 0.025 on a side; the ones of the card are 0.1 x 0.17 and 0.017.
ELECTROMAGNETIC = Calorimeter(
    cell=(5 / 256, 2 * np.pi / 256), threshold=0.5, barrel=(0.101, 0.0017), end_cap=(0.101, 0.0017)
)
HADRONIC = Calorimeter(
    cell=(5 / 64, 2 * np.pi / 64), threshold=1.0, barrel=(0.5205, 0.0302), end_cap=(0.706, 0.05)
)


def detect(particles: Particles, generator: np.random.Generator) -> tuple[Hits, Hits, Hits]:
    """Simulate the detector's answer to one event.

    Parameters
    ----------
    particles : Particles
        The event's final state.
    generator : np.random.Generator

    Returns
    -------
    electromagnetic, hadronic, tracks : Hits
        Cells with energy in them, |eta| < 3.2, and tracks, |eta| < 2.5.
    """
    eta, phi, stopped = propagate(particles)
    stopped &= (np.abs(eta) < CALORIMETER_ETA) & ~np.isin(particles.pdg, INVISIBLE)
    em_share = np.isin(particles.pdg, (ELECTRON, PHOTON)).astype(float)
    em_share[np.isin(particles.pdg, LONG_LIVED)] = LONG_LIVED_SHARE

    def read(calorimeter: Calorimeter, share: np.ndarray) -> Hits:
        hit = stopped & (share > 0)
        energy = (share * particles.energy)[hit]
        return measure(deposit(energy, eta[hit], phi[hit], calorimeter), calorimeter, generator)

    return (
        read(ELECTROMAGNETIC, em_share),
        read(HADRONIC, 1 - em_share),
        track(particles, generator),
    )


def propagate(particles: Particles) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow particles from the collision to the face of the calorimeters.

    A charged particle runs on a helix of radius pT / (0.3 B): to the barrel, unless it curls up
    before, or to one of the end caps, whichever comes first.

    Returns
    -------
    eta, phi : np.ndarray, shape (n,)
        Where they arrive, as seen from the collision.
    arrived : np.ndarray of bool, shape (n,)
        False for those that curl up in the field.
    """
    # Neutral particles are charged ones of next to no curvature.
    bend = BENDING * FIELD * np.where(particles.charge == 0, 1e-9, particles.charge)
    curvature = bend / np.maximum(particles.pt, 1e-9)
    half_sine = np.abs(curvature) * RADIUS / 2
    slope = np.sinh(particles.eta)  # length along the beam per length across it
    to_barrel = 2 * np.arcsin(np.minimum(half_sine, 1)) / np.abs(curvature)
    path = np.minimum(to_barrel, HALF_LENGTH / np.maximum(np.abs(slope), 1e-9))
    half_turn = path * curvature / 2
    radius = path * np.sinc(half_turn / np.pi)
    return np.arcsinh(path * slope / radius), particles.phi - half_turn, half_sine < 1


def deposit(energy: np.ndarray, eta: np.ndarray, phi: np.ndarray, calorimeter: Calorimeter) -> Hits:
    """Sum energies (GeV) in cells; give the lower edges (eta, phi) of those that are hit."""
    along, around = calorimeter.cell
    columns = round(2 * np.pi / around)
    row = np.floor(eta / along).astype(int)
    column = np.floor(phi / around).astype(int) % columns
    cells, place = np.unique(row * columns + column, return_inverse=True)
    total = np.bincount(place, energy, len(cells))
    return Hits(total, cells // columns * along, cells % columns * around)


def measure(cells: Hits, calorimeter: Calorimeter, generator: np.random.Generator) -> Hits:
    """Draw measured energies and positions; drop energies below the threshold.

    The log-normal distribution keeps the mean, has the width of the resolution and no negative
    energies. Positions are drawn evenly within the cells, so that images with pixels that do not
    line up with them have no stripes. Delphes does both.
    """
    variance = np.log1p(calorimeter.resolution(cells.value, cells.eta) ** 2)
    normal = generator.standard_normal(len(variance))
    energy = cells.value * np.exp(np.sqrt(variance) * normal - variance / 2)
    inside = generator.random((2, len(variance))) * np.array(calorimeter.cell)[:, None]
    kept = energy > calorimeter.threshold
    return Hits(energy[kept], (cells.eta + inside[0])[kept], (cells.phi + inside[1])[kept])


def track(particles: Particles, generator: np.random.Generator) -> Hits:
    """Find the tracks of charged particles, at the angles at which they left the collision."""
    pt, eta = particles.pt, np.abs(particles.eta)
    seen = (particles.charge != 0) & (pt > 0.1) & (eta < TRACKER_ETA)
    # Efficiencies: (barrel, end cap) for pT up to 1 GeV and above it.
    efficiency = np.where(
        pt > 1,
        np.where(eta < TRACKER_BARREL_ETA, 0.95, 0.85),
        np.where(eta < TRACKER_BARREL_ETA, 0.70, 0.60),
    )
    # Muons do not scatter off nuclei.
    efficiency[(particles.pdg == MUON) & (pt > 1)] = 0.98
    seen &= generator.random(len(pt)) < efficiency
    return Hits(np.ones(seen.sum()), particles.eta[seen], particles.phi[seen])
