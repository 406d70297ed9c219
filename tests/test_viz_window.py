"""The page of a window that slides over an image: in a browser, against NumPy and the lecture's numbers."""

import html
import json
import re

import numpy as np
import pytest

from lamina import nn, viz
from tests.browser import CHROMIUM, Browser

RNG = np.random.default_rng(0)

# The much copied state of CS231n's convolution demo: rows of x, of both filters and of what comes out.
VOLUME = (
    "00102 10201 10220 20020 21220",
    "21211 21201 02101 12222 01201",
    "21120 10010 01000 10210 22111",
)
FILTERS = (
    (
        [[-1, 0, 1], [0, 0, 1], [1, -1, 1]],
        [[-1, 0, 1], [1, -1, 1], [0, 1, 0]],
        [[-1, 1, 1], [1, 1, 0], [0, -1, 0]],
    ),
    (
        [[0, 1, -1], [0, -1, 0], [0, -1, 1]],
        [[-1, 0, 0], [1, -1, 0], [1, -1, 0]],
        [[-1, 1, -1], [0, -1, -1], [1, 0, 0]],
    ),
)
OUTPUTS = [[[2, 3, 3], [3, 7, 3], [8, 10, -3]], [[-8, -8, -3], [-3, 1, 0], [-3, -8, -5]]]


def rows(text):
    return np.array([[int(digit) for digit in row] for row in text.split()], np.float32)


def cs231n():
    """The layer (two 3x3x3 filters, stride 2, border 1) and the volume (5, 5, 3)."""
    layer = nn.Conv2d(3, 2, 3, stride=2, padding=1, fit="exact")
    layer.weight.data[:] = np.array(FILTERS).transpose(0, 2, 3, 1)
    layer.bias.data[:] = 1, 0
    return layer, np.stack([rows(text) for text in VOLUME], axis=-1)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with Browser() as found:
        yield found


@pytest.fixture
def show(browser, tmp_path):
    """Put a page into the browser; afterwards nothing may have gone wrong there or been loaded."""

    def shown(page):
        page.save(tmp_path / "page.html")
        browser.problems.clear()
        browser.prefer("light")
        browser.open(tmp_path / "page.html")
        return browser

    yield shown
    assert browser.problems == []


def result(browser):
    """Where the window stands, the value that is written there and the one of the forward pass."""
    of = browser.run("({...byId('result').dataset, ...byId('check').dataset})")
    place = tuple(int(of[name]) for name in ("row", "column", "map"))
    return place, float(of.get("activated", of["value"])), float(of["forward"]), of["agrees"] == "true"


def text(browser, id_):
    return browser.run(f"byId('{id_}').textContent")


def cell(browser, map_, row, column):
    """The middle of an output on the screen."""
    box = browser.run(f"(({{x, y}}) => [x, y])(outputs[{map_}].canvas.getBoundingClientRect())")
    size = browser.run(f"outputs[{map_}].cell")
    return box[0] + 2 + (column + 0.5) * size, box[1] + 2 + (row + 0.5) * size


# The lecture's numbers -----------------------------------------------------------------------------------


def test_the_18_sums_of_cs231n(show):
    browser = show(viz.sliding_window(*cs231n()))
    assert text(browser, "title") == "Conv2d: 5×5×3 → 3×3×2"
    for o in range(2):
        for i in range(3):
            for j in range(3):
                assert result(browser) == ((i, j, o), OUTPUTS[o][i][j], OUTPUTS[o][i][j], True)
                browser.press("ArrowRight")
    assert result(browser)[0] == (0, 0, 0)
    assert text(browser, "result") == "y[0, 0, 0] = −1 + 1 + 1 + 1 (bias) = 2"
    written = browser.run("[...document.querySelectorAll('.products')].map((e) => e.textContent)")
    assert written == [
        "0·(−1) + 0·0 + 0·1 + 0·0 + 0·0 + 0·1 + 0·1 + 1·(−1) + 0·1",
        "0·(−1) + 0·0 + 0·1 + 0·1 + 2·(−1) + 1·1 + 0·0 + 2·1 + 1·0",
        "0·(−1) + 0·1 + 0·1 + 0·1 + 2·1 + 1·0 + 0·0 + 1·(−1) + 0·0",
    ]


def test_the_animation_of_ufldl(show):
    layer = nn.Conv2d(1, 1, 3, bias=False)
    layer.weight.data[0, :, :, 0] = rows("101 010 101")
    browser = show(viz.sliding_window(layer, rows("11100 01110 00111 00110 01100")))
    found = []
    for _ in range(9):
        found.append(result(browser)[1])
        browser.press("ArrowRight")
    assert found == [4, 3, 4, 2, 4, 3, 2, 3, 4]
    assert text(browser, "result") == "y[0, 0, 0] = 4"


