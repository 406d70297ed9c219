"""Ring 5, arguments of sequences, normalisations and unshared weights: each wrong one gives its error."""

from lamina import ops
from tests.ops.refused import refused
from tests.ops.test_bad_input import f

_STEPS = {"x": f(2, 4, 5), "h0": f(2, 3), "c0": f(2, 3), "w_ih": f(12, 5), "w_hh": f(12, 3), "b": f(12)}


def _sequence(**changed):
    return lambda: ops.lstm(**(_STEPS | changed))


_SEQUENCES = {
    "sequence_axes": (_sequence(x=f(4, 5)), "lstm: x must have 3 axes, NTD, got 2 (shape (4, 5))"),
    "sequence_state": (
        _sequence(h0=f(3, 3)),
        "lstm: h0 must have shape (2, 3), (N, H) with the N of x, got (3, 3)",
    ),
    "sequence_cell": (
        _sequence(c0=f(2, 4)),
        "lstm: c0 must have shape (2, 3), that of h0 (N, H), got (2, 4)",
    ),
    "sequence_weight": (_sequence(w_ih=f(3, 5)), "lstm: w_ih must have shape (12, 5), (4H, D), got"),
    "sequence_recurrent": (
        _sequence(w_hh=f(12, 4)),
        "lstm: w_hh must have shape (12, 3), (4H, H), got (12, 4)",
    ),
    "sequence_bias": (_sequence(b=f(3)), "lstm: b must have shape (12,), (4H,), got (3,)"),
    "sequence_no_features": (_sequence(x=f(2, 4, 0), w_ih=f(12, 0)), "lstm: features and units cannot be 0"),
    "sequence_too_long": (
        _sequence(lengths=[4, 5]),
        "lstm: lengths must lie in 0..4, the steps of x; sequence 1 has 5",
    ),
    "sequence_negative": (_sequence(lengths=[-1, 2]), "lstm: lengths must lie in 0..4"),
    "sequence_lengths": (_sequence(lengths=[1, 2, 3]), "lstm: lengths must have shape (2,), one for each"),
    "sequence_nonlinearity": (
        lambda: ops.rnn(f(2, 4, 5), f(2, 3), f(3, 5), f(3, 3), f(3), nonlinearity="sin"),
        "rnn: unknown nonlinearity 'sin': expected one of 'tanh', 'relu', 'satlin'",
    ),
    "sequence_mask": (
        lambda: ops.rnn(f(2, 4, 5), f(2, 3), f(3, 5), f(3, 3), f(3), recurrent_mask=f(2, 4)),
        "rnn: recurrent_mask must have shape (2, 3), (N, H), got (2, 4)",
    ),
    "sequence_zone": (
        lambda: ops.rnn(f(2, 4, 5), f(2, 3), f(3, 5), f(3, 3), f(3), zone_h=f(2, 3)),
        "rnn: zone_h must have shape (2, 4, 3), (N, T, H), got (2, 3)",
    ),
    "sequence_gradient": (
        lambda: ops.lstm_backward(f(2, 4, 4), f(2, 3), f(2, 3), ops.lstm(**_STEPS)[1]),
        "lstm_backward: dy has shape (2, 4, 4) but the output had shape (2, 4, 3)",
    ),
}

_LOCAL = {"x": f(2, 4, 5, 3), "w": f(2, 3, 6, 3, 3, 3), "b": f(2, 3, 6)}


def _local(stride=1, padding=0, **changed):
    return lambda: ops.locally_connected2d(**(_LOCAL | changed), stride=stride, padding=padding)


