"""Pictures: images and filters, texts and the units that read them, gradients, recurrent networks.

They need matplotlib, only when a function is called.
"""

from lamina.viz.diagrams import architecture_types, unrolled
from lamina.viz.grid import filter_grid, image_grid, tile
from lamina.viz.heat import text_heat
from lamina.viz.lags import gradient_lags

__all__ = [
    "architecture_types",
    "filter_grid",
    "gradient_lags",
    "image_grid",
    "text_heat",
    "tile",
    "unrolled",
]
