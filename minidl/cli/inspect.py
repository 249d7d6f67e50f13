"""``minidl inspect``: what a data set holds, and what in it would stop or slow a training."""

from __future__ import annotations

import textwrap
from pathlib import Path

import h5py
from rich.console import Console
from rich.markup import escape

from .. import picture as pictures
from ..data import open_hdf5
from ..errors import UserError
from ..tables import plain_table, size_text, times
from .gallery import draw_samples
from .survey import Survey, is_field, is_image, problems


def inspect_file(file: Path, picture: Path | None, console: Console) -> None:
    """Print what is in an HDF5 file, and draw some samples of its images.

    Memory stays bounded whatever the size of the file.

    Parameters
    ----------
    file : Path
    picture : Path or None
        Where the picture goes; beside the file if None. Without images there is none.
    console : Console

    Raises
    ------
    UserError
        If the file cannot be read or the picture not be written.
    """
    with open_hdf5(file) as opened:
        datasets = find_datasets(opened)
        if not datasets:
            raise UserError(f"{file}: no data sets in it")
        images = next((dataset for dataset in datasets.values() if is_image(dataset)), None)
        out = picture or file.with_suffix(".png")
        if images is not None:
            pictures.check_path(out, "--picture")
        try:
            print_contents(file, opened, datasets, console)
            with console.status("reading"):
                surveys = {name: Survey(d) for name, d in datasets.items() if is_field(d)}
            print_classes(surveys, console)
            print_statistics(surveys, console)
            print_warnings(datasets, surveys, console)
            if images is not None:
                labels = [s.dataset for s in surveys.values() if s.classes]
                labels = [label for label in labels if len(label) == len(images)]
                pictures.save(draw_samples(images, labels[0] if labels else None), out)
                console.print(f"wrote {out}", markup=False)
        except OSError as error:
            raise UserError(f"{file}: cannot be read, maybe damaged: {error}") from None


def find_datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Every data set, those in groups too, by its path in the file."""
    found: dict[str, h5py.Dataset] = {}

    def keep(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node

    file.visititems(keep)
    return found


def print_contents(
    path: Path, file: h5py.File, datasets: dict[str, h5py.Dataset], console: Console
) -> None:
    """Print the file's attributes and a table of its data sets."""
    console.print(f"{path}: {size_text(path.stat().st_size)}", markup=False)
    for name, value in file.attrs.items():
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        console.print(f"  {name}: {textwrap.shorten(text, 90)}", markup=False)
    table = plain_table("field", "shape", "type", "chunks", "compression", ">stored", ">ratio")
    for name, dataset in datasets.items():
        stored = dataset.id.get_storage_size()
        packed = dataset.shape and dataset.id.get_create_plist().get_nfilters()
        table.add_row(
            escape(name),
            "empty" if dataset.shape is None else times(dataset.shape) or "single value",
            escape(str(dataset.dtype)),
            times(dataset.chunks or ()),
            dataset.compression or ("yes" if packed else ""),
            size_text(stored),
            f"{dataset.nbytes / stored:.1f}" if stored and dataset.shape else "",
        )
    console.print()
    console.print(table)


def print_classes(surveys: dict[str, Survey], console: Console) -> None:
    """Print how often each label comes."""
    table = plain_table("labels", ">class", ">samples", ">share")
    for name, survey in surveys.items():
        for label, count in sorted(survey.classes.items()):
            share = f"{count / survey.samples:.1%}"
            table.add_row(escape(name), str(label), f"{count:,}", share)
    if table.row_count:
        console.print()
        console.print(table)


def print_statistics(surveys: dict[str, Survey], console: Console) -> None:
    """Print the numbers' statistics, and of how many samples they are."""
    table = plain_table(
        "field", ">channel", ">minimum", ">mean", ">maximum", ">zeros", ">not finite"
    )
    for name, survey in surveys.items():
        for row in range(0 if survey.classes else len(survey.mean)):
            spread = (survey.minimum[row], survey.mean[row], survey.maximum[row])
            table.add_row(
                escape(name),
                str(row) if is_image(survey.dataset) else "",
                *(f"{value:.4g}" for value in spread),
                f"{survey.zeros[row]:.1%}",
                f"{survey.not_finite[row]:,}",
            )
    console.print()
    if table.row_count:
        console.print(table)
        console.print()
    for name, survey in surveys.items():
        total = len(survey.dataset)
        if survey.samples < total:
            text = f"{name}: looked at {survey.samples:,} of {total:,} samples, evenly spaced"
            console.print(text, markup=False)


def print_warnings(
    datasets: dict[str, h5py.Dataset], surveys: dict[str, Survey], console: Console
) -> None:
    """Print what would stop or slow a training."""
    found = [problem for survey in surveys.values() for problem in problems(survey)]
    for name, dataset in datasets.items():
        if dataset.shape and dataset.size == 0:
            found.append(f"{name}: no samples in it")
    for problem in found:
        console.print(f"warning: {problem}", style="yellow", markup=False)
