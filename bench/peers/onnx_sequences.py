"""Recurrent layers as ONNX's operators: steps before sequences, gates in an order of their own."""

from typing import Any

import numpy as np
from peers.worker import Arrays

Node = tuple[str, list[str], dict[str, Any]]  # operator, inputs, attributes

VALUE = "the running value"  # among the inputs; else it is the first
_ORDER = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}  # i o f c of i f g o, z r h of r z n


def reading(layer: dict[str, Any], weights: Arrays, a: Arrays) -> list[Node]:
    """Tokens (N,T) as vectors (N,T,D): rows of a table, or with a one at their place."""
    if layer["kind"] == "embedding":
        weights[layer["weight"]] = a[layer["weight"]]
        return [("Gather", [layer["weight"], VALUE], {})]
    weights |= {"tokens": np.array([layer["size"]]), "off and on": np.array([0, 1], np.float32)}
    return [("OneHot", ["tokens", "off and on"], {"axis": -1})]


def recurrent(layer: dict[str, Any], weights: Arrays, a: Arrays) -> list[Node]:
    """x (N,T,D) -> (N,T,H), of both ways (N,T,2H), or of the last step alone."""
    kind, ways = layer["kind"], layer["ways"]
    options: dict[str, Any] = {"direction": "bidirectional" if ways == 2 else "forward"}
    if kind == "gru":
        options["linear_before_reset"] = 1
    weights |= {"side by side": np.array([0, 0, -1]), "last": np.array(-1)}
    nodes: list[Node] = [("Transpose", [], {"perm": [1, 0, 2]})]
    for i in range(0, len(layer["layers"]), ways):
        parts = [_weights(kind, names, a) for names in layer["layers"][i : i + ways]]
        inputs = [f"{part} {i}" for part in "WRB"]
        weights |= dict(zip(inputs, map(np.stack, zip(*parts, strict=True)), strict=True))
        hidden = weights[inputs[1]].shape[-1]
        nodes.append((kind.upper(), inputs, {"hidden_size": hidden, **options}))
        nodes.append(("Transpose", [], {"perm": [0, 2, 1, 3]}))  # steps, ways, N, H before
        nodes.append(("Reshape", ["side by side"], {}))
    after: Node = (
        ("Gather", ["last"], {"axis": 0}) if layer["last"] else ("Transpose", [], {"perm": [1, 0, 2]})
    )
    return [*nodes, after]


def _weights(kind: str, names: dict[str, str], a: Arrays) -> list[np.ndarray]:
    order = _ORDER[kind]
    of_x, of_h, b = (a[names[part]] for part in ("weight_ih", "weight_hh", "bias"))
    hidden = of_h.shape[1]
    behind = np.zeros_like(b[: len(of_h)])  # the bias on h's side: a GRU has one before its reset gate
    if kind == "gru":
        behind[2 * hidden :] = b[3 * hidden :]
    each = (of_x, of_h, b[: len(of_h)], behind)
    of_x, of_h, b, behind = (np.concatenate([np.split(part, len(order))[i] for i in order]) for part in each)
    return [of_x, of_h, np.concatenate([b, behind])]
