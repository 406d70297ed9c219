"""The gallery names every example, and its page and pictures are what its script makes."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.test_examples import EXAMPLES, PICTURES

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def gallery():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_as_its_script_writes_it(gallery):
    assert (ROOT / "docs" / "gallery.md").read_text("utf-8") == gallery.page()


def test_every_example_has_its_place_and_a_picture_that_it_writes(gallery):
    shown = [example for examples in gallery.SECTIONS.values() for example in examples]
    assert sorted(example.name for example in shown) == sorted(PICTURES)
    for example in shown:
        assert example.picture in PICTURES[example.name]
        assert 1 <= len(re.findall(r"\.(?= |$)", example.text)) <= 3, example.text


def test_links_and_pictures_are_there():
    text = (ROOT / "docs" / "gallery.md").read_text("utf-8")
    linked = re.findall(r"\]\(([^)]+)\)", text)
    assert len(linked) == 2 * len(list(EXAMPLES.glob("[!_]*.py")))
    for link in linked:
        path = ROOT / "docs" / link
        assert path.is_file(), link
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.stat().st_size <= 60_000, link
    assert "docs/gallery.md" in (ROOT / "README.md").read_text("utf-8")


def test_pictures_become_small(gallery, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.effect_noise((1000, 2000), 90).save(tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"small.png has .* bytes, expected at most 60,000"):
        gallery.shrink(tmp_path / "large.png", tmp_path / "small.png")
    image.linear_gradient("L").resize((2000, 1000)).save(tmp_path / "large.png")
    gallery.shrink(tmp_path / "large.png", tmp_path / "small.png")
    with image.open(tmp_path / "small.png") as small:
        assert small.size == (960, 480)