def test_the_pooling_figure_marks_the_greatest(show):
    x = rows("1124 5678 3210 1234")
    browser = show(viz.sliding_window(nn.MaxPool2d(2), x))
    browser.press("ArrowDown")
    assert text(browser, "result") == "y[1, 0, 0] = max(3, 2, 1, 2) = 3"
    assert browser.run("[...document.querySelectorAll('.winner')].map((e) => e.textContent)") == ["3"]
    assert browser.run("computed(0, 1, 0).winner") == {"x": 3, "w": None, "r": 2, "c": 0}
    browser = show(viz.sliding_window(nn.MaxPool2d(2), rows("12 22")))  # the first of equals
    assert browser.run("computed(0, 0, 0).winner") == {"x": 2, "w": None, "r": 0, "c": 1}
    browser = show(viz.sliding_window(nn.AvgPool2d(2), x))
    assert text(browser, "result") == "y[0, 0, 0] = 13 / 4 = 3.25"
    browser = show(viz.sliding_window(nn.L2Pool2d(2), rows("34 00")))
    assert text(browser, "result") == "y[0, 0, 0] = √25 = 5"
    assert browser.run("document.querySelector('.products').textContent") == "3² + 4² + 0² + 0²"


# Every sum of many layers --------------------------------------------------------------------------------

LAYERS = {
    "sides": nn.Conv2d(3, 4, (2, 3), stride=(2, 1), padding=((0, 2), (3, 1)), rng=0),
    "same": nn.Conv2d(3, 2, 4, stride=3, padding="same", rng=0),
    "dilation": nn.Conv2d(3, 2, 3, dilation=(2, 3), padding=1, bias=False, rng=0),
    "groups": nn.Conv2d(6, 4, 3, groups=2, rng=0),
    "depthwise": nn.Conv2d(6, 12, 3, groups=6, padding=1, rng=0),
    "many channels": nn.Conv2d(11, 5, 3, rng=0),
    "float64": nn.Conv2d(3, 2, 3, rng=0).astype(np.float64),
    "zeros": nn.Sequential(nn.ZeroPad2d(((2, 0), (1, 1))), nn.Conv2d(3, 2, 3, rng=0), nn.ReLU()),
    "mirror": nn.Sequential(nn.ReflectPad2d(2), nn.Conv2d(3, 2, 5, padding=1, rng=0), nn.Tanh()),
    **{
        type(curve).__name__: nn.Sequential(nn.Conv2d(3, 2, 3, rng=0), curve)
        for curve in (nn.LeakyReLU(slope=0.1), nn.ELU(alpha=2), nn.Sigmoid(), nn.SiLU(), nn.Softplus())
    },
    "max": nn.MaxPool2d(3, 2, padding=1, ceil_mode=True, return_indices=True),
    "max same": nn.MaxPool2d(2, padding="same"),
    "mean": nn.AvgPool2d(3, 2, padding=1, ceil_mode=True),
    "mean of the image alone": nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False),
    "mean same": nn.AvgPool2d((2, 3), padding="same"),
    "length": nn.L2Pool2d(3, 2, padding=((0, 1), (1, 0))),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_sum_is_the_forward_pass(show, name):
    layer = LAYERS[name]
    channels = next(
        (
            p.shape[3] * (2 if name == "groups" else 6 if name == "depthwise" else 1)
            for p in layer.parameters()
        ),
        5,
    )
    x = RNG.normal(size=(7, 6, channels)).astype(np.float64 if name == "float64" else np.float32)
    y = layer(x[None])
    y = (y[0] if isinstance(y, tuple) else y).data[0]
    browser = show(viz.sliding_window(layer, x))
    sums = browser.run(
        "Array.from(y.values, (_, n) => computed(n % O, Math.floor(n / O / OW), Math.floor(n / O) % OW))"
        ".map((found) => [found.activated ?? found.value, found.forward, found.agrees])"
    )
    ours, forward, agrees = np.array(sums, np.float64).T
    assert agrees.all()
    np.testing.assert_array_equal(forward, y.ravel())
    np.testing.assert_allclose(ours, y.ravel(), rtol=1e-4, atol=1e-13 if name == "float64" else 1e-5)


def test_a_sum_that_differs_is_told(show):
    layer, x = cs231n()
    page = viz.sliding_window(layer, x)
    wrong = layer.predict(x[None])[0]
    wrong[0, 0, 0] += 1e-3
    right, false = (json.dumps(viz.window_page.packed(y)) for y in (layer.predict(x[None])[0], wrong))
    assert page.html.count(right) == 1
    page.html = page.html.replace(right, false)
    browser = show(page)
    assert result(browser) == ((0, 0, 0), 2, float(np.float32(2.001)), False)
    assert "NOT the same" in text(browser, "check")
    browser.press("ArrowRight")
    assert text(browser, "check") == "The layer's own forward pass gives 3: the same."


