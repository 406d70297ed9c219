"""Images made ready for learning: patches, contrast, whitening.

Images are (N, H, W) or (N, H, W, C), and come back as float32 or float64, integers as float32.
"""

from lamina.image.contrast import dead_leaves, local_contrast, whiten_spectrum
from lamina.image.patches import normalize_patches, random_patches, remove_mean
from lamina.image.whitening import PCAWhitening, ZCAWhitening

__all__ = [
    "PCAWhitening",
    "ZCAWhitening",
    "dead_leaves",
    "local_contrast",
    "normalize_patches",
    "random_patches",
    "remove_mean",
    "whiten_spectrum",
]
