"""Neighbours that a Sequential runs as one: the bits of the layers one by one, and nothing else changes."""

import copy
import os
import pickle

import numpy as np
import pytest

import lamina as lm
from lamina import nn
from lamina.nn.fusion import steps_of
from lamina.nn.summary import watching

IMAGE, ROWS = (3, 7, 6, 2), (5, 4)
_SHARED = nn.ReLU()


def conv(inputs=2, outputs=5, size=3, **options):
    return nn.Conv2d(inputs, outputs, size, rng=0, **options)


def _altered(layer, **values):
    for name, value in values.items():
        setattr(layer, name, value)
    return layer


def linear(inputs=4, outputs=6, **options):
    return nn.Linear(inputs, outputs, rng=0, **options)


class Plus(nn.ReLU):
    """Another function, under a type of its own."""

    def forward(self, x):
        return super().forward(x) + 1


class Twice(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * 2


#: What a net is made of, what it gets, and how it is called: see `_letters`.
NETS = {
    "conv": (lambda: [conv(), nn.ReLU()], IMAGE, "ws"),
    "conv_stride": (lambda: [conv(stride=2, padding=1, bias=False), nn.ReLU()], IMAGE, "ws"),
    "im2col": (lambda: [conv(algorithm="im2col"), nn.ReLU()], IMAGE, "ws"),
    "depthwise": (lambda: [conv(6, 6, groups=6), nn.ReLU()], (2, 5, 6, 6), "ws"),
    "groups": (lambda: [conv(20, 40, groups=2), nn.ReLU()], (2, 5, 6, 20), "ws"),
    "winograd": (lambda: [conv(32, 32, padding=1), nn.ReLU()], (4, 9, 10, 32), "ws"),
    "transposed": (lambda: [nn.ConvTranspose2d(2, 5, 3, stride=2, rng=0), nn.ReLU()], IMAGE, "ws"),
    "linear": (lambda: [linear(), nn.ReLU(), linear(6, 3)], ROWS, "wsa"),
    "linear_sequence": (lambda: [linear(bias=False), nn.ReLU()], (2, 3, 4), "ws"),
    "one_row": (lambda: [linear(), nn.ReLU()], (1, 4), "ws"),
    "deep_rows": (lambda: [linear(600), nn.ReLU()], (9, 600), "ws"),
    "norm2d": (lambda: [nn.BatchNorm2d(2), nn.ReLU()], IMAGE, "ws"),
    "norm2d_pool": (lambda: [nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)], IMAGE, "asw"),
    "norm1d": (lambda: [linear(), nn.BatchNorm1d(6), nn.ReLU()], ROWS, "aws"),
    "norm_plain": (lambda: [nn.BatchNorm1d(4, affine=False), nn.ReLU()], (3, 5, 4), "ws"),
    "conv_norm": (lambda: [conv(padding=1), nn.BatchNorm2d(5)], IMAGE, "na"),
    "conv_norm_relu": (lambda: [conv(bias=False, stride=2), nn.BatchNorm2d(5), nn.ReLU()], IMAGE, "nws"),
    "conv_norm_pool": (lambda: [conv(), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2)], IMAGE, "nasw"),
    "conv_norm_plain": (lambda: [conv(), nn.BatchNorm2d(5, affine=False, relu=True)], IMAGE, "na"),
    "conv_norm_twice": (lambda: [conv(), nn.BatchNorm2d(5), nn.BatchNorm2d(5)], IMAGE, "naa"),
    "conv_relu_norm": (lambda: [conv(), nn.ReLU(), nn.BatchNorm2d(5)], IMAGE, "wsa"),
    "conv_norm_im2col": (lambda: [conv(algorithm="im2col"), nn.BatchNorm2d(5)], IMAGE, "na"),
    "conv_norm_dilated": (lambda: [conv(dilation=2, padding=2), nn.BatchNorm2d(5)], IMAGE, "na"),
    "conv_norm_winograd": (lambda: [conv(32, 32, padding=1), nn.BatchNorm2d(32)], (4, 9, 10, 32), "na"),
    "pointwise_norm": (lambda: [conv(7, 40, 1), nn.BatchNorm2d(40), nn.ReLU()], (3, 9, 8, 7), "nws"),
    "pointwise_stride": (lambda: [conv(7, 9, 1, stride=2), nn.BatchNorm2d(9)], (3, 9, 8, 7), "na"),
    "pointwise_padded": (lambda: [conv(7, 9, 1, padding=1), nn.BatchNorm2d(9)], (3, 9, 8, 7), "na"),
    "depthwise_norm": (
        lambda: [conv(16, 16, groups=16, padding=1), nn.BatchNorm2d(16), nn.ReLU()],
        (18, 6, 5, 16),
        "nws",
    ),
    "depthwise_stride": (
        lambda: [conv(21, 21, groups=21, stride=2, padding=1), nn.BatchNorm2d(21)],
        (3, 9, 6, 21),
        "na",
    ),
    "groups_norm": (lambda: [conv(20, 40, groups=10), nn.BatchNorm2d(40)], (17, 5, 6, 20), "na"),
    "wide_groups_norm": (lambda: [conv(24, 48, groups=2), nn.BatchNorm2d(48)], (2, 5, 6, 24), "na"),
    "other_norm": (lambda: [conv(), nn.GroupNorm(1, 5)], IMAGE, "aa"),
    "norm_has_relu": (lambda: [nn.BatchNorm2d(2, relu=True), nn.ReLU(), conv()], IMAGE, "wsa"),
    "pool": (lambda: [nn.ReLU(), nn.MaxPool2d(2)], IMAGE, "sw"),
    "pool_overlap": (lambda: [nn.ReLU(), nn.MaxPool2d(3, 1, padding=1)], IMAGE, "sw"),
    "pool_apart": (lambda: [nn.ReLU(), nn.MaxPool2d((1, 2), (3, 2))], IMAGE, "sw"),
    "pool_ceil": (lambda: [nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)], IMAGE, "sw"),
    "pool_same": (lambda: [nn.ReLU(), nn.MaxPool2d(3, 2, padding="same")], IMAGE, "sw"),
    "pool_wide": (lambda: [nn.ReLU(), nn.MaxPool2d(16, 1)], (1, 17, 16, 3), "sw"),
    "conv_pool": (lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2)], IMAGE, "asw"),
    "relu_twice": (lambda: [conv(), nn.ReLU(), nn.ReLU()], IMAGE, "wsa"),
    "relu_first": (lambda: [nn.ReLU(), linear()], ROWS, "aa"),
    "other_pool": (lambda: [nn.ReLU(), nn.AvgPool2d(2)], IMAGE, "aa"),
    "other_layer": (lambda: [nn.LayerNorm(4), nn.ReLU()], ROWS, "aa"),
    "subclass_relu": (lambda: [conv(), Plus()], IMAGE, "aa"),
    "subclass_conv": (lambda: [Twice(2, 3, 3, rng=0), nn.ReLU()], IMAGE, "aa"),
    "shared": (lambda: [conv(), _SHARED, conv(5), _SHARED, nn.MaxPool2d(2), _SHARED], IMAGE, "wsaswa"),
    "residual": (lambda: [nn.Residual(nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())), nn.ReLU()], IMAGE, "aa"),
    "nested": (lambda: [nn.Sequential(conv(), nn.ReLU()), nn.ReLU()], IMAGE, "aa"),
    "network": (
        lambda: [
            *(conv(padding=1), nn.BatchNorm2d(5), nn.ReLU(), conv(5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.5), linear(20, 7), nn.ReLU(), linear(7, 3)),
        ],
        IMAGE,
        "nwsaswaawsa",
    ),
    "empty": (list, ROWS, ""),
}


