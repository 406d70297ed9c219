"""What layers and losses do with integers that they are given: they become floats."""

from typing import Any

import numpy as np

from lamina import _hosted as hosted
from lamina.autograd import Tensor


def floating(x: Tensor, dtype: np.dtype[Any] = np.dtype(np.float32)) -> Tensor:  # noqa: B008 (immutable)
    """x itself if it holds floats; integers and booleans as `dtype`."""
    return x if x.data.dtype.kind == "f" else Tensor(hosted.again(np.asarray, x.data, dtype))
