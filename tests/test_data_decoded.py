"""Decoded images on disk: whole or not at all, and never in the way."""

import os
import pathlib
import resource
import stat

import numpy as np
import pytest

from jaxgan import cache
from jaxgan.data import decoded
from jaxgan.data.source import Source, held

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), np.uint8)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> pathlib.Path:
    """The folder of kept images, not made yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "jaxgan" / "images"


class Counting:
    """Fetches images and counts them."""

    def __init__(self):
        self.count = 0

    def __call__(self, indices):
        self.count += len(indices)
        return PIXELS[indices]


def decodes(origin="one", size=50):
    """Holds a source, expects its very images, and says how many of them were decoded."""
    fetch = Counting()
    images = held(Source(size, (6, 5, 3), fetch, origin))
    assert images.dtype == np.uint8 and images.flags.writeable
    np.testing.assert_array_equal(images, PIXELS[:size])
    return fetch.count


def test_images_are_decoded_once_for_an_origin(home):
    assert [decodes(), decodes(), decodes("two"), decodes("two"), decodes()] == [50, 0, 50, 0, 0]
    assert len(list(home.iterdir())) == 2
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700


def test_a_source_without_an_origin_is_not_kept(home):
    assert [decodes(None), decodes(None)] == [50, 50]
    assert not home.exists()


class Bomb:
    def __reduce__(self):
        return exec, ("raise RuntimeError('code in a data file was run')",)


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [flipped, lambda c: b"", lambda c: c[:-1], lambda c: c[: len(c) // 2], lambda c: c[1:]]
)
def test_a_damaged_file_is_written_anew(home, damage):
    decodes()
    (file,) = home.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert [decodes(), decodes()] == [50, 0]
    assert len(file.read_bytes()) == len(whole)


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": PIXELS[:49]},
        {"images": PIXELS.reshape(50, 5, 6, 3)},
        {"images": PIXELS.view(np.int8)},
        {"other": PIXELS},
        {"images": np.array([Bomb()], object)},
    ],
)
def test_other_contents_are_not_taken(home, arrays):
    decodes()
    (file,) = home.iterdir()
    np.savez(file, **arrays)
    assert [decodes(), decodes()] == [50, 0]


def test_without_a_folder_images_are_decoded_every_time(home, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.folder() is None and [decodes(), decodes()] == [50, 50]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    home.parent.mkdir()
    home.write_text("no folder either")
    assert [decodes(), decodes()] == [50, 50]
    home.unlink()
    decodes()
    (file,) = home.iterdir()
    file.unlink()
    file.mkdir()
    assert [decodes(), decodes()] == [50, 50]
    assert list(home.iterdir()) == [file]


def test_a_full_disk_changes_nothing(home):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 100, 2000, PIXELS.nbytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            assert decodes() == 50
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert list(home.iterdir()) == []
    assert [decodes(), decodes()] == [50, 0]


def test_what_is_cut_short_leaves_nothing(home, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            decodes()
    assert list(home.iterdir()) == []
    assert [decodes(), decodes()] == [50, 0]


def test_the_folder_is_in_the_home_where_nothing_else_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unset in ("", "relative/path"):  # its specification says to ignore the latter
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache.folder() == tmp_path / "home" / ".cache" / "jaxgan"
    assert cache.folder().is_dir()


def test_origins_name_files(home):
    """Whatever an origin holds, its file lies in the folder."""
    for origin in ("../../outside", "/outside", "a" * 10_000, "\0"):
        decoded.write(origin, PIXELS)
        np.testing.assert_array_equal(decoded.read(origin, PIXELS.shape), PIXELS)
    assert len(list(home.iterdir())) == 4
