"""Recurrent layers over whole sequences: RNN, GRU and LSTM, of several layers, in one or both directions."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina import config, init, ops
from lamina.autograd import Tensor, is_recorded, no_grad, record_many
from lamina.functions import stack
from lamina.nn._cast import floating
from lamina.nn.dropout import Dropout
from lamina.nn.module import Array, Module, Parameter
from lamina.ops import _check as check
from lamina.ops.both_ways import both_ways, both_ways_backward
from lamina.ops.gates import sequence_activations


class _Recurrent(Module):
    """Layers l and directions d have `weight_ih_l{l}{d}` (G H, D), `weight_hh_...` (G H, H) and `bias_...`.

    d is "" for the way forward and "_reverse" for the way back. D of the first layer is `input_size`, of the
    others H times the number of directions.
    """

    _gates = 1  # rows of the weights, in H
    _biases = 1
    _zones: tuple[str, ...] = ("zone_h",)  # the parts of the state that zoneout can hold
    _forward: Callable[..., Any] = staticmethod(ops.rnn)
    _backward: Callable[..., Any] = staticmethod(ops.rnn_backward)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        rng: init.Rng = None,
    ) -> None:
        name = type(self).__name__
        self.input_size = check.integer(name, "input_size", input_size, 1)
        self.hidden_size = check.integer(name, "hidden_size", hidden_size, 1)
        self.num_layers = check.integer(name, "num_layers", num_layers, 1)
        self.bidirectional = bool(bidirectional)
        self.dropout = check.number(name, "dropout", dropout, below=1)
        self._between = Dropout(self.dropout)
        self.recurrent_dropout = check.number(name, "recurrent_dropout", recurrent_dropout, below=1)
        self.zoneout = self._zone_rates(zoneout)
        rng, bound, h = init.generator(rng), 1 / math.sqrt(hidden_size), self.hidden_size
        for layer in range(self.num_layers):
            features = self.input_size if layer == 0 else h * len(self._directions())
            for direction in self._directions():
                for part, shape in (
                    ("weight_ih", (self._gates * h, features)),
                    ("weight_hh", (self._gates * h, h)),
                    ("bias", (self._biases * h,)),
                ):
                    values = init.uniform(shape, -bound, bound, rng=rng)
                    setattr(self, f"{part}_l{layer}{direction}", Parameter(values))

    def _directions(self) -> Sequence[str]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def _weights(self, layer: int, direction: str) -> list[Tensor]:
        return [getattr(self, f"{part}_l{layer}{direction}") for part in ("weight_ih", "weight_hh", "bias")]

    def _zone_rates(self, zoneout: Any) -> tuple[float, ...]:
        """One rate for each part of the state."""
        given = zoneout if isinstance(zoneout, (tuple, list)) else (zoneout,) * len(self._zones)
        if len(given) != len(self._zones):
            raise ValueError(
                f"{type(self).__name__}: zoneout must be a number"
                f"{' or a pair for h and c' if len(self._zones) > 1 else ''}, got {zoneout!r}"
            )
        return tuple(check.number(type(self).__name__, "zoneout", rate, below=1) for rate in given)

    def _options(self) -> dict[str, Any]:
        return {}

    def _masks(self, rows: int, steps: int) -> dict[str, Any]:
        """In training, new masks of recurrent dropout and zoneout for one layer and direction."""
        found: dict[str, Any] = {}
        dtype, size = self._weights(0, "")[0].dtype, self.hidden_size
        if self.training and self.recurrent_dropout > 0:
            kept = config.rng().random((rows, size), np.float32) >= self.recurrent_dropout
            found["recurrent_mask"] = kept * dtype.type(1 / (1 - self.recurrent_dropout))
        for name, rate in zip(self._zones, self.zoneout, strict=True):
            if self.training and rate > 0:
                found[name] = (config.rng().random((rows, steps, size), np.float32) < rate).astype(dtype)
        return found

    def _states(self, state: Any, rows: int, parts: int) -> list[Tensor]:
        """The parts of the initial state, each (layers * directions, N, H): zeros for None."""
        name = type(self).__name__
        shape = (self.num_layers * len(self._directions()), rows, self.hidden_size)
        dtype = self._weights(0, "")[0].dtype
        if state is None:
            return [Tensor(np.zeros(shape, dtype)) for _ in range(parts)]
        given = [state] if parts == 1 else state
        if not isinstance(given, (tuple, list)) or len(given) != parts:
            raise TypeError(f"{name}: state must be a pair (h, c) or None, got {type(state).__name__}")
        found = [
            s if isinstance(s, Tensor) else Tensor(check.array_of(name, "state", s, dtype)) for s in given
        ]
        for letter, part in zip("hc", found, strict=False):
            if part.shape != shape:
                raise ValueError(
                    f"{name}: state {letter} must have shape {shape}, (layers * directions, N, H), "
                    f"got {part.shape}"
                )
        return found

    def _run(
        self, x: Tensor, state: Any, lengths: Any, parts: int, contexts: list[Any] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """x (N,T,D) -> y (N,T,H) of the last layer, and the final states as they came in.

        `contexts` takes that of each layer and direction.
        """
        tokens = x.ndim == 2 and x.data.dtype.kind in "iu"
        x = x if tokens else floating(x, self._weights(0, "")[0].dtype)
        if x.ndim != 3 and not tokens:
            raise ValueError(
                f"{type(self).__name__}: x must have 3 axes, NTD, got {x.ndim} (shape {x.shape})"
            )
        if not tokens and x.shape[2] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: x has {x.shape[2]} features (shape {x.shape}, NTD) but the layer "
                f"expects {self.input_size}"
            )
        initial = self._states(state, x.shape[0], parts)
        final: list[list[Tensor]] = [[] for _ in range(parts)]
        for layer in range(self.num_layers):
            if layer > 0:
                x = self._between(x)
            x, *states = self._layer(layer, x, initial, lengths, contexts)
            for i, part in enumerate(states):
                final[i % parts].append(part)
        return x, [stack(found) for found in final]

    def _layer(
        self, layer: int, x: Tensor, initial: list[Tensor], lengths: Any, contexts: list[Any] | None
    ) -> tuple[Tensor, ...]:
        """-> y of all directions, and the last states of the first, then of the second."""
        directions = self._directions()
        given = [
            [*(s[layer * len(directions) + d] for s in initial), *self._weights(layer, direction)]
            for d, direction in enumerate(directions)
        ]
        masks = [self._masks(*x.shape[:2]) for _ in directions]
        inputs = [x, *(tensor for some in given for tensor in some)]
        options = {"lengths": lengths, **self._options()}
        options["keep"] = contexts is not None or is_recorded(inputs)
        arrays = [[t.data for t in some] for some in given]
        if len(directions) == 1:
            made, ctx = type(self)._forward(x.data, *arrays[0], **masks[0], **options)
            backward: Callable[..., Any] = type(self)._backward
        else:
            name = type(self)._forward.__name__
            made, ctx = both_ways(name, x.data, *arrays, masks=masks, **options)
            backward = both_ways_backward
        if contexts is not None:
            contexts += [ctx] if len(directions) == 1 else ctx
        return record_many(made, inputs, backward, ctx, x.requires_grad)

    def activations(self, x: Any, state: Any = None, lengths: Any = None) -> list[dict[str, Array]]:
        """Gates and states at every step, by name, each (N,T,H); the arguments are those of a call.

        One dict for each layer and direction, in the order of the states. LSTM: i, f, g, o after their
        nonlinearities, c and h. GRU: r, z, n and h. RNN: h. Computed as in evaluation, without dropout.
        """
        was, contexts = self.training, list[Any]()
        self.eval()
        try:
            with no_grad():
                x = x if isinstance(x, Tensor) else self._admit(x)
                self._run(x, state, lengths, 1 + (self._forward is ops.lstm), contexts)
        finally:
            self.train(was)
        return [sequence_activations(ctx) for ctx in contexts]

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """All weights for each step of each sequence."""
        weights = sum(p.size for name, p in self.named_parameters() if "weight" in name)
        return x_shape[0] * x_shape[1] * weights


class RNN(_Recurrent):
    """h_t = tanh(x_t w_ih^T + h_{t-1} w_hh^T + b) over whole sequences (Elman 1990).

    `num_layers` stack on each other, in training with `dropout` between them; `bidirectional` layers run
    both ways and give both their states, forward first. `nonlinearity` is "tanh", "relu" or "satlin", the
    saturated-linear unit min(max(a, 0), 1). In training alone, `recurrent_dropout` drops units of the state
    where it enters the product, the same at every step (Gal & Ghahramani 2016), and `zoneout` is the
    probability that a unit keeps its state for a step (Krueger et al. 2017). Parameters start uniform within
    1/sqrt(H) and are named weight_ih_l0 (H,D), weight_hh_l0 (H,H), bias_l0 (H,), those of the way back
    ..._l0_reverse; `rng` is a generator, a seed or None for the library's own. ValueError for sizes, rates
    and names that do not fit.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        rng: init.Rng = None,
    ) -> None:
        self.nonlinearity = check.choice("RNN", "nonlinearity", nonlinearity, ("tanh", "relu", "satlin"))
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            zoneout=zoneout,
            rng=rng,
        )

    def _options(self) -> dict[str, Any]:
        return {"nonlinearity": self.nonlinearity}

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """x (N,T,D), state (layers * directions, N, H) or None for zeros, lengths (N,) or None for T each.

        Tokens (N,T), whole numbers in 0..D-1, stand for vectors with a one at their place.
        -> y (N,T,H * directions), zero beyond the end of a sequence; the states after each last step.
        """
        y, (h,) = self._run(x, state, lengths, 1)
        return y, h