_CONVNETS = {
    "batch_norm_scalar": (lambda: ops.batch_norm(f()), "batch_norm: x must have at least one channel"),
    "batch_norm_channels": (lambda: ops.batch_norm(f(3, 0)), "batch_norm: x must have at least one channel"),
    "batch_norm_gamma": (
        lambda: ops.batch_norm(f(4, 3), f(4)),
        "batch_norm: gamma must have shape (3,), one for each channel of x, got (4,)",
    ),
    "batch_norm_mean": (
        lambda: ops.batch_norm(f(4, 3), mean=f(3)),
        "batch_norm: mean and var must be given both or neither",
    ),
    "batch_norm_eps": (lambda: ops.batch_norm(f(4, 3), eps=0.0), "batch_norm: eps must be above 0, got 0.0"),
    "batch_norm_empty": (
        lambda: ops.batch_norm(f(0, 4, 3)),
        "batch_norm: no element to take statistics of (shape (0, 4, 3))",
    ),
    "batch_norm_gradient": (
        lambda: ops.batch_norm_backward(f(4, 2), ops.batch_norm(f(4, 3))[1]),
        "batch_norm_backward: dy has shape (4, 2) but the output had shape (4, 3)",
    ),
    "group_norm_axes": (lambda: ops.group_norm(f(6), 2), "group_norm: x must have at least 2 axes"),
    "group_norm_groups": (
        lambda: ops.group_norm(f(2, 6), 4),
        "group_norm: groups = 4 must divide the 6 channels of x",
    ),
    "group_norm_no_groups": (lambda: ops.group_norm(f(2, 6), 0), "group_norm: groups must be at least 1"),
    "group_norm_empty": (
        lambda: ops.group_norm(f(2, 0, 6), 2),
        "group_norm: a sample of x is empty (shape (2, 0, 6))",
    ),
    "group_norm_gradient": (
        lambda: ops.group_norm_backward(f(2, 5), ops.group_norm(f(2, 6), 2)[1]),
        "group_norm_backward: dy has shape (2, 5) but the output had shape (2, 6)",
    ),
    "layer_norm_beta": (
        lambda: ops.layer_norm(f(2, 6), beta=f(2)),
        "layer_norm: beta must have shape (6,), one for each channel of x, got (2,)",
    ),
    "layer_norm_gradient": (
        lambda: ops.layer_norm_backward(f(2, 5), ops.layer_norm(f(2, 6))[1]),
        "layer_norm_backward: dy has shape (2, 5) but the output had shape (2, 6)",
    ),
    "local_response_size": (
        lambda: ops.local_response_norm(f(2, 6), 4),
        "local_response_norm: size must be odd, as many channels on either side, got 4",
    ),
    "local_response_k": (
        lambda: ops.local_response_norm(f(2, 6), 5, k=0),
        "local_response_norm: k must be above 0, got 0.0",
    ),
    "local_weight_axes": (
        _local(w=f(2, 3, 6, 3, 3)),
        "locally_connected2d: w must have 6 axes, (OH, OW, O, KH, KW, C), none empty, got (2, 3, 6, 3, 3)",
    ),
    "local_weight": (
        _local(stride=2),
        "locally_connected2d: w must have shape (1, 2, 6, 3, 3, 3), (OH, OW, O, KH, KW, C) with the windows",
    ),
    "local_bias": (
        _local(b=f(6)),
        "locally_connected2d: b must have shape (2, 3, 6), (OH, OW, O) of w, got (6,)",
    ),
    "local_kernel": (
        _local(x=f(2, 2, 5, 3)),
        "locally_connected2d: the kernel 3 x 3 is larger than the padded image 2 x 5 (H x W)",
    ),
    "local_empty": (_local(x=f(2, 4, 0, 3)), "locally_connected2d: x has an empty axis (shape (2, 4, 0, 3)"),
    "leaky_relu_slope": (
        lambda: ops.leaky_relu(f(3), slope=-0.1),
        "leaky_relu: slope must be finite and at least 0, got -0.1",
    ),
    "elu_alpha": (
        lambda: ops.elu(f(3), alpha=float("nan")),
        "elu: alpha must be finite and at least 0, got nan",
    ),
    "gelu_word": (
        lambda: ops.gelu(f(3), approximate="erf"),
        "gelu: unknown approximate 'erf': expected one of 'none', 'tanh'",
    ),
    "silu_gradient": (
        lambda: ops.silu_backward(f(4), ops.silu(f(3))[1]),
        "silu_backward: dy has shape (4,) but the output had shape (3,)",
    ),
}


test_value_error = refused(ValueError, _SEQUENCES | _CONVNETS)