def test_nan_and_infinity(show):
    x = np.array([[1, np.nan], [np.inf, 2]], np.float32)
    browser = show(viz.sliding_window(nn.MaxPool2d(2), x))
    assert text(browser, "result") == "y[0, 0, 0] = max(1, NaN, ∞, 2) = NaN"
    assert browser.run("document.querySelector('.winner').textContent") == "NaN"
    assert browser.run("byId('check').dataset.agrees") == "true"


# Moving --------------------------------------------------------------------------------------------------


def test_keys(show):
    browser = show(viz.sliding_window(*cs231n()))
    for key, place in [
        ("ArrowDown", (1, 0, 0)),
        ("ArrowRight", (1, 1, 0)),
        ("PageDown", (1, 1, 1)),
        ("PageDown", (1, 1, 1)),
        ("ArrowUp", (0, 1, 1)),
        ("ArrowUp", (0, 1, 1)),
        ("End", (2, 2, 1)),
        ("ArrowDown", (2, 2, 1)),
        ("ArrowRight", (0, 0, 0)),
        ("ArrowLeft", (2, 2, 1)),
        ("PageUp", (2, 2, 0)),
        ("Home", (0, 0, 0)),
    ]:
        browser.press(key)
        assert result(browser)[0] == place, key


def test_pointing_and_touching(show):
    layer, x = cs231n()
    browser = show(viz.sliding_window(nn.Sequential(layer, nn.ReLU()), x))
    browser.point(*cell(browser, 1, 2, 2))
    assert result(browser) == ((2, 2, 1), 0, 0, True)
    assert text(browser, "result").endswith("= −5,  ReLU(−5) = 0")
    browser.point(*cell(browser, 0, 1, 1))
    assert result(browser) == ((1, 1, 0), 7, 7, True)
    browser.touch(*cell(browser, 1, 1, 1))
    assert result(browser) == ((1, 1, 1), 1, 1, True)


def test_playing_goes_on_until_it_is_told_to_stop(show):
    browser = show(viz.sliding_window(*cs231n()))
    browser.run("byId('speed').value = 4")
    wait = "new Promise((done) => setTimeout(done, 400))"
    browser.press("Space")
    assert browser.run("byId('play').ariaLabel + byId('play').ariaPressed") == "Pausetrue"
    browser.run(wait)
    first = result(browser)[0]
    assert first != (0, 0, 0)
    browser.run(
        "new Promise((done) => new MutationObserver(done).observe(byId('result'), {childList: true}))"
    )
    browser.press("Space")
    stopped = result(browser)[0]
    browser.run(wait)
    assert result(browser)[0] == stopped
    assert browser.run("byId('play').ariaLabel + byId('play').ariaPressed") == "Playfalse"


def test_buttons_and_the_keyboard_reach_the_same(show):
    browser = show(viz.sliding_window(*cs231n()))
    order = []
    for _ in range(8):
        browser.press("Tab")
        order.append(browser.run("document.activeElement.id"))
    assert order == ["theme", "first", "back", "play", "next", "last", "speed", "filter"]
    for id_, place in [("last", (2, 2, 1)), ("back", (2, 1, 1)), ("first", (0, 0, 0)), ("next", (0, 1, 0))]:
        browser.click(*browser.run(f"(({{x, y}}) => [x + 9, y + 9])(byId('{id_}').getBoundingClientRect())"))
        assert result(browser)[0] == place
    browser.run("byId('speed').focus()")
    browser.press("ArrowRight")  # now the slider's own
    assert result(browser)[0] == (0, 1, 0)
    unnamed = (
        "[...document.querySelectorAll('button, input, canvas')].filter((e) => !e.ariaLabel && !e.ariaHidden)"
    )
    assert browser.run(f"{unnamed}.length") == 0


def test_many_filters_and_channels_are_chosen(show):
    x = RNG.integers(0, 9, (6, 6, 11))
    browser = show(viz.sliding_window(LAYERS["many channels"], x))
    shown = "[...document.querySelectorAll('#input figcaption')].map((e) => e.textContent)"
    assert browser.run(shown) == [f"x[:,:,{k}]" for k in range(3)]
    assert "Channels 0 to 2 of 11 are drawn; the sum runs over all" in text(browser, "notes")
    whole = result(browser)
    browser.run("byId('page').value = 3, byId('page').dispatchEvent(new Event('change'))")
    assert browser.run(shown) == [f"x[:,:,{k}]" for k in range(9, 11)]
    assert result(browser) == whole
    assert "the 9 channels not drawn" in text(browser, "terms")
    browser.run("byId('all').children[3].click()")
    assert result(browser)[0] == (0, 0, 3)
    assert browser.run("document.querySelector('#output figcaption').textContent") == "y[:,:,3]"
    browser.run("byId('filter').value = 4, byId('filter').dispatchEvent(new Event('change'))")
    assert result(browser)[0] == (0, 0, 4)


