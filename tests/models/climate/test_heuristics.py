"""The detector by thresholds, on storms of textbook shape in air that is otherwise at rest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.errors import UserError
from minidl_models.climate.channels import (
    CHANNEL,
    DEPRESSION,
    EXTRATROPICAL,
    MOST_BOXES,
    RIVER,
    TROPICAL,
)
from minidl_models.climate.heuristics import detect
from minidl_models.climate.heuristics.sphere import Sphere, basin, disc, great_circle
from minidl_models.climate.heuristics.storm import Frame
from minidl_models.climate.heuristics.tropical import outer_radius

CALM = {"PSL": 101000, "PS": 101000, "T500": 265, "T200": 218, "TMQ": 15, "TS": 295}
PACIFIC = np.linspace(0, 47.75, 192), np.linspace(110, 157.75, 192)
ATLANTIC = np.linspace(20, 67.75, 192), np.linspace(300, 347.75, 192)


class Air:
    """Fields at rest, to which storms are added."""

    def __init__(self, latitude, longitude):
        self.latitude, self.longitude = latitude, longitude
        self.images = np.zeros((16, len(latitude), len(longitude)), np.float32)
        for name, value in CALM.items():
            self.images[CHANNEL[name]] = value

    def add(self, name, field):
        self.images[CHANNEL[name]] += field

    def polar(self, north, east):
        """Degrees and bearing of all points from one."""
        latitude = self.latitude[:, None]
        distance = great_circle(north, east, latitude, self.longitude)
        x = (self.longitude - east) * np.cos(np.radians(north))
        return distance, np.arctan2(latitude - north, x)

    def low(self, north, east, depth, radius):
        distance, _ = self.polar(north, east)
        self.add("PSL", -depth * np.exp(-((distance / radius) ** 2)))

    def vortex(self, north, east, wind, radius=0.7, decay=0.8):
        """A Rankine vortex whose wind falls off slowly outside of its radius, in degrees."""
        distance, bearing = self.polar(north, east)
        inner = np.minimum(distance / radius, 1)
        speed = wind * inner * np.maximum(distance / radius, 1) ** -decay * np.sign(north)
        for suffix in ("850", "BOT"):
            self.add("U" + suffix, -speed * np.sin(bearing))
            self.add("V" + suffix, speed * np.cos(bearing))

    def warm_core(self, north, east, warmth, radius=2.0):
        distance, _ = self.polar(north, east)
        for name in ("T200", "T500"):
            self.add(name, warmth * np.exp(-((distance / radius) ** 2)))

    def river(self, west, east, south, north, width, water=40, wind=25):
        """A straight band of moist air that blows along itself, so many degrees wide."""
        slope = (north - south) / (east - west)
        along = (self.longitude > west) & (self.longitude < east)
        off = self.latitude[:, None] - south - slope * (self.longitude - west)
        inside = (np.abs(off) * np.cos(np.arctan(slope)) < width / 2) & along
        self.add("TMQ", water * inside)
        self.add("U850", wind * np.cos(np.arctan(slope)) * inside)
        self.add("V850", wind * np.sin(np.arctan(slope)) * inside)

    def storms(self):
        return detect(self.images, self.latitude, self.longitude)

    def classes(self):
        return self.storms()[:, 4].tolist()

    def pixel(self, north, east):
        return abs(self.latitude - north).argmin(), abs(self.longitude - east).argmin()


def typhoon(air, north=18.0, east=135.0, warmth=5.0, wind=40.0, depth=3500):
    air.low(north, east, depth, 2.0)
    air.vortex(north, east, wind)
    air.warm_core(north, east, warmth)
    return air


def test_nothing_is_found_in_calm_air():
    boxes = Air(*PACIFIC).storms()
    assert boxes.shape == (0, 5)
    assert boxes.dtype == np.int32


@settings(max_examples=25, deadline=None)
@given(north=st.floats(8, 30), east=st.floats(118, 149), south=st.booleans())
def test_a_typhoon_is_found_where_it_is_in_both_hemispheres(north, east, south):
    latitude, longitude = PACIFIC
    latitude, north = (-latitude[::-1], -north) if south else (latitude, north)
    air = typhoon(Air(latitude, longitude), north, east)
    ((ymin, xmin, ymax, xmax, kind),) = air.storms()
    row, column = air.pixel(north, east)
    assert kind == TROPICAL
    assert abs((ymin + ymax) / 2 - row - 0.5) <= 1
    assert abs((xmin + xmax) / 2 - column - 0.5) <= 1


@pytest.mark.parametrize(
    "lacking", [{"warmth": 0.0}, {"wind": 15.0}, {"depth": 350}], ids=["warmth", "wind", "depth"]
)
def test_a_vortex_that_lacks_one_thing_is_a_depression(lacking):
    assert typhoon(Air(*PACIFIC)).classes() == [TROPICAL]
    assert typhoon(Air(*PACIFIC), **lacking).classes() == [DEPRESSION]


def test_a_low_without_wind_and_a_wind_without_a_low_are_nothing_in_the_tropics():
    still, shallow = Air(*PACIFIC), Air(*PACIFIC)
    still.low(18, 135, 3500, 2.0)
    shallow.vortex(18, 135, 40)
    assert still.classes() == shallow.classes() == []


@pytest.mark.parametrize("change", ["weak", "on a plateau", "poleward of the tropics"])
def test_a_vortex_is_no_depression_that_is(change):
    north = 33 if change == "poleward of the tropics" else 18
    lacking = {"north": north, "depth": 350, "wind": 8 if change == "weak" else 15}
    air = typhoon(Air(*PACIFIC), **lacking)
    if change == "on a plateau":
        air.add("PS", -20000)
    assert air.classes() == []


def test_a_warm_low_with_gales_in_high_latitudes_is_no_tropical_cyclone():
    assert typhoon(Air(*ATLANTIC), north=52, east=324, depth=5000).classes() == [EXTRATROPICAL]


@pytest.mark.parametrize("north", [18, -18])
@pytest.mark.parametrize("wind", [20, 30, 40])
def test_a_typhoon_reaches_to_where_its_mean_wind_is_light_whatever_it_drifts_in(wind, north):
    latitude, longitude = np.linspace(-40, 40, 321), PACIFIC[1]
    air = Air(latitude, longitude)
    air.vortex(north, 135, wind, radius=0.7, decay=0.8)
    air.add("UBOT", 6)
    frame = Frame(Sphere(latitude, longitude), dict(zip(CHANNEL, air.images, strict=True)))
    expected = 0.7 * (wind / 8) ** (1 / 0.8)  # where 8 m/s are left of the vortex's wind
    assert outer_radius(frame, air.pixel(north, 135)) == pytest.approx(expected, abs=0.5)


def test_a_low_of_the_westerlies_is_extratropical_and_its_box_is_its_closed_isobars():
    air = Air(*ATLANTIC)
    air.low(50, 322, 3000, 6.0)
    ((ymin, xmin, ymax, xmax, kind),) = air.storms()
    assert kind == EXTRATROPICAL
    radius = 6 * np.sqrt(np.log(3000 / 200))  # the last isobar is 2 hPa below the surroundings
    assert (ymax - ymin) * 0.25 == pytest.approx(2 * radius, abs=1.5)
    assert (xmax - xmin) * 0.25 == pytest.approx(2 * radius / np.cos(np.radians(50)), rel=0.2)


@pytest.mark.parametrize("change", ["shallow", "in the tropics", "on a plateau"])
def test_no_cyclone_is_found_in_a_low_that_is(change):
    air = Air(*ATLANTIC)
    air.low(24 if change == "in the tropics" else 50, 322, 300 if change == "shallow" else 3000, 4)
    if change == "on a plateau":
        air.add("PS", -20000)
    assert air.classes() == []


def test_where_pressure_falls_towards_the_edge_is_no_low():
    air = Air(*ATLANTIC)
    air.low(72, 322, 4000, 8)
    assert air.classes() == []


def test_two_lows_are_two_cyclones_and_two_minima_of_one_low_are_one():
    pair, double = Air(*ATLANTIC), Air(*ATLANTIC)
    for air, apart in ((pair, 24), (double, 5)):
        air.low(45, 322 - apart / 2, 2500, 3)
        air.low(45, 322 + apart / 2, 2000, 3)
    assert pair.classes() == [EXTRATROPICAL] * 2
    assert double.classes() == [EXTRATROPICAL]


def test_a_typhoon_is_not_an_extratropical_cyclone_too():
    assert typhoon(Air(*PACIFIC), north=35).classes() == [TROPICAL]


def test_a_river_is_long_narrow_moist_and_poleward():
    def classes(**changes):
        air = Air(*ATLANTIC)
        air.river(**{"west": 305, "east": 335, "south": 30, "north": 50, "width": 4, **changes})
        return air.classes()

    assert classes() == [RIVER]
    assert classes(east=318, north=38) == []  # 1500 km
    assert classes(width=14) == []  # broad
    assert classes(water=2) == []  # dry
    assert classes(wind=4) == []  # slow
    assert classes(south=50, north=30) == []  # towards the equator


def test_there_are_no_rivers_in_the_tropics():
    air = Air(*PACIFIC)
    air.river(115, 145, 2, 18, 4)
    assert air.classes() == []


def test_a_rivers_kilometres_are_those_of_its_latitude():
    def classes(**river):
        air = Air(np.linspace(20, 79.75, 240), np.linspace(0, 80, 321))
        air.river(**river)
        return air.classes()

    # A degree of longitude has half of a degree of latitude's kilometres.
    assert classes(west=5, east=75, south=58, north=65, width=7) == [RIVER]  # 780 km wide
    assert classes(west=10, east=38, south=58, north=63, width=4) == []  # 1600 km long


def test_a_rivers_box_holds_it():
    air = Air(*ATLANTIC)
    air.river(305, 335, 30, 50, 4)
    ((ymin, xmin, ymax, xmax, _),) = air.storms()
    rows, columns = np.nonzero(air.images[CHANNEL["TMQ"]] > 20)
    assert (ymin, ymax) == (rows.min(), rows.max() + 1)
    assert (xmin, xmax) == (columns.min(), columns.max() + 1)


def test_what_is_missing_is_nothing():
    air = typhoon(Air(*PACIFIC))
    row, column = air.pixel(18, 135)
    hidden = air.images.copy()
    air.images[:, :60, :40] = np.nan
    assert air.classes() == [TROPICAL]
    air.images = hidden
    air.images[:, row - 12 : row + 13, column - 12 : column + 13] = np.nan
    assert air.classes() == []
    air.images[:] = np.nan
    assert air.classes() == []


@pytest.mark.parametrize("rows, columns", [(192, 288), (96, 144), (32, 48)])
def test_a_globe_of_any_spacing_is_searched_to_the_poles(rows, columns):
    air = Air(np.linspace(-90, 90, rows), np.arange(columns) * 360 / columns)
    air.low(55, 180, 4000, 8.0)
    air.low(-60, 60, 4000, 8.0)
    assert air.classes() == [EXTRATROPICAL] * 2


def test_of_too_many_storms_the_rarer_classes_come_first_then_the_deepest():
    air = Air(np.linspace(-89.5, 89.5, 180), np.arange(360.0))
    depths = {}
    for north in (-50, 50):
        for east in range(20, 360, 32):
            depths[north, east] = 2000 + 100 * len(depths)
            air.low(north, east, depths[north, east], 5.0)
    typhoon(air, 15, 200)
    air.vortex(15, 200, 60, radius=1.5)
    boxes = air.storms()
    assert len(depths) > MOST_BOXES == len(boxes)
    assert boxes[0, 4] == TROPICAL
    strongest = sorted(depths, key=depths.get, reverse=True)[: MOST_BOXES - 1]
    for box, (north, east) in zip(boxes[1:], strongest, strict=True):
        row, column = air.pixel(north, east)
        assert box[0] <= row < box[2] and box[1] <= column < box[3]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_boxes_lie_in_the_frame_whatever_the_weather(seed):
    generator = np.random.default_rng(seed)
    latitude, longitude = np.linspace(-30, 60, 91), np.linspace(0, 90, 91)
    air = Air(latitude, longitude)
    for _ in range(12):
        north, east = generator.uniform(latitude[0], latitude[-1]), generator.uniform(0, 90)
        size = generator.uniform(1, 8)
        air.low(north, east, generator.uniform(-2000, 4000), size)
        air.vortex(north, east, generator.uniform(5, 50), size)
        air.warm_core(north, east, generator.uniform(-2, 6))
    boxes = air.storms()
    assert len(boxes) <= MOST_BOXES
    assert np.all(boxes[:, :2] >= 0) and np.all(boxes[:, 2:4] <= 91)
    assert np.all(boxes[:, :2] < boxes[:, 2:4])


def test_vorticity_is_the_spheres():
    # Solid rotation at one turn a day: u = a Omega cos(phi), vorticity 2 Omega sin(phi).
    omega = 7.292e-5
    latitude, longitude = np.linspace(-80, 80, 321), np.linspace(0, 40, 81)
    wind = np.radians(1) * 6.371e6 * np.degrees(1) * omega * np.cos(np.radians(latitude))[:, None]
    fields = {"U850": np.tile(wind, (1, 81)), "V850": np.zeros((321, 81))}
    cyclonic = Frame(Sphere(latitude, longitude), fields).vorticity()
    expected = np.abs(2 * omega * np.sin(np.radians(latitude)))[:, None]
    np.testing.assert_allclose(cyclonic[1:-1], np.tile(expected, (1, 81))[1:-1], atol=2e-8)


def test_a_basin_is_closed_only_if_the_disc_holds_it():
    sphere = Sphere(np.arange(-20.0, 21), np.arange(0.0, 41))
    bowl = great_circle(0.0, 20.0, sphere.latitude[:, None], sphere.longitude)
    around = disc(sphere, (20, 20), 10.0)
    covered = basin(bowl, around, 5.0)
    np.testing.assert_array_equal(covered, around.distance < 5)
    assert basin(bowl, around, 12.0) is None


@pytest.mark.parametrize(
    "place, other, degrees",
    [((0, 0), (0, 90), 90), ((60, 0), (60, 180), 60), ((10, 350), (10, 10), 19.69)],
)
def test_distances_are_great_circles(place, other, degrees):
    assert great_circle(*place, *other) == pytest.approx(degrees, abs=0.01)


@pytest.mark.parametrize("row, column", [(8, 20), (70, 40), (81, 45), (89, 3), (90, 0)])
def test_a_disc_has_all_the_frames_points_within_its_radius(row, column):
    sphere = Sphere(np.arange(0.0, 91), np.arange(0.0, 90))
    here = sphere.latitude[row], sphere.longitude[column]
    near = great_circle(*here, sphere.latitude[:, None], sphere.longitude) <= 7
    inside = np.zeros_like(near)
    around = disc(sphere, (row, column), 7.0)
    inside[around.window] = around.inside
    np.testing.assert_array_equal(inside, near)


def test_fields_that_do_not_fit_the_coordinates_are_refused_in_a_line():
    with pytest.raises(UserError, match=r"\(16, 4, 5\).*expected \(16, 5, 4\)"):
        detect(np.zeros((16, 4, 5), np.float32), np.arange(5.0), np.arange(4.0))