def _letters(net):
    """Of each module, its last step's: w with relu, a without, n before its normalisation, s in none."""
    modules = list(net)
    letters = ["s"] * len(modules)
    start = 0
    for layers, relu in steps_of(net):
        for layer in layers:
            start = next(i for i in range(start, len(modules)) if modules[i] is layer) + 1
            letters[start - 1] = "n" if layer is not layers[-1] else "w" if relu else "a"
    return "".join(letters)


@pytest.mark.parametrize("name", NETS)
def test_what_is_fused(name):
    make, _, letters = NETS[name]
    assert _letters(nn.Sequential(*make())) == letters


def _values(shape, kind, dtype):
    rng = np.random.default_rng(3)
    if kind == "normal":
        return rng.standard_normal(shape).astype(dtype)
    choices = {"ties": (-1, -0.0, 0.0, 1, 2), "negative": (-3, -1, -0.0), "nan": (-1, 0, 2, 3, 4, np.nan)}
    return rng.choice(choices[kind], shape).astype(dtype)


def _step(net, x):
    """y, the gradients of x and of all parameters, and the buffers."""
    lm.manual_seed(1)
    net, x = copy.deepcopy(net), lm.Tensor(x, requires_grad=True)
    y = net(x)
    if not y.requires_grad:
        return {"y": y.data}
    y.backward(np.random.default_rng(2).standard_normal(y.shape).astype(y.dtype))
    grads = {name: p.grad for name, p in net.named_parameters()}
    return {"y": y.data, "x": x.grad} | grads | dict(net.named_buffers())


