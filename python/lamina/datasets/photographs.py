"""Photographs that another library ships."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def photographs() -> npt.NDArray[Any]:
    """scikit-learn's two photographs, a temple and a flower: (2, 427, 640, 3), float32 in [0, 1].

    ImportError without scikit-learn and Pillow: `pip install "lamina[photographs]"`. Their licence is that of
    Creative Commons, CC BY; the authors are named in scikit-learn's `load_sample_images`.
    """
    try:
        from sklearn.datasets import load_sample_images

        images = load_sample_images().images
    except ImportError as error:
        raise ImportError(
            'datasets.photographs needs scikit-learn and Pillow: pip install "lamina[photographs]"'
        ) from error
    return np.stack(images).astype(np.float32) / 255
