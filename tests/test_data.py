"""Batches are pure functions of (seed, step), images come out as they went in, and what is wrong is said."""

import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import refused
from PIL import Image

from jaxgan.data import idx, images, labels, mixtures, order, source
from jaxgan.data.source import Source


@pytest.fixture
def pixels():
    """Twenty images of random bytes, [20, 6, 5, 3]."""
    return np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), np.uint8)


# Mixtures


def test_ring_has_distinct_centers_on_the_circle():
    centers = mixtures.ring_centers()
    distances = np.linalg.norm(centers[:, None] - centers[None], axis=-1) + np.eye(8)
    assert centers.shape == (8, 2) and centers.dtype == np.float32
    # Neighbours on the unit circle are 2 sin(pi / 8) apart.
    np.testing.assert_allclose(distances.min(), 2 * np.sin(np.pi / 8), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(mixtures.ring_centers(5, 3.0), axis=1), 3.0, rtol=1e-6)


def test_grid_is_every_pair():
    centers = mixtures.grid_centers()
    assert centers.shape == (25, 2)
    assert {tuple(c) for c in centers.tolist()} == {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}


def test_sample_moments(key):
    std, count = 0.05, 200_000
    x = np.asarray(jax.jit(mixtures.sample, static_argnums=3)(key, mixtures.grid_centers(), std, count), np.float64)
    # Grid: mean 0, variance along each axis (16 + 4 + 0 + 4 + 16) / 5 + std^2, axes independent.
    variance = 8 + std**2
    error = np.sqrt(variance / count)
    np.testing.assert_allclose(x.mean(0), 0, atol=5 * error)
    np.testing.assert_allclose(np.cov(x.T), variance * np.eye(2), atol=5 * variance / np.sqrt(count))
    # Within its component each point is N(0, std^2), and each of the 25 components has its share.
    nearest = np.round(x / 2) * 2
    np.testing.assert_allclose((x - nearest).std(0), std, rtol=0.01)
    _, counts = np.unique(nearest, axis=0, return_counts=True)
    np.testing.assert_allclose(counts, count / 25, atol=5 * np.sqrt(count / 25))


def test_mixture_is_pure_in_seed_and_step():
    data = mixtures.mixture(mixtures.ring_centers(), 0.01, batch_size=16)
    assert (data.size, data.range, data.arrays) == (None, None, {})
    fed = data.feed(3, 9)
    assert fed.dtype == np.uint32 and fed.tolist() == [3, 9]
    first = data.batch_at(3, 9)["x"]
    assert first.shape == (16, 2) and first.dtype == jnp.float32
    np.testing.assert_allclose(first, jax.jit(data.batch)(data.arrays, fed)["x"], atol=1e-6)
    for seed, step in ((3, 10), (4, 9), (9, 3)):
        assert not np.allclose(first, data.batch_at(seed, step)["x"])


def test_mixture_shares_no_noise_with_the_key_of_a_run():
    """A run folds the step into the key of the same seed: latents drawn from that must not be the batch's noise."""
    data = mixtures.mixture(np.zeros((1, 2)), 1.0, batch_size=8)
    key = jax.random.fold_in(jax.random.key(0), 5)
    batch = data.batch_at(0, 5)["x"]
    for candidate in (key, *jax.random.split(key, 4)):
        assert not np.isclose(jax.random.normal(candidate, (8, 2)), batch).any()


@pytest.mark.parametrize(
    "centers, std, batch_size, got",
    [(np.zeros((3, 3)), 1, 1, "[3, 3]"), (np.zeros((0, 2)), 1, 1, "[0, 2]"), (np.zeros((1, 2)), 0, 1, "got 0"),
     (np.zeros((1, 2)), 1, 0, "got 0"), (np.zeros((1, 2)), float("nan"), 1, "nan")],
)  # fmt: skip
def test_mixture_refuses(centers, std, batch_size, got):
    refused(lambda: mixtures.mixture(centers, std, batch_size=batch_size), "expected", got)


# Batches of images


def test_epochs_are_permutations():
    size, batch_size = 23, 5
    epochs = []
    for epoch in range(3):
        steps = [images.indices_at(1, epoch * 4 + step, size, batch_size) for step in range(4)]
        assert all(step.shape == (5,) and step.dtype == np.int32 for step in steps)
        epochs.append(np.concatenate(steps))
        assert len(set(epochs[-1].tolist())) == 20 and 0 <= epochs[-1].min() and epochs[-1].max() < size
    assert not np.array_equal(epochs[0], epochs[1])
    assert sorted(np.concatenate([images.indices_at(0, s, 20, 5) for s in range(4)]).tolist()) == list(range(20))