def _with_statistics(net):
    """The net, its normalisations with other running statistics than the first."""
    rng = np.random.default_rng(4)
    for _, buffer in net.named_buffers():
        buffer += rng.random(buffer.shape, np.float32)
    return net


def _answers(net, x):
    """In evaluation, without a way back."""
    with lm.no_grad():
        return {"y": net.eval()(x).data}


def _one_by_one(net, x, step=_step):
    with watching(lambda *_: None):
        return step(net, x)


def _same_bits(found, right):
    assert found.keys() == right.keys()
    for name, array in right.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        np.testing.assert_array_equal(np.signbit(found[name]), np.signbit(array), err_msg=name)


@pytest.mark.usefixtures("machine")
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NETS)
def test_the_bits_of_the_layers_one_by_one(name, dtype):
    make, shape, _ = NETS[name]
    net = _with_statistics(nn.Sequential(*make()).astype(dtype))
    for kind in ("normal", "ties", "negative", "nan"):
        x = _values(shape, kind, dtype)
        for training in (len(x) > 1, False):
            net.train(training)
            _same_bits(_step(net, x), _one_by_one(net, x))
        if name != "empty":
            _same_bits(_answers(net, x), _one_by_one(net, x, _answers))


#: Where many tasks share the work, images fall into rows, or parts are too large to go from one to the next.
LARGE = {
    "first": (lambda: [conv(3, 32, padding=1), nn.BatchNorm2d(32)], (33, 20, 20, 3)),
    "pointwise": (lambda: [conv(32, 64, 1), nn.BatchNorm2d(64), nn.ReLU()], (9, 40, 41, 32)),
    "pointwise_wide": (lambda: [conv(130, 200, 1), nn.BatchNorm2d(200)], (20, 9, 9, 130)),
    "pointwise_narrow": (lambda: [conv(64, 3, 1), nn.BatchNorm2d(3)], (2, 60, 60, 64)),
    "depthwise": (lambda: [conv(48, 48, groups=48, padding=1), nn.BatchNorm2d(48)], (35, 16, 17, 48)),
    "depthwise_few": (lambda: [conv(48, 48, groups=48, padding=1), nn.BatchNorm2d(48)], (5, 40, 40, 48)),
    "depthwise_large": (lambda: [conv(64, 64, groups=64), nn.BatchNorm2d(64)], (2, 90, 90, 64)),
    "groups_of_4": (lambda: [conv(40, 40, groups=10, padding=1), nn.BatchNorm2d(40)], (20, 14, 15, 40)),
    "strided": (lambda: [conv(24, 32, stride=2, padding=1), nn.BatchNorm2d(32)], (18, 17, 17, 24)),
    "large_images": (lambda: [conv(24, 40, 5, stride=2), nn.BatchNorm2d(40)], (2, 70, 70, 24)),
    "winograd": (lambda: [conv(32, 32, padding=1), nn.BatchNorm2d(32)], (9, 24, 24, 32)),
}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", LARGE)
def test_large_normalised_convolutions(name):
    make, shape = LARGE[name]
    net, x = _with_statistics(nn.Sequential(*make())), _values(shape, "normal", np.float32)
    lm.set_num_threads(1)
    right, answer = _one_by_one(net, x), _one_by_one(copy.deepcopy(net), x, _answers)
    for threads in (1, 2, 3, 16):
        lm.set_num_threads(threads)
        _same_bits(_step(net, x), right)
        _same_bits(_answers(copy.deepcopy(net), x), answer)