class GRU(_Recurrent):
    """Gated recurrent units (Cho et al. 2014), the reset gate behind the product as in PyTorch and cuDNN.

    r, z = sigmoid(x w_ih^T + h w_hh^T + b), n = tanh(x w_n^T + b_n + r (h w_hn^T + b_m)), h' = (1-z) n + z h.
    weight_ih_l0 (3H,D), weight_hh_l0 (3H,H) in rows r, z, n; bias_l0 (4H,) for r, z, n and m. With
    `reset_after` False the gate acts before the product, as in the paper: n = tanh(x w_n^T + b_n + (r h)
    w_hn^T), bias_l0 (3H,). The rest as RNN.
    """

    _gates, _biases = 3, 4
    _forward, _backward = staticmethod(ops.gru), staticmethod(ops.gru_backward)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        reset_after: bool = True,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        rng: init.Rng = None,
    ) -> None:
        self.reset_after = check.flag("GRU", "reset_after", reset_after)
        self._biases = 4 if self.reset_after else 3
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            zoneout=zoneout,
            rng=rng,
        )

    def _options(self) -> dict[str, Any]:
        return {"reset_after": self.reset_after}

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """As RNN."""
        y, (h,) = self._run(x, state, lengths, 1)
        return y, h


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    i, f, o = sigmoid(x w_ih^T + h w_hh^T + b), g = tanh(the same), c' = f c + i g, h' = o tanh(c').
    weight_ih_l0 (4H,D), weight_hh_l0 (4H,H), bias_l0 (4H,) in rows i, f, g, o; the bias of the forget gate
    starts at 1 (Gers et al. 2000; Jozefowicz et al. 2015). `zoneout` may be a pair of rates for h and c. The
    rest as RNN.
    """

    _gates, _biases = 4, 4
    _zones = ("zone_h", "zone_c")
    _forward, _backward = staticmethod(ops.lstm), staticmethod(ops.lstm_backward)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        rng: init.Rng = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            zoneout=zoneout,
            rng=rng,
        )
        for layer in range(self.num_layers):
            for direction in self._directions():
                self._weights(layer, direction)[2].data[hidden_size : 2 * hidden_size] = 1

    def forward(
        self, x: Tensor, state: Any = None, lengths: Any = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As RNN; the state is a pair (h, c), each (layers * directions, N, H)."""
        y, (h, c) = self._run(x, state, lengths, 2)
        return y, (h, c)
