"""Downloads that fail, break off, are wrong or run beside each other: only whole, checked files are kept."""

import errno
import gzip
import http.server
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lamina import datasets
from lamina.datasets import images


class Faulty(http.server.BaseHTTPRequestHandler):
    """Serves a folder; a first part of the path, such as /cut/, names what goes wrong."""

    folder: Path
    together: threading.Barrier  # of two requests
    halfway: threading.Event
    go_on: threading.Event

    def log_message(self, *args):
        pass

    def do_GET(self):
        fault, _, name = self.path[1:].rpartition("/")
        if fault == "together" and name != "train-images-idx3-ubyte.gz":
            fault = ""  # one process may find what the other has fetched by then
        if fault == "not-there":
            self.send_error(404)
        elif fault == "error":
            self.send_error(500)
        else:
            self._send(fault, (self.folder / name).read_bytes())

    def _send(self, fault, data):
        half = len(data) // 2
        if fault == "altered":
            content = bytearray(gzip.decompress(data))
            content[-1] ^= 1
            data = gzip.compress(content)
        sent = {"short": data[:half], "long": data + b"more", "page": b"<html>Log in</html>"}.get(fault, data)
        self.send_response(200)
        if fault != "unsized":
            self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        if fault in ("cut", "reset", "unsized"):
            sent = sent[:half]
        if fault == "stalled":
            self.wfile.write(sent[:half])
            self.halfway.set()
            self.go_on.wait(60)
            sent = b""
        if fault == "together":
            self.wfile.write(sent[:half])
            self.together.wait(60)  # both have half of it now
            sent = sent[half:]
        self.wfile.write(sent)
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture
def web(tmp_path, tiny_mnist):
    """A web server on this machine with the files of `tiny_mnist`: (its address, its handler)."""
    pytest.importorskip("pooch")
    (tmp_path / "web").mkdir()
    for name, data in tiny_mnist.items():
        (tmp_path / "web" / f"{name}.gz").write_bytes(gzip.compress(data))

    class Handler(Faulty):
        folder = tmp_path / "web"
        together, halfway, go_on = threading.Barrier(2), threading.Event(), threading.Event()

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request, address):
            pass  # a client that was killed

    with Server(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}/", Handler
        Handler.go_on.set()
        web.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "mnist"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def whole(tiny_mnist):
    return sorted(f"{name}.gz" for name in tiny_mnist)


def test_offline_says_what_to_do(tmp_path):
    pytest.importorskip("pooch")
    with pytest.raises(FileNotFoundError) as caught:
        datasets.mnist()
    message = str(caught.value)
    for part in ("train-images-idx3-ubyte.gz", "could not be downloaded", "LAMINA_DATA", "By hand", "mnist/"):
        assert part in message
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []


def test_without_pooch_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=re.escape('pip install "lamina[data]"') + ".*By hand"):
        datasets.mnist()


def test_download_is_verified_and_cached(tmp_path, tiny_mnist, web, cache, monkeypatch):
    monkeypatch.setattr(images, "_MNIST_URLS", (web[0] + "not-there/", web[0]))
    assert datasets.mnist().y_train.tolist() == [3, 9]
    assert names(cache) == whole(tiny_mnist)  # and no part of a download
    for path in (tmp_path / "web").iterdir():
        path.unlink()
    assert datasets.mnist().y_train.tolist() == [3, 9]


FAULTS = {
    "cut": "IncompleteRead|Connection broken",
    "reset": "reset by peer|Connection broken",
    "unsized": "damaged or truncated gzip file",
    "short": "damaged or truncated gzip file",
    "long": "damaged or truncated gzip file",
    "altered": "not the official file: its SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}",
    "page": "not an idx file",
    "error": "500 Server Error",
    "not-there": "404 Client Error",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_download_that_fails_is_explained_and_leaves_nothing(web, cache, tiny_mnist, monkeypatch, fault):
    address = f"{web[0]}{fault}/"
    monkeypatch.setattr(images, "_MNIST_URLS", (address,))
    with pytest.raises(FileNotFoundError) as caught:
        datasets.mnist()
    url = f"{address}train-images-idx3-ubyte.gz"
    assert re.search(rf"\n  {url}: .*({FAULTS[fault]})", str(caught.value)), str(caught.value)
    assert re.search(r"\nBy hand: put the four official files .* LAMINA_DATA", str(caught.value))
    assert ".part" not in str(caught.value)
    assert names(cache) == []
    monkeypatch.setattr(images, "_MNIST_URLS", (address, web[0]))  # the next run begins anew
    assert datasets.mnist().y_train.tolist() == [3, 9]
    assert names(cache) == whole(tiny_mnist)


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_takes_no_more_is_named(web, cache, monkeypatch, kind):
    def fail(handle):
        raise OSError(kind, os.strerror(kind))

    monkeypatch.setattr(images, "_MNIST_URLS", (web[0],))
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FileNotFoundError, match=rf"ubyte.gz: .*{os.strerror(kind)}\n.*By hand"):
        datasets.mnist()
    assert names(cache) == []


def test_a_cache_that_cannot_be_written_is_named(web, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setattr(images, "_MNIST_URLS", (web[0],))
    with pytest.raises(
        FileNotFoundError, match=rf"(Not a directory|File exists): '{tmp_path}/cache.*\n.*By hand"
    ):
        datasets.mnist()


def test_ctrl_c_in_the_midst_leaves_nothing(web, cache, monkeypatch):
    import pooch

    def interrupted(self, url, file, pooch):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(images, "_MNIST_URLS", (web[0],))
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.mnist()
    assert names(cache) == []


def test_a_cached_file_can_be_read_by_others(web, cache, monkeypatch):
    monkeypatch.setattr(images, "_MNIST_URLS", (web[0],))
    former = os.umask(0o022)
    try:
        datasets.mnist()
    finally:
        os.umask(former)
    assert {path.stat().st_mode & 0o777 for path in cache.iterdir()} == {0o644}


# other processes ----------------------------------------------------------------------------------------
ANOTHER = """
import json, sys
from lamina import datasets
from lamina.datasets import images
address, parts = json.loads(sys.argv[1])
images._MNIST_URLS = (address,)
images._MNIST = tuple(images._Part(stem, tuple(shape), sha256) for stem, shape, sha256 in parts)
print(datasets.mnist().y_train.tolist())
"""


def start(address):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    command = [sys.executable, "-c", ANOTHER, json.dumps([address, images._MNIST])]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_two_processes_may_download_at_the_same_time(tiny_mnist, web, cache):
    both = [start(f"{web[0]}together/") for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in both] == ["[3, 9]\n"] * 2
    assert names(cache) == whole(tiny_mnist)


def test_what_a_killed_process_left_is_not_taken_and_goes(tiny_mnist, web, cache, monkeypatch):
    address, handler = web
    process = start(f"{address}stalled/")
    assert handler.halfway.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (part,) = cache.iterdir()
    monkeypatch.setattr(images, "_MNIST_URLS", (address,))
    assert datasets.mnist().y_train.tolist() == [3, 9]
    assert part.exists()  # too young to be told from one that has just begun
    os.utime(part, (0, 0))
    (cache / whole(tiny_mnist)[0]).unlink()
    assert datasets.mnist().y_train.tolist() == [3, 9]
    assert names(cache) == whole(tiny_mnist)