def test_indices_are_pure_in_seed_and_step():
    expected = {(seed, step): images.indices_at(seed, step, 40, 8).copy() for seed in range(4) for step in range(25)}
    order._permutation.cache_clear()
    for seed, step in reversed(expected):
        np.testing.assert_array_equal(images.indices_at(seed, step, 40, 8), expected[seed, step])
    assert not np.array_equal(expected[0, 0], expected[1, 0])
    # Epoch 1 of seed 0 is not epoch 0 of seed 1.
    assert not np.array_equal(expected[0, 5], expected[1, 0])
    with pytest.raises(ValueError, match="read-only"):
        images.indices_at(0, 0, 40, 8)[0] = 1


def test_every_byte_becomes_its_value_in_the_range(pixels):
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = np.asarray(images.from_array(every, batch_size=1).batch_at(0, 0)["x"])
    np.testing.assert_allclose(x.ravel(), np.arange(256) / 127.5 - 1, atol=1e-7)
    assert x.min() == -1 and x.max() == 1 and x.dtype == np.float32


def test_from_array_gathers_on_the_device(pixels):
    data = images.from_array(pixels, batch_size=6)
    assert (data.size, data.batch_size, data.range) == (20, 6, (-1.0, 1.0))
    assert isinstance(data.arrays["images"], jax.Array) and data.arrays["images"].dtype == jnp.uint8
    fed = data.feed(2, 7)
    x = jax.jit(data.batch)(data.arrays, fed)["x"]
    assert x.shape == (6, 6, 5, 3) and x.dtype == jnp.float32
    np.testing.assert_array_equal(np.round((np.asarray(x) + 1) * 127.5), pixels[fed])