@pytest.mark.usefixtures("two_threads")
def test_large_images_and_rows():
    """Of several tasks and slices; auto takes Winograd's tiles."""
    layers = [conv(3, 40, padding=1), nn.ReLU(), conv(40, 48, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Flatten(), linear(48 * 7 * 7, 130), nn.ReLU(), linear(130, 5)]
    net, x = nn.Sequential(*layers), _values((7, 16, 16, 3), "normal", np.float32)
    _same_bits(_step(net, x), _one_by_one(net, x))


def test_watchers_see_every_layer():
    net, seen = nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2)), []
    x = _values(IMAGE, "normal", np.float32)
    with watching(lambda module, x, y: seen.append((module, y))):
        net(x)
    assert [module for module, _ in seen] == [*net, net]
    assert (seen[0][1].data < 0).any()
    assert not (seen[1][1].data < 0).any()
    assert [row.name for row in net.summary(IMAGE[1:]).rows] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("layers", "x", "message"),
    [
        ([linear(), nn.ReLU()], (2, 3), r"Linear: x has 3 features .* \[layer 0\]"),
        ([nn.Flatten(), linear(), nn.ReLU()], (2, 3), r"Linear: x has 3 features .* \[layer 1\]"),
        ([nn.ReLU(), nn.MaxPool2d(2)], (2, 3), r"MaxPool2d: x must .* \[layer 1\]"),
        ([conv(), nn.ReLU()], (1, 5, 5, 3), r"Conv2d: x has 3 channels .* \[layer 0\]"),
        ([nn.BatchNorm2d(2), nn.ReLU()], (1, 5, 5, 3), r"BatchNorm2d: the last axis .*"),
        ([conv(), nn.BatchNorm2d(5)], (1, 5, 5, 3), r"Conv2d: x has 3 channels .* \[layer 0\]"),
        ([conv(), nn.BatchNorm2d(5)], (1, 3, 3, 2), "BatchNorm2d: training needs more than one value"),
        ([conv(), nn.BatchNorm2d(5)], (0, 3, 3, 2), ".*"),
        ([conv(), nn.BatchNorm2d(5)], (), r"Conv2d: x must have 4 axes, NHWC, got 0 .* \[layer 0\]"),
        ([conv(), _altered(nn.BatchNorm2d(5), eps=0.0)], (2, 4, 4, 2), r"BatchNorm2d: eps .* \[layer 1\]"),
        ([conv(), _altered(nn.BatchNorm2d(5), relu=1)], (2, 4, 4, 2), r"BatchNorm2d: relu .* \[layer 1\]"),
        (
            [nn.MaxPool2d(2, return_indices=True), conv(), nn.BatchNorm2d(5)],
            (2, 8, 8, 2),
            ".* list of tensors",
        ),
    ],
)
def test_errors_name_the_layer(layers, x, message):
    net, x = nn.Sequential(*layers), np.ones(x, np.float32)
    with pytest.raises((ValueError, TypeError), match=message) as fused:
        net(x)
    with pytest.raises((ValueError, TypeError), match=message) as plain, watching(lambda *_: None):
        net(x)
    assert str(fused.value) == str(plain.value)
    assert type(fused.value) is type(plain.value)


def test_a_change_of_layers_is_seen():
    net, x = nn.Sequential(conv(), nn.ReLU()), _values(IMAGE, "normal", np.float32)
    assert _letters(net) == "ws"
    y = net(x).data
    setattr(net, "1", nn.Tanh())
    assert _letters(net) == "aa"
    np.testing.assert_array_equal(net(x).data, net[1](net[0](x)).data)
    setattr(net, "1", nn.ReLU())
    setattr(net, "2", nn.MaxPool2d(2))
    assert _letters(net) == "asw"
    net[2].return_indices = True  # which says where in a window of zeros the first one stood
    assert _letters(net) == "wsa"
    _, switches = net(x)
    assert (switches.argmax < 4).all()
    delattr(net, "2")
    np.testing.assert_array_equal(net(x).data, y)
    net[0].forward = lambda x: x * 0 - 1
    assert _letters(net) == "aa"
    assert not net(x).data.any()


