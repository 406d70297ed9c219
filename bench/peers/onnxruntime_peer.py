"""ONNX Runtime: forward passes only, of models that the package onnx builds, in its layout (NCHW)."""

import sys
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from peers.onnx_sequences import VALUE, Node, reading, recurrent
from peers.worker import Arrays, Job, Unsupported, serve

VARIANTS = {"kernels": [""], "training": [""]}
_OPSET, _IR = 17, 8  # old enough for every runtime of the last years
_MISSING = ("tied_k_sparse", "residual", "batch_norm", "global_avg_pool")


def outward(x: np.ndarray) -> np.ndarray:
    """NHWC to NCHW, OHWI to OIHW; others as they are."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x


def back(y: np.ndarray) -> np.ndarray:
    return y.transpose(0, 2, 3, 1) if y.ndim == 4 else y


def kernel(spec: dict[str, Any], a: Arrays) -> Job:
    op, options = spec["op"], spec["options"]
    if spec["pass"] != "forward":
        raise Unsupported("no training")
    if op == "conv2d":
        weights = {"w": outward(a["w"]), "b": a["b"]}
        attributes = {
            "strides": [options["stride"]] * 2,
            "pads": [options["padding"]] * 4,
            "dilations": [options["dilation"]] * 2,
            "group": options["groups"],
        }
        return _job([("Conv", ["w", "b"], attributes)], weights, a["x"])
    if op in ("max_pool2d", "avg_pool2d"):
        attributes = {
            "kernel_shape": [options["kernel"]] * 2,
            "strides": [options["stride"]] * 2,
            "pads": [options["padding"]] * 4,
        }
        if op == "avg_pool2d":
            attributes["count_include_pad"] = 1
        return _job([("MaxPool" if op == "max_pool2d" else "AveragePool", [], attributes)], {}, a["x"])
    if op == "gemm":
        return _job([("MatMul", ["b"], {})], {"b": a["b"]}, a["a"])
    if op in ("relu", "sigmoid", "tanh", "softmax"):
        return _job([(op.capitalize(), [], {})], {}, a["x"])
    raise Unsupported("no such op here")


def model(spec: dict[str, Any], a: Arrays) -> Job:
    """A prediction."""
    if spec["pass"] != "predict":
        raise Unsupported("no training")
    nodes: list[Node] = []
    weights: Arrays = {}
    volume: list[int] | None = None
    for layer in spec["layers"]:
        kind = layer["kind"]
        if kind in _MISSING:
            raise Unsupported("no sparse codes, shortcuts and normalisation here")
        if kind in ("one_hot", "embedding"):
            nodes += reading(layer, weights, a)
            continue
        if kind in ("lstm", "gru"):
            nodes += recurrent(layer, weights, a)
            continue
        if "weight" in layer:
            weights[layer["weight"]], weights[layer["bias"]] = outward(a[layer["weight"]]), a[layer["bias"]]
        if kind == "conv2d":
            options = {"pads": [layer["padding"]] * 4, "strides": [layer["stride"]] * 2}
            options["group"] = layer["groups"]
            nodes.append(("Conv", [layer["weight"], layer["bias"]], options))
        elif kind == "conv_transpose2d":
            options = {"pads": [layer["padding"]] * 4, "strides": [layer["stride"]] * 2}
            options["output_padding"] = [layer["output_padding"]] * 2
            nodes.append(("ConvTranspose", [layer["weight"], layer["bias"]], options))
        elif kind == "linear":
            if volume:  # the runtime flattens C, H, W
                w = weights[layer["weight"]].reshape(-1, *volume)
                weights[layer["weight"]] = np.ascontiguousarray(outward(w).reshape(len(w), -1))
            nodes += _linear(layer, weights, spec["input"] == 0)
        elif kind == "max_pool2d":
            sizes = [layer["size"]] * 2
            nodes.append(("MaxPool", [], {"kernel_shape": sizes, "strides": sizes}))
        else:
            nodes.append((kind.capitalize(), [], {}))
        volume = layer["volume"] if kind == "flatten" else None
    return _job(nodes, weights, a["x"])


def _linear(layer: dict[str, Any], weights: Arrays, of_sequences: bool) -> list[Node]:
    w, b = layer["weight"], layer["bias"]
    if not of_sequences:
        return [("Gemm", [w, b], {"transB": 1})]
    weights[w] = np.ascontiguousarray(weights[w].T)
    return [("MatMul", [w], {}), ("Add", [b], {})]


def _job(nodes: list[Node], weights: Arrays, x: np.ndarray) -> Job:
    """A session that feeds x through the nodes, one after the other."""
    x = outward(x)
    made = [
        helper.make_node(operator, _inputs(f"v{i}", inputs), [f"v{i + 1}"], **attributes)
        for i, (operator, inputs, attributes) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "case",
        [helper.make_tensor_value_info("v0", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_tensor_value_info(f"v{len(nodes)}", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(w, order="C"), name) for name, w in weights.items()],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = int(sys.argv[1]), 1
    session = onnxruntime.InferenceSession(
        built.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    return Job(lambda: session.run(None, {"v0": x}), lambda: {"y": back(session.run(None, {"v0": x})[0])})


def _inputs(value: str, names: list[str]) -> list[str]:
    return [value if name == VALUE else name for name in ([] if VALUE in names else [VALUE]) + names]


def prepare(spec: dict[str, Any], a: Arrays, variant: str) -> Job:
    return (model if spec["op"] == "model" else kernel)(spec, a)


if __name__ == "__main__":
    serve(onnxruntime.__version__, VARIANTS, prepare)
