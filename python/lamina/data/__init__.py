"""Data for training: `Loader` makes batches of arrays, memory maps, folders of images and functions."""

from lamina.data.labels import encode_labels
from lamina.data.loader import Loader, Source

__all__ = ["Loader", "Source", "encode_labels"]
