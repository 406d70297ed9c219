"""Ring 5, arguments of the optimisers' steps: each wrong one gives its error; overlaps are refused."""

import numpy as np

from lamina import ops
from tests.ops.refused import refused
from tests.ops.test_bad_input import f, read_only


def _sgd(p=None, g=None, v=None, lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0):
    p, g = f(3) if p is None else p, f(3) if g is None else g
    return lambda: ops.sgd_step(p, g, v, lr, momentum, nesterov, weight_decay)


def _adam(
    p=None, m=None, v=None, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, decay=0.0, decoupled=False, step=1
):
    p, m, v = (f(3) if a is None else a for a in (p, m, v))
    return lambda: ops.adam_step(p, f(3), m, v, lr, beta1, beta2, eps, decay, decoupled, step)


def _rms(v=None, lr=0.1, keep=0.9, add=0.1, eps=1e-8):
    return lambda: ops.rms_step(f(3), f(3), f(3) if v is None else v, lr, keep, add, eps)


def _adadelta(v=None, lr=0.1, keep=0.9, eps=1e-6, decay=0.0):
    return lambda: ops.adadelta_step(f(3), f(3), f(3) if v is None else v, f(3), lr, keep, eps, decay)


def overlapping(op, *starts, size=8):
    """A step on stretches of one piece of memory, which begin at `starts`: p, g and the state."""
    flat = f(64)
    arrays = [flat[start : start + size] for start in starts]
    if op == "sgd_step":
        v = arrays[2] if len(arrays) > 2 else None
        return lambda: ops.sgd_step(arrays[0], arrays[1], v, 0.5, 0.0 if v is None else 0.9, False, 0.0)
    if op == "rms_step":
        return lambda: ops.rms_step(*arrays, 0.1, 0.9, 0.1, 1e-8)
    if op == "adadelta_step":
        return lambda: ops.adadelta_step(*arrays, 0.1, 0.9, 1e-6, 0.0)
    return lambda: ops.adam_step(*arrays, 0.1, 0.9, 0.99, 1e-8, 0.0, False, 1)


TYPE_ERRORS = {
    "lr": (_sgd(lr="fast"), "sgd_step: lr must be a number, got 'fast'"),
    "bool_lr": (_sgd(lr=True), "sgd_step: lr must be a number, got True"),
    "nesterov": (_sgd(nesterov=1), "sgd_step: nesterov must be True or False, got 1"),
    "decoupled": (_adam(decoupled=0), "adam_step: decoupled must be True or False, got 0"),
    "step": (_adam(step=1.0), "adam_step: step must be an int, got 1.0"),
    "in_place_dtype": (_sgd(p=np.ones(3, int)), "sgd_step: p must be float32 or float64, got int64"),
}