def test_training_does_not_group_the_layers_anew():
    net, x = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.5)), np.ones(IMAGE, np.float32)
    net(x)
    steps = steps_of(net)
    net.eval()(x)
    net.train()(x)
    assert steps_of(net) is steps


def test_a_net_that_goes_is_forgotten():
    from lamina.nn import fusion

    net = nn.Sequential(conv(), nn.ReLU())
    net(np.ones(IMAGE, np.float32))
    assert net in fusion._known
    before = len(fusion._known)
    del net
    assert len(fusion._known) == before - 1


def test_copies_slices_and_the_order_of_a_subclass():
    net, x = nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2)), _values(IMAGE, "normal", np.float32)
    y = net(x).data
    for twin in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net[:]):
        np.testing.assert_array_equal(twin(x).data, y)
    np.testing.assert_array_equal(net[1:](net[0](x)).data, y)
    assert list(net.state_dict()) == ["0.weight", "0.bias"]
    assert [type(module) for module in net.modules()] == [nn.Sequential, nn.Conv2d, nn.ReLU, nn.MaxPool2d]

    class Some(nn.Sequential):
        def __iter__(self):
            return iter([module for module in super().__iter__() if not isinstance(module, nn.ReLU)])

    assert (Some(*net)(x).data < 0).any()


def test_the_context_keeps_no_array_for_relu():
    """Of pooling, relu's own is spared; of a convolution, the sums before relu."""
    x = lm.Tensor(np.ones((1, 64, 64, 3), np.float32))
    with lm.no_grad():
        plain = nn.Sequential(conv(3, 16, padding=1))(x).data.nbytes
    net = nn.Sequential(conv(3, 16, padding=1), nn.ReLU(), nn.MaxPool2d(2))

    def kept(run):
        y = run()
        node, _ = y._edge
        nodes, arrays = [node], {}
        for node in nodes:
            nodes += [target for target, _ in filter(None, node.edges) if hasattr(target, "ctx")]
            parts = node.ctx if isinstance(node.ctx, tuple) else (node.ctx,)
            arrays |= {id(part): part.nbytes for part in parts if isinstance(part, np.ndarray)}
        return sum(arrays.values())

    def one_by_one():
        with watching(lambda *_: None):
            return net(x)

    assert kept(one_by_one) - kept(lambda: net(x)) == plain


@pytest.mark.skipif(os.environ.get("LAMINA_BACKEND") == "numpy", reason="_core makes the plans")
def test_a_compiled_net_makes_fewer_calls():
    net = nn.Sequential(conv(), nn.ReLU(), conv(5), nn.ReLU(), nn.MaxPool2d(2))
    x = _values(IMAGE, "normal", np.float32)
    plan = lm.compile(net, x)
    assert plan.calls == 3
    right = _one_by_one(net, x)["y"]
    np.testing.assert_array_equal(plan(x), right)
    setattr(net, "1", nn.Tanh())
    for _ in range(3):  # predict makes a plan of its own
        np.testing.assert_array_equal(net.predict(x), _one_by_one(net, x)["y"])


def test_gradients_of_a_parameter_of_both_layers():
    """Are added up in the same order: a third one shows it."""
    net = nn.Sequential(conv(5, padding=1), nn.BatchNorm2d(5))
    net[0].bias = net[1].bias
    x = _values((3, 7, 6, 5), "normal", np.float32)

    def gradients(one_by_one):
        mine, found = copy.deepcopy(net), []
        for seed in range(3):
            y = mine[1](mine[0](mine[1](mine[0](lm.Tensor(x))))) if one_by_one else mine(mine(lm.Tensor(x)))
            y.backward(np.random.default_rng(seed).standard_normal(y.shape).astype(np.float32))
            found.append(mine[1].bias.grad.copy())
        return found

    np.testing.assert_array_equal(gradients(False), gradients(True))