def test_a_filter_shows_the_channels_of_its_group(show):
    browser = show(viz.sliding_window(LAYERS["depthwise"], RNG.integers(0, 9, (5, 5, 6))))
    for _ in range(7):
        browser.press("PageDown")
    assert browser.run("document.querySelector('#input figcaption').textContent") == "x[:,:,3]"
    assert text(browser, "notes") == "Filter 7 sees channel 3 alone."


# What it looks like --------------------------------------------------------------------------------------

# The colour of a map at so many pixels from its top and left.
COLOUR = (
    "var colour = ({canvas}, top, left) => [...canvas.getContext('2d', {willReadFrequently: true})"
    ".getImageData(devicePixelRatio * left, devicePixelRatio * top, 1, 1).data].slice(0, 3).join()"
)


def test_the_window_is_outlined_in_every_channel(show):
    browser = show(viz.sliding_window(*cs231n()))
    browser.press("End")  # rows and columns 4 to 6
    corners = "[[2, 2], [2, 4], [4, 2], [4, 4]]"
    tops = f"{corners}.map(([r, c]) => colour(map, 2 + r * map.cell, 2 + (c + 0.5) * map.cell))"
    mark = "123,45,139"
    colours = browser.run(f"{COLOUR}; inputs.map((map) => {tops})")
    assert [row.count(mark) for row in colours] == [1, 1, 1]
    assert all(row[3] == mark for row in colours)


def test_light_and_dark(show):
    browser = show(viz.sliding_window(*cs231n()))
    paper = "getComputedStyle(document.body).backgroundColor"
    zero = f"{COLOUR}; colour(inputs[0], 4 + 1.2 * inputs[0].cell, 4 + 1.2 * inputs[0].cell)"
    assert browser.run(paper) == "rgb(255, 255, 255)"
    assert browser.run(zero) == "255,255,255"
    browser.prefer("dark")
    assert browser.run(paper) == "rgb(20, 23, 27)"
    assert browser.run(zero) == "20,23,27"
    browser.run("byId('theme').click()")
    assert browser.run(paper) == "rgb(255, 255, 255)"


def test_a_notebook_shows_it_in_a_frame(browser, tmp_path):
    page = viz.sliding_window(*cs231n())
    (tmp_path / "notebook.html").write_text(f"<!doctype html><body>{page._repr_html_()}</body>", "utf-8")
    browser.problems.clear()
    browser.open(tmp_path / "notebook.html")
    assert browser.run("document.querySelector('iframe').contentDocument.title") == "Conv2d"
    assert browser.run("frames[0].document.getElementById('result').dataset.value") == "2"
    assert browser.problems == []


def test_the_page_needs_nothing_else():
    page = viz.sliding_window(nn.Conv2d(1, 8, 5, padding=2, rng=0), RNG.random((28, 28)))
    assert not re.search(r"https?:|\bsrc=|\bhref=|@import|url\(", page.html)
    assert "default-src 'none'" in page.html
    assert "{{" not in page.html
    assert len(page.html) < 120_000
    assert html.escape(page.html) in page._repr_html_()
    assert repr(page).startswith("Page(")


# Errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(3, 4),
        nn.Sequential(),
        nn.Sequential(nn.ZeroPad2d(1)),
        nn.Sequential(nn.ReLU(), nn.Conv2d(3, 2, 3)),
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.GELU()),
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.MaxPool2d(2)),
        nn.ConvTranspose2d(3, 2, 3),
        "Conv2d",
    ],
)
def test_other_layers_are_refused(layer):
    with pytest.raises(TypeError, match=r"sliding_window: layer must be a Conv2d, .* behind it; got "):
        viz.sliding_window(layer, np.zeros((5, 5, 3)))


@pytest.mark.parametrize("shape", [(5,), (2, 5, 5, 3), (0, 5, 3), (1, 1, 5, 5, 3)])
def test_other_axes_are_refused(shape):
    with pytest.raises(ValueError, match=r"sliding_window: x has shape .*expected one image, \(H, W, C\)"):
        viz.sliding_window(nn.MaxPool2d(2), np.zeros(shape))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"Conv2d: x has 3 channels .* but weight expects 1"):
        viz.sliding_window(nn.Conv2d(1, 2, 3), np.zeros((5, 5, 3)))
    with pytest.raises(TypeError, match="sliding_window: x must hold numbers, got complex128"):
        viz.sliding_window(nn.MaxPool2d(2), np.zeros((4, 4), complex))
    with pytest.raises(ValueError, match=r"are 641,708 numbers, expected at most 500,000: take a part"):
        viz.sliding_window(nn.Conv2d(3, 61, 3, padding=1), np.zeros((100, 100, 3)))
