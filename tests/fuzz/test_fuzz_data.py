"""Data files that are damaged, strange or hostile: refused in one line, or read; nothing worse."""

import h5py
import numpy as np
import pytest
from events import write_events
from mutants import outcomes, verdict, wrong

from minidl.data import Dataset
from minidl.errors import UserError
from minidl_models.climate.channels import CHANNELS, MOST_BOXES, UNUSED

MUTANTS = 1000  # a test
MOST_MEMORY = 800_000  # kilobytes, of which the libraries alone may need half


def write_climate(path):
    """A small file in the layout of the climate data, compressed as a large one would be."""
    boxes = np.full((2, MOST_BOXES, 5), UNUSED, np.int32)
    boxes[:, 0] = 4, 5, 20, 22, 1
    with h5py.File(path, "w") as file:
        images = np.random.default_rng(0).standard_normal((2, len(CHANNELS), 32, 32), np.float32)
        file.create_dataset("images", data=images.round(1), chunks=(1, 4, 32, 32),
                            compression="gzip", shuffle=True)  # fmt: skip
        file["boxes"] = boxes
        file.attrs["classes"] = np.array(["one", "two"], np.bytes_)
        # Texts of variable length lie in a heap without a checksum, and HDF5 may look in a damaged
        # one for ever.
        file.attrs["channels"], file.attrs["content"] = [c.name for c in CHANNELS], "weather"
    return path


@pytest.mark.parametrize(("model", "first"), [("hep", 0), ("hep", 1000), ("climate", 0)])
def test_a_damaged_data_file_is_refused_in_a_line_or_read(tmp_path, model, first):
    """Never another exception, a crash of the interpreter, a hang, or all of the memory."""
    path = tmp_path / "data.h5"
    write_events(path, 6, size=4) if model == "hep" else write_climate(path)
    found, kilobytes = outcomes(model, path, first, MUTANTS)
    assert wrong(found) == {}
    assert {*found.values()} == {"read", "refused"}  # else the damage is no test of anything
    assert len(found) == MUTANTS
    assert kilobytes < MOST_MEMORY


def strange_arrays():
    """Arrays of every type that HDF5 has and training has no use for."""
    generator = np.random.default_rng(0)
    images = generator.random((4, 3, 4, 4))
    text, reference = h5py.string_dtype(), h5py.ref_dtype
    return {
        "text": np.array(["a", "b", "c", "d"], text),
        "bytes": np.array([b"a", b"b", b"c", b"d"]),
        "compound": np.zeros(4, [("x", "f4"), ("y", "i4")]),
        "ragged": np.array([np.arange(n) for n in range(4)], object),
        "reference": np.empty(4, reference),
        "opaque": np.zeros(4, "V3"),
        "complex": images.astype(np.complex64),
        "scalar": np.float32(3),
        "empty": h5py.Empty("f4"),
        "none": images[:0],
        "no height": images[:, :, :0],
        "flat": images[:, 0, 0, 0],
        "five axes": images[..., None],
        "too few": images[:3],
        "two channels": images[:, :2],
    }  # fmt: skip


USABLE = {
    "float16": np.float16, "big-endian": ">f4", "long double": np.longdouble, "bool": np.bool_,
    "unsigned": np.uint64, "bytes": np.int8,
}  # fmt: skip


def write_strange(path, name, array):
    images, labels = np.zeros((4, 3, 4, 4), np.float32), np.arange(4) % 2
    with h5py.File(path, "w") as file:
        for field, usual in (("data", images), ("label", labels)):
            if field != name:
                file[field] = usual
            elif array.dtype == object:
                dtype = h5py.check_dtype(vlen=array.dtype) or h5py.check_dtype(ref=array.dtype)
                file.create_dataset(
                    field, data=array, dtype=array.dtype if dtype else h5py.vlen_dtype("i4")
                )
            else:
                file[field] = array
    return path


@pytest.mark.parametrize("kind", strange_arrays())
@pytest.mark.parametrize("field", ["data", "label"])
def test_arrays_of_other_types_and_shapes_are_refused(tmp_path, kind, field):
    path = write_strange(tmp_path / "data.h5", field, strange_arrays()[kind])
    assert verdict("hep", path, drawn=False) == "refused"


@pytest.mark.parametrize("kind", USABLE)
@pytest.mark.parametrize("field", ["data", "label"])
def test_numbers_of_every_type_can_be_read(tmp_path, kind, field):
    usual = np.ones((4, 3, 4, 4)) if field == "data" else np.arange(4) % 2
    path = write_strange(tmp_path / "data.h5", field, usual.astype(USABLE[kind]))
    assert verdict("hep", path, drawn=False) == "read"
    found = Dataset([path], ["data", "label"]).read(np.arange(4))[field]
    np.testing.assert_array_equal(found.astype(int), usual)


def links(folder):
    """What may stand in a file in place of an array, and leads elsewhere."""
    other = write_events(folder / "other.h5", 4, size=4)
    (folder / "raw").write_bytes(bytes(4 * 48 * 4))
    elsewhere = h5py.VirtualLayout((4, 3, 4, 4), "f4")
    elsewhere[:] = h5py.VirtualSource(other, "data", (4, 3, 4, 4))
    return {
        "external": lambda file: file.__setitem__("data", h5py.ExternalLink(other, "data")),
        "to a device": lambda file: file.__setitem__(
            "data", h5py.ExternalLink("/dev/zero", "data")
        ),
        "soft": lambda file: file.__setitem__("data", h5py.SoftLink("/label")),
        "circle": lambda file: file.__setitem__("data", h5py.SoftLink("/data")),
        "virtual": lambda file: file.create_virtual_dataset("data", elsewhere),
        "raw": lambda file: file.create_dataset(
            "data", (4, 3, 4, 4), "f4", external=[(folder / "raw", 0, 768)]
        ),
    }


@pytest.mark.parametrize("kind", ["external", "to a device", "soft", "circle", "virtual", "raw"])
def test_a_file_that_leads_to_another_is_refused(tmp_path, kind):
    path = write_events(tmp_path / "data.h5", 4, size=4, data=None)
    with h5py.File(path, "a") as file:
        links(tmp_path)[kind](file)
    with pytest.raises(UserError, match=r"data\.h5: '/?data' (is a link|lies in other files)"):
        Dataset([path], ["data", "label"])
    assert verdict("hep", path, drawn=False) == "refused"


def test_a_field_behind_a_link_to_a_group_of_another_file_is_refused(tmp_path):
    other = write_events(tmp_path / "other.h5", 4, size=4)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["group"] = h5py.ExternalLink(other, "/")
    with pytest.raises(UserError, match="'group/data' is a link"):
        Dataset([tmp_path / "data.h5"], ["group/data"])


@pytest.mark.parametrize("field", ["data", "label"])
@pytest.mark.parametrize("written", [False, True])
def test_numbers_that_a_file_claims_but_does_not_have_take_no_memory(tmp_path, field, written):
    path, shape = tmp_path / "data.h5", {"data": (3, 4, 4), "label": ()}
    with h5py.File(path, "w") as file:
        for name, sample in shape.items():
            count = 10**12 if name == field else 4
            file.create_dataset(name, (count, *sample), "f4", chunks=(1, *sample))
            if written:
                file[name][0] = 1
    with pytest.raises(UserError, match=r"claims [\d,]+ bytes, and nearly all"):
        Dataset([path], [field])
    assert verdict("hep", path, drawn=False) == "refused"
