"""``minidl inspect``: what a data set holds, and what in it would stop or slow a training."""

from __future__ import annotations

import textwrap
from pathlib import Path

import h5py
from rich.console import Console
from rich.markup import escape

from .. import picture as pictures
from ..errors import UserError
from ..hdf5 import attributes, check_stored, open_hdf5, readable
from ..tables import counted, plain_table, size_text, times
from .box_survey import BoxSurvey
from .contents import Contents, channel_names, texts
from .gallery import draw_samples
from .survey import Survey, is_field, is_image, problems

UNREAD = "not read, as it is of variable length; write such as np.bytes_"


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
    with readable(f"{file}: cannot be read, maybe damaged"), open_hdf5(file) as opened:
        contents = Contents(opened)
        if not contents.datasets:
            raise UserError(f"{file}: no data sets in it")
        for dataset in contents.datasets.values():
            check_stored(file, dataset)
        out = picture or file.with_suffix(".png")
        if contents.images:
            pictures.check_path(out, "--picture")
        print_contents(file, opened, contents.datasets, console)
        with console.status("reading"):
            surveys, boxes = survey(contents)
        print_classes(surveys, console)
        print_boxes(boxes, contents.classes, console)
        print_statistics([s for s in surveys if s.name not in contents.boxes], console)
        print_warnings(contents, surveys, boxes, console)
        if contents.images:
            draw(contents, surveys, out, console)


def survey(contents: Contents) -> tuple[list[Survey], list[BoxSurvey]]:
    """Read all fields of numbers, and the boxes among them once more as boxes."""
    lengths = {len(images) for images in contents.images}
    fields = filter(is_field, contents.datasets.values())
    boxes = contents.boxes.values()
    return (
        [Survey(field, lengths) for field in fields],
        [BoxSurvey(field, contents.frame(field)) for field in boxes],
    )


def draw(contents: Contents, surveys: list[Survey], out: Path, console: Console) -> None:
    """Draw samples of the images, by class if there are labels of them."""
    labels = [survey.dataset for survey in surveys if survey.classes]
    labels = [label for label in labels if len(label) == len(contents.images[0])]
    labels.sort(key=lambda label: "label" not in label.name)  # before other integers
    pictures.save(draw_samples(contents, labels[0] if labels else None), out)
    end = "bottom" if contents.starts_at_bottom() else "top"
    console.print(f"wrote {out}, row 0 at the {end}", markup=False)


def print_contents(
    path: Path, file: h5py.File, datasets: dict[str, h5py.Dataset], console: Console
) -> None:
    """Print the file's attributes and a table of its data sets."""
    console.print(f"{path}: {size_text(path.stat().st_size)}", markup=False)
    values = attributes(file)
    for name in file.attrs:
        text = ", ".join(texts(file, name)) or str(values.get(name, UNREAD))
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


def print_classes(surveys: list[Survey], console: Console) -> None:
    """Print how often each label comes."""
    table = plain_table("labels", ">class", ">samples", ">share")
    for survey in surveys:
        for label, count in sorted(survey.classes.items()):
            share = f"{count / survey.samples:.1%}"
            table.add_row(escape(survey.name), str(label), f"{count:,}", share)
    if table.row_count:
        console.print()
        console.print(table)


def print_boxes(surveys: list[BoxSurvey], classes: list[str], console: Console) -> None:
    """Print how often boxes of each class come, and how many a sample has."""
    table = plain_table("field", "class", ">boxes", ">share")
    for survey in surveys:
        for kind in sorted(set(survey.classes) | set(range(len(classes)))):
            known = 0 <= kind < len(classes)
            count = survey.classes[kind]
            share = f"{count / max(survey.boxes, 1):.1%}"
            title = classes[kind] if known else str(kind)
            table.add_row(escape(survey.name), escape(title), f"{count:,}", share)
    if table.row_count:
        console.print()
        console.print(table)
    for survey in surveys:
        samples = len(survey.dataset)
        console.print(
            f"{survey.name}: {survey.boxes / samples:.3g} a sample, at most {survey.most}; "
            f"{survey.empty:,} of {counted(samples, 'sample')} without any",
            markup=False,
        )


def print_statistics(surveys: list[Survey], console: Console) -> None:
    """Print the numbers' statistics, and of how many samples they are."""
    table = plain_table(
        "field", ">channel", ">minimum", ">mean", ">maximum", ">zeros", ">not finite"
    )
    for survey in surveys:
        image = is_image(survey.dataset)
        names = channel_names(survey.dataset) if image else []
        for row in range(0 if survey.classes else len(survey.mean)):
            spread = (survey.minimum[row], survey.mean[row], survey.maximum[row])
            table.add_row(
                escape(survey.name),
                escape(names[row]) if names else str(row) if image else "",
                *(f"{value:.4g}" for value in spread),
                f"{survey.zeros[row]:.1%}",
                f"{survey.not_finite[row]:,}",
            )
    console.print()
    if table.row_count:
        console.print(table)
        console.print()
    for survey in surveys:
        total = len(survey.dataset)
        if survey.samples < total:
            text = (
                f"{survey.name}: looked at {survey.samples:,} of {total:,} samples, evenly spaced"
            )
            console.print(text, markup=False)


def print_warnings(
    contents: Contents, surveys: list[Survey], boxes: list[BoxSurvey], console: Console
) -> None:
    """Print what would stop or slow a training."""
    found = [problem for survey in surveys for problem in problems(survey)]
    found += [problem for survey in boxes for problem in survey.problems()]
    for name, dataset in contents.datasets.items():
        if dataset.shape and dataset.size == 0:
            found.append(f"{name}: no samples in it")
    for problem in found:
        console.print(f"warning: {problem}", style="yellow", markup=False)
