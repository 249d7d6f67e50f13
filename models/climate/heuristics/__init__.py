"""Storms found by thresholds, as the climate field labels them: imperfect, and without learning.

The public data set's boxes are such labels, those of TECA, the Toolkit for Extreme Climate
Analysis (Prabhat et al., "TECA: A parallel toolkit for extreme climate analysis", ICCS 2012).
This is a compact detector in its manner: rules that TECA or the literature states, in physical
units, so that they mean the same on every grid. It is no TECA: one frame is all it sees, so
nothing is asked of a storm's track.
"""

from __future__ import annotations

import numpy as np

from minidl.errors import UserError

from ..channels import CHANNEL, DEPRESSION, EXTRATROPICAL, MOST_BOXES, RIVER, TROPICAL
from .extratropical import extratropical_cyclones
from .rivers import atmospheric_rivers
from .sphere import Sphere
from .storm import Frame
from .tropical import tropical_cyclones, tropical_depressions

RAREST_FIRST = (TROPICAL, RIVER, DEPRESSION, EXTRATROPICAL)


def detect(images: np.ndarray, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Find the storms of a frame.

    Parameters
    ----------
    images : np.ndarray, shape (16, H, W)
        Fields in the order and units of ``channels.CHANNELS``; NaN is "nothing here".
    latitude : np.ndarray, shape (H,)
        Degrees north of the rows, evenly spaced.
    longitude : np.ndarray, shape (W,)
        Degrees east of the columns, evenly spaced. A globe's first and last column are not
        joined: what lies across them may be found on either side, or on neither.

    Returns
    -------
    np.ndarray of int32, shape (storms, 5), at most 15 storms
        ymin, xmin, ymax, xmax in pixels and class. If more are found, the rarer classes come
        first, and of each class the strongest.

    Raises
    ------
    UserError
        If the shapes do not fit.
    """
    expected = (len(CHANNEL), len(latitude), len(longitude))
    if images.shape != expected or min(expected) < 2:
        raise UserError(
            f"fields of shape {images.shape} to find storms in: expected {expected}, a field for "
            "each channel, a row for each of the latitudes and a column for each longitude"
        )
    sphere = Sphere(np.asarray(latitude, np.float64), np.asarray(longitude, np.float64))
    frame = Frame(sphere, dict(zip(CHANNEL, images, strict=True)))
    cyclones = tropical_cyclones(frame)
    tropical = cyclones + tropical_depressions(frame, cyclones)
    storms = tropical + extratropical_cyclones(frame, tropical) + atmospheric_rivers(frame)
    storms.sort(key=lambda storm: (RAREST_FIRST.index(storm.kind), -storm.strength))
    rows = [(*storm.box, storm.kind) for storm in storms[:MOST_BOXES]]
    return np.array(rows, np.int32).reshape(-1, 5)
