"""Looking into networks, in numbers; `viz` draws them.

Of recurrent ones: what units follow in a text, how far back gradients reach. Of convolutional ones: where an
answer comes from, how far a unit sees. Of filters: which are edges. Of any: its layers' way.
"""

from lamina.probe.evidence import grad_cam, occlusion, saliency
from lamina.probe.filters import gabor_fit
from lamina.probe.flow import Step, flow
from lamina.probe.layers import feature_maps
from lamina.probe.receptive import ReceptiveField, receptive_field
from lamina.probe.recurrent import (
    Unit,
    bracket_depth,
    correlations,
    gradient_by_lag,
    inside_quotes,
    rank_units,
)

__all__ = [
    "ReceptiveField",
    "Step",
    "Unit",
    "bracket_depth",
    "correlations",
    "feature_maps",
    "flow",
    "gabor_fit",
    "grad_cam",
    "gradient_by_lag",
    "inside_quotes",
    "occlusion",
    "rank_units",
    "receptive_field",
    "saliency",
]