def test_from_array_copies(pixels):
    data = images.from_array(pixels, batch_size=20)
    before = np.asarray(data.batch_at(0, 0)["x"])
    pixels[:] = 0
    np.testing.assert_array_equal(before, data.batch_at(0, 0)["x"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_pass_unchanged(dtype):
    floats = np.linspace(-1, 1, 48).reshape(3, 4, 4).astype(dtype)
    data = images.dataset(floats, batch_size=3)
    x = data.batch_at(0, 0)["x"]
    assert x.shape == (3, 4, 4, 1) and x.dtype == jnp.float32
    np.testing.assert_array_equal(x[..., 0], floats[data.feed(0, 0)].astype(np.float32))


@pytest.mark.parametrize(
    "array, fragments",
    [
        (np.zeros((4, 4), np.uint8), ["[N, H, W, C]", "[4, 4]"]),
        (np.zeros((1, 1, 4, 4, 3), np.uint8), ["[1, 1, 4, 4, 3]"]),
        (np.zeros((2, 4, 4, 3), np.int64), ["uint8", "int64", "astype"]),
        (np.zeros((2, 4, 4, 3), bool), ["uint8", "bool"]),
        (np.zeros((0, 4, 4, 3), np.uint8), ["at least one", "[0, 4, 4, 3]"]),
        (np.linspace(0, 255, 16).reshape(1, 4, 4, 1), ["[-1, 1]", "0 to 255", "x / 127.5 - 1"]),
        (np.linspace(-3, 2, 16).reshape(1, 4, 4, 1), ["[-1, 1]", "-3 to 2", "scale"]),
        (np.linspace(0, 1, 16).reshape(1, 4, 4, 1), ["exactly 0 to exactly 1", "2 * x - 1"]),
        (np.array([0, np.nan, 0.5]).reshape(1, 3, 1, 1), ["not finite"]),
        (np.array([0, -np.inf, 0.5]).reshape(1, 3, 1, 1), ["not finite"]),
    ],
)
def test_from_array_refuses(array, fragments):
    refused(lambda: images.from_array(array, batch_size=1), "expected", *fragments)


@pytest.mark.parametrize("batch_size", [0, 21, 1000])
def test_batch_size_must_fit(pixels, batch_size):
    fragments = ["20 examples", f"got {batch_size}", "use 16"]
    refused(lambda: images.from_array(pixels, batch_size=batch_size), *fragments)
    refused(lambda: images.from_source(Source(20, (6, 5, 3), lambda i: pixels[i]), batch_size=batch_size), *fragments)
    refused(lambda: images.indices_at(0, 0, 20, batch_size), *fragments)


def test_source_and_array_give_the_same_batches(pixels):
    array = images.dataset(pixels, batch_size=4)
    lazy = images.dataset(Source(20, (6, 5, 3), lambda indices: pixels[indices]), batch_size=4)
    assert lazy.arrays == {} and lazy.feed(0, 0).dtype == np.uint8
    assert lazy[3:6] == array[3:6]
    for step in (0, 3, 11):
        np.testing.assert_array_equal(array.batch_at(5, step)["x"], lazy.batch_at(5, step)["x"])


def test_large_sets_stay_on_the_host(pixels, monkeypatch):
    lazy = Source(20, (6, 5, 3), lambda indices: pixels[indices])
    np.testing.assert_array_equal(source.held(lazy), pixels)
    monkeypatch.setattr(source, "HOLD_BYTES", pixels.nbytes - 1)
    assert source.held(lazy) is lazy
    large, small = images.dataset(pixels, batch_size=4), images.from_array(pixels, batch_size=4)
    assert large.arrays == {}
    np.testing.assert_array_equal(large.batch_at(0, 6)["x"], small.batch_at(0, 6)["x"])
    refused(lambda: images.dataset(pixels.astype(np.int32), batch_size=4), "int32")


def test_held_decodes_every_chunk(monkeypatch):
    monkeypatch.setattr(source, "_CHUNK", 7)
    whole = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    np.testing.assert_array_equal(source.held(Source(20, (1, 1, 1), lambda indices: whole[indices])), whole)


# Digits


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    levels = load_digits().images
    everything = images.digits("all")
    assert everything.dtype == np.uint8 and everything.shape == (1797, 8, 8, 1)
    np.testing.assert_array_equal(np.round(everything[..., 0] * (16 / 255)), levels)
    assert everything.min() == 0 and everything.max() == 255
    train, test = images.digits("train"), images.digits("test")
    assert len(train) == 1437 and len(test) == 360
    # The parts are the whole, once each.
    assert sorted(map(bytes, np.concatenate([train, test]))) == sorted(map(bytes, everything))
    np.testing.assert_array_equal(test, images.digits("test"))
    refused(lambda: images.digits("validation"), "train, test, all", "'validation'")


@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_labels_of_digits_are_those_of_their_images(split):
    from sklearn.datasets import load_digits

    # No two of scikit-learn's images are the same, so an image tells its label.
    known = dict(zip(map(bytes, load_digits().images.astype(np.uint8)), load_digits().target, strict=True))
    assert len(known) == 1797
    values, classes = labels.load("digits", split)
    assert values.dtype == np.int32 and classes == 10
    levels = np.round(images.digits(split)[..., 0] * (16 / 255)).astype(np.uint8)
    assert [known[bytes(image)] for image in levels] == values.tolist()


# NumPy files


def test_array_files(tmp_path, pixels):
    np.save(tmp_path / "a.npy", pixels)
    np.save(tmp_path / "grey.npy", pixels[..., 0])
    np.savez(tmp_path / "one.npz", anything=pixels)
    np.savez_compressed(tmp_path / "x.npz", x=pixels, y=np.arange(20))
    np.savez(tmp_path / "images.npz", images=pixels, labels=np.arange(20))
    for name in ("a.npy", "one.npz", "x.npz", "images.npz"):
        np.testing.assert_array_equal(images.array_file(tmp_path / name), pixels)
    np.testing.assert_array_equal(images.array_file(tmp_path / "grey.npy"), pixels[..., :1])
    x = images.dataset(images.array_file(tmp_path / "a.npy"), batch_size=20)
    assert sorted(map(bytes, np.asarray(x.arrays["images"]))) == sorted(map(bytes, pixels))


def test_array_files_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return exec, ("raise RuntimeError('code in a data file was run')",)

    np.save(tmp_path / "a.npy", np.array([Bomb()], object))
    np.savez(tmp_path / "a.npz", np.array([Bomb()], object))
    for name in ("a.npy", "a.npz"):
        refused(lambda name=name: images.array_file(tmp_path / name), tmp_path / name, "numpy.save")


def test_array_files_are_told_by_content(tmp_path, pixels):
    np.save(tmp_path / "a.npy", pixels)
    np.savez(tmp_path / "a.npz", pixels)
    (tmp_path / "a.npy").rename(tmp_path / "b.npz")
    (tmp_path / "a.npz").rename(tmp_path / "b.npy")
    for name in ("b.npy", "b.npz"):
        np.testing.assert_array_equal(images.array_file(tmp_path / name), pixels)


def test_array_files_refused(tmp_path, pixels):
    refused(lambda: images.array_file(tmp_path / "none.npy"), tmp_path / "none.npy", "no such file")
    np.savez(tmp_path / "two.npz", a=pixels, b=pixels)
    refused(lambda: images.array_file(tmp_path / "two.npz"), '"x" or "images"', "['a', 'b']")
    np.savez(tmp_path / "both.npz", x=pixels, images=pixels)
    refused(lambda: images.array_file(tmp_path / "both.npz"), "['images', 'x']")
    np.save(tmp_path / "wide.npy", pixels.astype(np.float32))
    refused(lambda: images.array_file(tmp_path / "wide.npy"), "wide.npy", "0 to 255")
    np.save(tmp_path / "whole.npy", pixels)
    np.savez(tmp_path / "whole.npz", pixels)
    for suffix in ("npy", "npz"):
        content = (tmp_path / f"whole.{suffix}").read_bytes()
        for name, broken in {"cut": content[:300], "empty": b"", "text": b"not an array at all"}.items():
            file = tmp_path / f"{name}.{suffix}"
            file.write_bytes(broken)
            refused(lambda file=file: images.array_file(file), file, "expected a NumPy file")


# Folders


def test_folder_reads_sorted_and_recursively(tmp_path):
    for value, name in ((30, "c.png"), (10, "a/z.PNG"), (20, "b.bmp"), (40, "d/e/f.ppm")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (value, value + 1, value + 2)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._c.png").write_bytes(b"what some systems leave beside a file")
    read = images.folder(tmp_path, 4, 3)
    assert read.dtype == np.uint8 and read.shape == (4, 4, 4, 3)
    assert read[:, 0, 0].tolist() == [[v, v + 1, v + 2] for v in (10, 20, 30, 40)]


def test_folder_crops_to_the_central_square_and_resizes(tmp_path):
    # Left and right thirds black, the central square white: nothing black is left.
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.fromarray(wide.transpose(1, 0, 2).copy()).save(tmp_path / "b.png")
    assert (images.folder(tmp_path, 5, 3) == 255).all()
    # A chequerboard of single pixels averages to grey under antialiasing, and to black or white without.
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "c.png")
    assert (abs(images.folder(tmp_path, 8, 1)[2, 1:-1, 1:-1].astype(int) - 127) <= 2).all()
    # Odd sizes, and smaller than the result.
    Image.new("L", (7, 3), 99).save(tmp_path / "d.png")
    assert (images.folder(tmp_path, 8, 1)[3] == 99).all()


def test_folder_modes(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "a.png")  # wholly transparent: white
    Image.new("RGBA", (4, 4), (255, 0, 0, 128)).save(tmp_path / "b.png")  # half of red on white
    Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "c.png")
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 255, 0, 255, 0])
    palette.save(tmp_path / "d.png")
    palette.save(tmp_path / "e.gif", transparency=0)
    Image.new("1", (4, 4), 1).save(tmp_path / "f.png")
    Image.new("CMYK", (4, 4), (0, 0, 0, 255)).save(tmp_path / "g.tif")
    Image.fromarray(np.full((4, 4), 0x8042, np.uint16)).save(tmp_path / "h.png")
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "i.png")
    colour = images.folder(tmp_path, 4, 3)
    assert colour[:, 2, 1].tolist() == [
        [255, 255, 255], [255, 127, 127], [255, 255, 255], [0, 0, 255], [255, 255, 255], [255, 255, 255], [0, 0, 0],
        [128, 128, 128], [255, 0, 0],
    ]  # fmt: skip
    grey = images.folder(tmp_path, 4, 1)
    assert grey.shape == (9, 4, 4, 1)
    # ITU-R 601: 0.299 red + 0.587 green + 0.114 blue.
    np.testing.assert_allclose(grey[:, 0, 0, 0], (colour[:, 0, 0] @ [0.299, 0.587, 0.114]), atol=1)


