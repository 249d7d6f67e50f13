"""minidl: distributed deep learning written to be read."""

from importlib.metadata import version

__version__ = version("minidl")
