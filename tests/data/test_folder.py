"""Folders of images: classes, sizes, broken files, and training that holds a few batches alone."""

import sys
import threading
import tracemalloc
import warnings

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim
from lamina.data import ImageFiles, ImageFolder, Loader

Image = pytest.importorskip("PIL.Image")


def picture(path, value, size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    for i in range(3):
        picture(tmp_path / "cat" / f"{i}.png", 10 * i)
        picture(tmp_path / "dog" / "deep" / f"{i}.png", 100 + 10 * i)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / ".hidden.png").write_text("no image")
    return tmp_path


def test_classes_are_folders(photos):
    folder = ImageFolder(photos)
    assert (len(folder), folder.classes) == (6, ("cat", "dog"))
    x, y = folder.take(slice(None))
    assert (x.shape, x.dtype, y.dtype) == ((6, 8, 6, 3), np.float32, np.int64)
    assert y.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(x[:, 0, 0, 0] * 255, [0, 10, 20, 100, 110, 120], rtol=1e-6)
    x, y = folder.take(np.array([4, 0]))
    assert y.tolist() == [1, 0]
    assert ImageFolder(photos, classes=["dog", "cat"]).take([0])[1].tolist() == [0]
    assert len(ImageFolder(photos, classes=["dog"])) == 3
    assert ImageFolder(photos, channels=1).take([0])[0].shape == (1, 8, 6, 1)


def test_images_of_different_sizes(photos):
    picture(photos / "dog" / "z.png", 50, (4, 12))
    folder = ImageFolder(photos)
    with pytest.raises(
        ValueError, match=r"z\.png is 4 x 12 pixels \(H x W\), but .*0\.png is 8 x 6; give size"
    ):
        folder.take(slice(None))
    for fit in ("crop", "stretch"):
        x, _ = ImageFolder(photos, size=(5, 7), fit=fit).take(slice(None))
        assert x.shape == (7, 5, 7, 3)
        np.testing.assert_allclose(x[-1] * 255, 50, atol=0.5)


def test_crop_and_stretch_differ(tmp_path):
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255  # the middle third is white
    Image.fromarray(wide).save(tmp_path / "wide.png")
    crop, stretch = (
        ImageFiles([tmp_path / "wide.png"], [0], size=4, fit=fit).take([0])[0][0, :, :, 0]
        for fit in ("crop", "stretch")
    )
    np.testing.assert_allclose(crop, 1, atol=0.01)
    assert stretch[:, 0].max() < 0.1


def test_images_are_turned_as_the_camera_says(tmp_path):
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    x, _ = ImageFiles([tmp_path / "turned.png"], [0], channels=1).take([0])
    np.testing.assert_allclose(x[0, ..., 0] * 255, np.rot90(np.arange(24).reshape(4, 6) * 10, -1), rtol=1e-6)


