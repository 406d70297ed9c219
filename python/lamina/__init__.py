"""lamina: deep learning on ordinary processors.

    import lamina as lm
    from lamina import nn, optim

Tensors and functions of them are here; layers in `nn`, optimisers in `optim`, the training loop in `train`
(`lm.fit`), autoencoders in `autoencoders`, images and texts in `datasets`, batches and augmentation in
`data`, figures in `viz`. The modules with further dependencies are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from lamina import config, init, nn, ops, optim
from lamina.autograd import Tensor, apply, no_grad
from lamina.config import (
    available_isas,
    build_info,
    get_conv_precision,
    get_num_threads,
    manual_seed,
    set_conv_precision,
    set_num_threads,
    use_backend,
)
from lamina.functions import (
    concatenate,
    elu,
    exp,
    gelu,
    leaky_relu,
    log,
    log_softmax,
    maximum,
    minimum,
    power,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    sqrt,
    stack,
    tanh,
    where,
)
from lamina.nn.plan import compile

if TYPE_CHECKING:
    from lamina import (
        autoencoders,
        data,
        datasets,
        image,
        io,
        models,
        probe,
        pytorch,
        testing,
        text,
        train,
        viz,
    )
    from lamina.io import load, save
    from lamina.pytorch import from_torch_state_dict
    from lamina.text import generate
    from lamina.train.doctor import doctor
    from lamina.train.evaluate import evaluate
    from lamina.train.find_lr import find_lr
    from lamina.train.fit import fit

__version__ = "0.1.0"

_LAZY = {
    "autoencoders": "lamina.autoencoders",
    "data": "lamina.data",
    "datasets": "lamina.datasets",
    "image": "lamina.image",
    "io": "lamina.io",
    "models": "lamina.models",
    "probe": "lamina.probe",
    "pytorch": "lamina.pytorch",
    "testing": "lamina.testing",
    "text": "lamina.text",
    "train": "lamina.train",
    "viz": "lamina.viz",
    "doctor": "lamina.train:doctor",
    "evaluate": "lamina.train:evaluate",
    "find_lr": "lamina.train:find_lr",
    "fit": "lamina.train:fit",
    "from_torch_state_dict": "lamina.pytorch:from_torch_state_dict",
    "generate": "lamina.text:generate",
    "load": "lamina.io:load",
    "save": "lamina.io:save",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__all__ = [
    "Tensor",
    "apply",
    "autoencoders",
    "available_isas",
    "build_info",
    "compile",
    "concatenate",
    "config",
    "data",
    "datasets",
    "doctor",
    "elu",
    "evaluate",
    "exp",
    "find_lr",
    "fit",
    "from_torch_state_dict",
    "gelu",
    "generate",
    "get_conv_precision",
    "get_num_threads",
    "image",
    "init",
    "io",
    "leaky_relu",
    "load",
    "log",
    "log_softmax",
    "manual_seed",
    "maximum",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "power",
    "probe",
    "pytorch",
    "relu",
    "save",
    "set_conv_precision",
    "set_num_threads",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "sqrt",
    "stack",
    "tanh",
    "testing",
    "text",
    "train",
    "use_backend",
    "viz",
    "where",
]
