"""Data for training: `Loader` makes batches of arrays, memory maps, folders of images and functions.

photos = lm.data.ImageFolder("photos", size=(64, 64))
batches = lm.data.Loader(photos, batch_size=32, augment=lm.data.Compose(lm.data.Flip(), lm.data.Shift(4)))
lm.fit(model, batches, loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=10, seed=0)
"""

from lamina.data.augment import (
    Augmentation,
    Brightness,
    Compose,
    Contrast,
    Crop,
    Cutout,
    Flip,
    Mixup,
    Rotate,
    Shift,
    Standardise,
)
from lamina.data.folder import ImageFiles, ImageFolder
from lamina.data.labels import encode_labels
from lamina.data.loader import Loader, Source

__all__ = [
    "Augmentation",
    "Brightness",
    "Compose",
    "Contrast",
    "Crop",
    "Cutout",
    "Flip",
    "ImageFiles",
    "ImageFolder",
    "Loader",
    "Mixup",
    "Rotate",
    "Shift",
    "Source",
    "Standardise",
    "encode_labels",
]
