"""What the data sets of a file are to each other: images, boxes in them, names of channels."""

from __future__ import annotations

import h5py
import numpy as np

from ..hdf5 import attributes
from .survey import is_field, is_image

BOX = 5  # numbers a box: ymin, xmin, ymax, xmax in pixels, and its class


class Contents:
    """The data sets of a file, and the parts they play.

    Parameters
    ----------
    file : h5py.File

    Attributes
    ----------
    datasets : dict of str to h5py.Dataset
        Every data set, those in groups too, by its path in the file.
    images : list of h5py.Dataset
        The first is the one to draw.
    boxes : dict of str to h5py.Dataset
        Those named ``boxes``, of shape (samples, n, 5), and others of such a one's shape, such as
        the boxes that another method found.
    classes : list of str
        Names of the boxes' classes: the file's attribute ``classes``, texts of a fixed length;
        empty without.
    """

    def __init__(self, file: h5py.File) -> None:
        self.datasets = find_datasets(file)
        self.images = [dataset for dataset in self.datasets.values() if is_image(dataset)]
        fields = {name: dataset for name, dataset in self.datasets.items() if is_field(dataset)}
        shapes = {dataset.shape for name, dataset in fields.items() if is_boxes(name, dataset)}
        self.boxes = {name: dataset for name, dataset in fields.items() if dataset.shape in shapes}
        self.classes = texts(file, "classes")

    def drawn_boxes(self) -> h5py.Dataset | None:
        """Return the boxes in the images that are drawn, if there are any."""
        for name, dataset in self.boxes.items():
            if is_boxes(name, dataset) and len(dataset) == len(self.images[0]):
                return dataset
        return None

    def frame(self, boxes: h5py.Dataset) -> tuple[int, int] | None:
        """Return the height and width of the images that boxes are in; None without images."""
        fitting = (images.shape[2:] for images in self.images if len(images) == len(boxes))
        return next(fitting, None)

    def starts_at_bottom(self) -> bool:
        """Whether row 0 of the images to draw belongs at the bottom.

        It does where ``latitude``, a number for each row, rises. Without latitudes it does where
        there are boxes: the data set whose layout they have, ExtremeWeather (E. Racah et al.,
        NIPS 2017), starts at the south pole and says so nowhere in its files.
        """
        latitude = self.datasets.get("latitude")
        if latitude is not None and latitude.shape == self.images[0].shape[2:3]:
            return bool(latitude[-1] > latitude[0])
        return self.drawn_boxes() is not None


def find_datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Every data set, those in groups too, by its path in the file."""
    found: dict[str, h5py.Dataset] = {}

    def keep(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node

    file.visititems(keep)
    return found


def is_boxes(name: str, dataset: h5py.Dataset) -> bool:
    """Whether a field is named ``boxes`` and has their shape."""
    named = name.rpartition("/")[2] == "boxes"
    return named and dataset.ndim == 3 and dataset.shape[2] == BOX


def channel_names(images: h5py.Dataset) -> list[str]:
    """Names of an image's channels: attribute ``channels`` of its data set, or of the file.

    Empty where there is none, or not a name for every channel.
    """
    names = texts(images, "channels") or texts(images.file, "channels")
    return names if len(names) == images.shape[1] else []


def texts(node: h5py.File | h5py.Dataset, attribute: str) -> list[str]:
    """Return an attribute's texts; what is no text is left out."""
    values = np.ravel(attributes(node).get(attribute, ()))
    decoded = (v.decode(errors="replace") if isinstance(v, bytes) else v for v in values)
    return [text for text in decoded if isinstance(text, str)]
