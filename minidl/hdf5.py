"""HDF5 files, written whole, and read with suspicion: whatever is wrong with one is one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from .errors import UserError

# What h5py raises where it meets damage, or numbers that are too large to be meant.
DAMAGE = (
    OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, IndexError,
    ArithmeticError, MemoryError,
)  # fmt: skip

# Deflate, HDF5's usual compression, makes numbers at most 1032 times smaller (RFC 1951's longest
# match, 258 bytes, in two bits); of what promises more, nearly all was never written.
MOST_COMPRESSED = 2000
LITTLE = 2**30  # bytes that do no harm, whatever they are


def write_hdf5(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """Write an HDF5 file and sync it to the disk; ``fill`` puts its contents into it.

    HDF5 makes it in memory, and Python writes it: HDF5 itself ends the interpreter with a
    segmentation fault where a disk is full.

    Raises
    ------
    OSError
        If it cannot be written; part of it may be there then.
    """
    # The latest format has checksums of its structure too.
    with h5py.File(path, "w", driver="core", backing_store=False, libver="latest") as file:
        fill(file)
        file.flush()
        image = file.id.get_file_image()
    path.unlink(missing_ok=True)  # it may be a link, which is not followed
    with path.open("xb") as whole:
        whole.write(image)
        whole.flush()
        os.fsync(whole.fileno())


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading, or say in one line why that cannot be done."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        reason = "cut off" if "truncated" in str(error) else "not an HDF5 file, or damaged"
        raise UserError(f"{path}: {reason}; expected a whole HDF5 file ({error})") from None


def attributes(node: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Return a node's attributes, but for texts and lists of variable length.

    These lie in a heap without a checksum; in a damaged one HDF5 may look for ever.
    """
    names = (name for name in node.attrs if node.attrs.get_id(name).dtype.kind != "O")
    return {name: node.attrs[name] for name in names}


def bytes_now(file: h5py.File) -> int:
    """Length of an open file: where some of it is gone, HDF5 reads zeros and says nothing."""
    return os.fstat(file.id.get_vfd_handle()).st_size


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn whatever a damaged file leads to into one line, which begins with ``what``."""
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{what}: {reason}") from None


def numbers(path: Path, file: h5py.Group, field: str, kinds: str = "fiub") -> h5py.Dataset:
    """Find an array of numbers, one entry a sample, all of them in this very file.

    ``kinds`` are those that its type may be of, as NumPy has them.

    Raises
    ------
    UserError
        If there is none, or what is there leads elsewhere or was never written.
    """
    with readable(f"{path}: cannot read {field!r}"):
        place: h5py.Group = file
        for part in field.strip("/").split("/"):
            # A link is looked at before it is followed: it may lead to any file of the user's.
            links = place.id.links if isinstance(place, h5py.Group) else None
            if links is None or not links.exists(part.encode()):
                raise missing(path, file, field)
            if links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
                raise UserError(f"{path}: {field!r} is a link; expected the numbers themselves")
            place = place[part]
        if not isinstance(place, h5py.Dataset) or not place.ndim or place.dtype.kind not in kinds:
            raise missing(path, file, field)
        check_stored(path, place)
        return place


def check_stored(path: Path, array: h5py.Dataset) -> None:
    """Raise ``UserError`` for an array that lies in other files, or was never written."""
    if array.is_virtual or array.external:
        raise UserError(
            f"{path}: {array.name!r} lies in other files; name these files instead, or copy it "
            "with h5copy"
        )
    if array.nbytes > max(LITTLE, MOST_COMPRESSED * array.id.get_storage_size()):
        raise UserError(
            f"{path}: {array.name!r} claims {array.nbytes:,} bytes, and nearly all of them were "
            "never written"
        )


def missing(path: Path, file: h5py.Group, field: str) -> UserError:
    """Say that numbers are not there, and what is."""
    there = ", ".join(sorted(file)) or "nothing"
    return UserError(f"{path}: no numbers {field!r}, one entry a sample; it has: {there}")
