"""What a climate file holds: sixteen fields, and boxes of four classes of storms.

The layout is that of the public ExtremeWeather data set (E. Racah et al., NIPS 2017), which the
paper's climate problem is trained on: ``images`` (T, 16, H, W) and ``boxes`` (T, 15, 5), in a row
ymin, xmin, ymax, xmax in pixels and the class; rows that are not used are -1.
"""

from __future__ import annotations

from typing import NamedTuple


class Channel(NamedTuple):
    """A field: its name in the climate model's output, its unit, what it is."""

    name: str
    unit: str
    meaning: str


CHANNELS = (
    Channel("PRECT", "m/s", "precipitation rate"),
    Channel("PS", "Pa", "surface pressure"),
    Channel("PSL", "Pa", "sea-level pressure"),
    Channel("QREFHT", "kg/kg", "humidity at reference height"),
    Channel("T200", "K", "temperature at 200 hPa"),
    Channel("T500", "K", "temperature at 500 hPa"),
    Channel("TMQ", "kg/m2", "column water vapour"),
    Channel("TREFHT", "K", "temperature at reference height"),
    Channel("TS", "K", "surface temperature"),
    Channel("U850", "m/s", "eastward wind at 850 hPa"),
    Channel("UBOT", "m/s", "eastward wind at the lowest level"),
    Channel("V850", "m/s", "northward wind at 850 hPa"),
    Channel("VBOT", "m/s", "northward wind at the lowest level"),
    Channel("Z1000", "m", "height of the 1000 hPa level"),
    Channel("Z200", "m", "height of the 200 hPa level"),
    Channel("ZBOT", "m", "height of the lowest level"),
)
CHANNEL = {channel.name: number for number, channel in enumerate(CHANNELS)}

CLASSES = (
    "tropical depression",
    "tropical cyclone",
    "extratropical cyclone",
    "atmospheric river",
)
DEPRESSION, TROPICAL, EXTRATROPICAL, RIVER = range(len(CLASSES))
ABBREVIATIONS = ("TD", "TC", "ETC", "AR")
MOST_BOXES = 15  # rows a frame has room for
UNUSED = -1
