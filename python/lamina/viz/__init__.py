"""Pictures: images and filters, networks and what units in them see, codes, losses, texts, gradients.

They need matplotlib, only when a function is called; `tile`, `maximize` and `sliding_window` need it never.
"""

from lamina.viz.ascent import maximize
from lamina.viz.codes import code_map
from lamina.viz.curves import activation_histogram, loss_curves
from lamina.viz.diagrams import architecture_types, unrolled
from lamina.viz.evidence import feature_maps, grad_cam, occlusion, receptive_field, saliency
from lamina.viz.grid import filter_grid, image_grid, reconstructions, tile
from lamina.viz.heat import text_heat
from lamina.viz.lags import gradient_lags
from lamina.viz.mistakes import confusion_matrix, worst_mistakes
from lamina.viz.network import network
from lamina.viz.volumes import activations
from lamina.viz.window_page import sliding_window

__all__ = [
    "activation_histogram",
    "activations",
    "architecture_types",
    "code_map",
    "confusion_matrix",
    "feature_maps",
    "filter_grid",
    "grad_cam",
    "gradient_lags",
    "image_grid",
    "loss_curves",
    "maximize",
    "network",
    "occlusion",
    "receptive_field",
    "reconstructions",
    "saliency",
    "sliding_window",
    "text_heat",
    "tile",
    "unrolled",
    "worst_mistakes",
]