def test_folder_respects_the_orientation(tmp_path):
    upright = np.zeros((8, 8), np.uint8)
    upright[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(images.folder(tmp_path, 8, 1)[0, ..., 0], upright)


def test_large_folders_are_read_as_needed(tmp_path, monkeypatch):
    for value in range(6):
        Image.new("L", (5, 4), value).save(tmp_path / f"{value}.png")
    monkeypatch.setattr(source, "HOLD_BYTES", 10)
    lazy = images.folder(tmp_path, 4, 1)
    assert isinstance(lazy, Source) and (lazy.size, lazy.image_shape) == (6, (4, 4, 1))
    data = images.dataset(lazy, batch_size=6)
    fed = data.feed(0, 0)
    assert fed.dtype == np.uint8 and sorted(fed[:, 0, 0, 0].tolist()) == list(range(6))
    np.testing.assert_allclose(data.batch_at(0, 0)["x"], fed / np.float32(127.5) - 1, atol=1e-7)


def test_folder_refuses(tmp_path, monkeypatch):
    refused(lambda: images.folder(tmp_path / "none", 4, 3), tmp_path / "none", "no such folder")
    refused(lambda: images.folder(tmp_path, 4, 3), tmp_path, ".png", "got none")
    refused(lambda: images.folder(tmp_path, 4, 2), "1 or 3 channels", "got 2")
    good = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(good)
    content = good.read_bytes()
    bad = tmp_path / "b.png"
    damaged = content[:200] + bytes(200) + content[400:]
    for broken in (b"", b"no image", content[:100], content[: len(content) // 2], damaged):
        bad.write_bytes(broken)
        refused(lambda: images.folder(tmp_path, 4, 3), bad, "expected an image", "remove or repair")
    bad.unlink()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "c.tif")
    refused(lambda: images.folder(tmp_path, 4, 3), tmp_path / "c.tif", "mode F")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    refused(lambda: images.folder(tmp_path, 4, 3), good, "decompression bomb")


# The one door


def test_load_takes_paths_and_digits(tmp_path, pixels):
    assert images.load("digits", "test", size=8, channels=1).shape == (360, 8, 8, 1)
    Image.new("RGB", (9, 7), (1, 2, 3)).save(tmp_path / "a.png")
    assert images.load(str(tmp_path), size=4, channels=3).tolist() == np.full((1, 4, 4, 3), [1, 2, 3]).tolist()
    square = pixels[:, :5]
    np.save(tmp_path / "a.npy", square)
    np.testing.assert_array_equal(images.load(str(tmp_path / "a.npy"), "all", size=5, channels=3), square)


def test_load_refuses(tmp_path, monkeypatch, pixels):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    np.save(tmp_path / "a.npy", pixels)

    def load(dataset, split="train", size=8, channels=1):
        return lambda: images.load(str(dataset), split, size=size, channels=channels)

    refused(load("digits", size=32), "[32, 32, 1]", "[8, 8, 1]")
    refused(load("digits", channels=3), "[8, 8, 3]", "[8, 8, 1]")
    refused(load("digits", "validation"), "'validation'")
    refused(load(tmp_path / "a.npy"), "a.npy", "[8, 8, 1]", "[6, 5, 3]")
    refused(load(tmp_path / "a.npy", "test"), "a path has no other", "'test'")
    refused(load(tmp_path, "test"), "a path has no other", "'test'")
    refused(load(tmp_path / "none"), tmp_path / "none", "no such folder")
    refused(load(tmp_path / "none.npz"), tmp_path / "none.npz", "no such file")
    refused(load("./none"), "./none", "no such folder")
    refused(load(""), "''", "no such folder")
    refused(load("some/where"), "'some/where'", "not found", "spelling")
    refused(load("no_such_set"), "'no_such_set'", "not found", "spelling")
    refused(load("not a name!"), "'not a name!'", "spelling")
    assert not (tmp_path / "sets").exists()


def test_sets_without_labels_are_refused(tmp_path, monkeypatch, pixels):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.arange(20))
    for path in (tmp_path, tmp_path / "a.npz", tmp_path / "none.npy", tmp_path / "none", "./none", ""):
        refused(lambda path=path: labels.load(str(path)), repr(str(path)), "'digits'", "no labels")
    refused(lambda: labels.load("digits", "validation"), "train, test, all", "'validation'")
    refused(lambda: labels.load("no_such_set"), "'no_such_set'", "not found", "spelling")
    assert not (tmp_path / "sets").exists()


# IDX


def test_idx_read(tmp_path):
    import gzip

    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    file = tmp_path / "a.gz"
    content = b"\0\0\x08\3" + struct.pack(">3I", 2, 3, 4) + values.tobytes()
    file.write_bytes(gzip.compress(content))
    np.testing.assert_array_equal(idx.read(file), values)
    for broken in (content[:-1], content + b"\0", content[:9], b"\0\0\x0d\1" + bytes(8), b""):
        file.write_bytes(gzip.compress(broken))
        refused(lambda: idx.read(file), file, "expected", "fetch it again")
    whole = gzip.compress(content)
    for broken in (content, whole[:-9], whole[:12] + b"\xff\xff\xff" + whole[15:]):
        file.write_bytes(broken)
        refused(lambda: idx.read(file), file, "expected a gzipped IDX file")