def test_broken_files_are_named_or_skipped(photos):
    whole = (photos / "cat" / "1.png").read_bytes()
    (photos / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    (photos / "dog" / "text.jpg").write_text("no image at all")
    with pytest.raises(ValueError, match=r"cat/1\.png cannot be read as an image .*broken='skip' leaves"):
        ImageFolder(photos).take(slice(None))
    folder = ImageFolder(photos, broken="skip")
    with pytest.warns(UserWarning, match="it is left out") as warned:
        x, y = folder.take(slice(None))
    assert (len(x), y.tolist()) == (5, [0, 0, 1, 1, 1])
    assert [path.name for path in folder.skipped] == ["1.png", "text.jpg"]
    assert [str(w.message).split(" cannot")[0].rpartition("/")[2] for w in warned] == ["1.png", "text.jpg"]
    assert len(folder.take([1])[0]) == 0  # named once is enough
    assert sum(len(y) for _, y in Loader(folder, batch_size=1)) == 5


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_epoch_over_images_of_different_sizes_says_so(photos, prefetch):
    picture(photos / "dog" / "z.png", 50, (4, 12))
    loader = Loader(ImageFolder(photos), batch_size=2, shuffle=False, prefetch=prefetch)
    with pytest.raises(ValueError, match=r"z\.png is 4 x 12 pixels .* give size=\(H, W\) to bring all"):
        list(loader)


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif", "webp", "tif", "ppm"])
def test_a_file_cut_off_anywhere_is_named_or_whole(tmp_path, kind):
    picture(tmp_path / f"a.{kind}", 99)
    whole = (tmp_path / f"a.{kind}").read_bytes()
    named = 0
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        (tmp_path / f"a.{kind}").write_bytes(whole[:length])
        files = ImageFiles([tmp_path / f"a.{kind}"], [0], broken="skip")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            x, _ = files.take([0])
        found = [str(w.message) for w in caught if f"a.{kind} cannot be read as an image" in str(w.message)]
        assert len(found) == len(files.skipped) == 1 - len(x)
        named += len(found)
        np.testing.assert_allclose(x * 255, 99, atol=3)
    assert named > 20


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bits_of_grey_are_kept(tmp_path, kind, channels):
    deep = np.array([[0, 255, 256], [20000, 40000, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / f"deep.{kind}")
    x, _ = ImageFiles([tmp_path / f"deep.{kind}"], [0], channels=channels).take([0])
    assert x.shape == (1, 2, 3, channels)
    np.testing.assert_allclose(x[0], np.repeat(deep[..., None] / 65535, channels, axis=2), atol=1e-6)
    Image.fromarray(np.repeat(deep, 4, axis=0)[:4]).save(tmp_path / f"deep.{kind}")
    small, _ = ImageFiles(
        [tmp_path / f"deep.{kind}"], [0], size=(2, 3), fit="stretch", channels=channels
    ).take([0])
    np.testing.assert_allclose(small[0, 0], np.repeat(deep[0, :, None] / 65535, channels, axis=1), atol=1e-6)


@pytest.mark.parametrize(("dtype", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_pixels_without_a_greatest_value_are_refused(tmp_path, dtype, mode):
    Image.fromarray(np.ones((2, 3), dtype)).save(tmp_path / "a.tif")
    with pytest.raises(
        ValueError, match=rf"a\.tif cannot be read .*mode {mode}, of which it is not known how"
    ):
        ImageFiles([tmp_path / "a.tif"], [0]).take([0])


def test_what_cannot_be(tmp_path, photos):
    (photos / "cow").mkdir()
    (photos / "emu").mkdir()
    with pytest.raises(ValueError, match=r"no images in 2 of the 4 classes of .*: cow, emu; remove these"):
        ImageFolder(photos)
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="pig is no folder"):
        ImageFolder(photos, classes=["cat", "pig"])
    with pytest.raises(ValueError, match=r"has no folders, one for each class, but 3 images: ImageFiles\("):
        ImageFolder(photos / "dog" / "deep")
    paths = sorted((photos / "dog" / "deep").iterdir())
    with pytest.raises(ValueError, match=r"labels have shape \(2,\), expected \(3,\)"):
        ImageFiles(paths, ["a", "b"])
    with pytest.raises(ValueError, match="ImageFiles: no files"):
        ImageFiles([], [])
    with pytest.raises(FileNotFoundError, match=r"gone\.png is not there"):
        ImageFiles([photos / "gone.png"], [0], broken="skip").take([0])
    with pytest.raises(ValueError, match="channels is 4, expected 1 or 3"):
        ImageFolder(photos / "cat", channels=4, classes=["."])
    with pytest.raises(ValueError, match="unknown broken 'ignore'"):
        ImageFiles(paths, [0, 1, 2], broken="ignore")


def test_files_with_labels_that_are_texts(photos):
    paths = sorted((photos / "dog" / "deep").iterdir())
    files = ImageFiles(paths, ["spaniel", "beagle", "spaniel"])
    assert files.classes == ("beagle", "spaniel")
    assert files.take([0, 1, 2])[1].tolist() == [1, 0, 1]


def test_split(photos):
    rest, held_out = ImageFolder(photos).split(1 / 3, seed=0)
    assert (len(rest), len(held_out)) == (4, 2)
    names = [path for part in (rest, held_out) for path in part.paths]
    assert sorted(names) == sorted(ImageFolder(photos).paths)
    values = held_out.take([0, 1])[0][:, 0, 0, 0]
    assert [Image.open(p).getpixel((0, 0))[0] for p in held_out.paths] == np.rint(values * 255).tolist()
    again, _ = ImageFolder(photos).split(1 / 3, seed=0)
    assert again.paths == rest.paths
    with pytest.raises(ValueError, match="leaves one part empty"):
        rest.split(0.01)


def test_without_pillow(photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'need Pillow: pip install "lamina\[data\]"'):
        ImageFolder(photos)


def test_training_holds_a_few_batches_however_many_files(tmp_path):
    """The whole would be 29 MB; seven batches of 4, in the line and at work, are 1.4 MB."""
    for i in range(600):
        picture(tmp_path / "ab"[i % 2] / f"{i}.png", 200 * (i % 2), (64, 64))
    folder = ImageFolder(tmp_path)
    batch, whole = 4 * 64 * 64 * 3 * 4, 600 * 64 * 64 * 3 * 4
    model = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(48, 2, rng=0))
    options = {"loss": nn.CrossEntropyLoss(), "optimizer": optim.SGD(model.parameters(), 0.1)}
    loader = Loader(folder, batch_size=4)
    lm.fit(model, loader, epochs=1, seed=0, verbose=0, **options)  # what is imported on the way is no matter
    tracemalloc.start()
    history = lm.fit(model, loader, epochs=1, seed=0, verbose=0, metrics=["accuracy"], **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * batch < whole / 8
    assert history["accuracy"][-1] > 0.95
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if "Loader" in t.name]