VALUE_ERRORS = {
    "sgd_shape": (_sgd(g=f(4)), "sgd_step: g must have shape (3,), that of p, got (4,)"),
    "sgd_read_only": (
        _sgd(p=read_only(3)),
        "sgd_step: p is updated in place and so must be writeable, C-contiguous",
    ),
    "sgd_strided": (_sgd(p=f(6)[::2]), "sgd_step: p is updated in place"),
    "sgd_swapped": (_sgd(p=f(3, dtype=">f4")), "sgd_step: p is updated in place"),
    "sgd_v": (_sgd(v=read_only(3), momentum=0.9), "sgd_step: v is updated in place"),
    "sgd_v_missing": (
        _sgd(momentum=0.9),
        "sgd_step: v must be None exactly where momentum is 0, got momentum 0.9 and",
    ),
    "sgd_v_useless": (
        _sgd(v=f(3)),
        "sgd_step: v must be None exactly where momentum is 0, got momentum 0.0 and v an",
    ),
    "sgd_nesterov": (_sgd(nesterov=True), "sgd_step: nesterov needs a momentum above 0"),
    "sgd_lr": (_sgd(lr=-0.1), "sgd_step: lr must be finite and at least 0, got -0.1"),
    "sgd_lr_nan": (_sgd(lr=np.nan), "sgd_step: lr must be finite and at least 0, got nan"),
    "sgd_lr_inf": (_sgd(lr=np.inf), "sgd_step: lr must be finite and at least 0, got inf"),
    "sgd_decay": (_sgd(weight_decay=-1), "sgd_step: weight_decay must be finite and at least 0, got -1.0"),
    "adam_beta1": (_adam(beta1=1.0), "adam_step: beta1 must be at least 0 and less than 1, got 1.0"),
    "adam_beta2": (_adam(beta2=-0.1), "adam_step: beta2 must be at least 0 and less than 1, got -0.1"),
    "adam_eps": (_adam(eps=np.nan), "adam_step: eps must be finite and at least 0, got nan"),
    "adam_step": (_adam(step=0), "adam_step: step must be at least 1, got 0"),
    "adam_m": (_adam(m=f(4)), "adam_step: m must have shape (3,), that of p, got (4,)"),
    "rms_lr": (_rms(lr=-0.1), "rms_step: lr must be finite and at least 0, got -0.1"),
    "rms_keep": (_rms(keep=-1), "rms_step: keep must be finite and at least 0, got -1"),
    "rms_add": (_rms(add=np.nan), "rms_step: add must be finite and at least 0, got nan"),
    "rms_eps": (_rms(eps=np.inf), "rms_step: eps must be finite and at least 0, got inf"),
    "rms_v": (_rms(v=f(4)), "rms_step: v must have shape (3,), that of p, got (4,)"),
    "rms_v_read_only": (_rms(v=read_only(3)), "rms_step: v is updated in place"),
    "rms_p_g_overlap": (overlapping("rms_step", 7, 0, 16), "rms_step: p and g overlap in memory"),
    "rms_p_v_overlap": (overlapping("rms_step", 0, 8, 1), "rms_step: p and v overlap in memory"),
    "rms_g_v_overlap": (overlapping("rms_step", 16, 0, 7), "rms_step: g and v overlap in memory"),
    "adadelta_lr": (_adadelta(lr=-1), "adadelta_step: lr must be finite and at least 0, got -1"),
    "adadelta_keep": (_adadelta(keep=1), "adadelta_step: keep must be at least 0 and less than 1, got 1"),
    "adadelta_eps": (_adadelta(eps=0), "adadelta_step: eps must be above 0"),
    "adadelta_decay": (_adadelta(decay=np.inf), "adadelta_step: weight_decay must be finite and at least 0"),
    "adadelta_v": (_adadelta(v=f(4)), "adadelta_step: v must have shape (3,), that of p, got (4,)"),
    "adadelta_overlap": (overlapping("adadelta_step", 0, 8, 16, 16), "adadelta_step: v and u overlap"),
    "adam_v": (_adam(v=read_only(3)), "adam_step: v is updated in place"),
    "sgd_p_g_overlap": (overlapping("sgd_step", 1, 0), "sgd_step: p and g overlap in memory"),
    "sgd_p_is_g": (overlapping("sgd_step", 0, 0), "sgd_step: p and g overlap in memory"),
    "sgd_p_is_v": (overlapping("sgd_step", 0, 8, 0), "sgd_step: p and v overlap in memory"),
    "sgd_g_v_overlap": (overlapping("sgd_step", 0, 8, 15), "sgd_step: g and v overlap in memory"),
    "adam_p_g_overlap": (overlapping("adam_step", 7, 0, 16, 24), "adam_step: p and g overlap in memory"),
    "adam_p_m_overlap": (overlapping("adam_step", 0, 8, 1, 24), "adam_step: p and m overlap in memory"),
    "adam_p_v_overlap": (overlapping("adam_step", 0, 8, 24, 4), "adam_step: p and v overlap in memory"),
    "adam_g_m_overlap": (overlapping("adam_step", 0, 8, 9, 24), "adam_step: g and m overlap in memory"),
    "adam_g_v_overlap": (overlapping("adam_step", 0, 8, 24, 8), "adam_step: g and v overlap in memory"),
    "adam_m_v_overlap": (overlapping("adam_step", 0, 8, 16, 16), "adam_step: m and v overlap in memory"),
}


test_type_error = refused(TypeError, TYPE_ERRORS)
test_value_error = refused(ValueError, VALUE_ERRORS)
