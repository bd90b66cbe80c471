"""Files from a stranger: each is read, or refused in one line; nothing in it runs, and it takes bounded memory."""

import contextlib
import functools
import gzip
import io
import json
import os
import pathlib
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from checks import SMALL, bounded, peak, refused
from PIL import EpsImagePlugin, Image

from jaxgan import comparison, features
from jaxgan import experiment as experiments
from jaxgan.data import decoded, folder, idx, images, labels
from jaxgan.data.source import Source
from jaxgan.errors import InputError
from jaxgan.features import classifier, inception

# A damaged file may make NumPy or Pillow warn as well; a reader says what it has to say by its result alone.
pytestmark = pytest.mark.filterwarnings("ignore")

QUICK, MANY = 100, 1500
"""Damaged files for each reader, usually and with `-m slow`."""
PICTURE = 3 << 30
"""Bytes that a reader of pictures may add to this process, at its peak: Pillow has a limit of 179 million pixels, and a
file of few bytes may be one of so many."""
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)


class Reader(NamedTuple):
    """A reader of files.

    Attributes:
      content: of a sound file, or of the part of it that is damaged.
      read: `path -> value`.
      sound: whether a value is of the kind that the reader promises.
      wrap: what is damaged to the whole file, e.g. an array to an archive whose checksums are right.
      most: bytes that it may add to this process.
    """

    content: Callable[[], bytes]
    read: Callable[[pathlib.Path], Any]
    sound: Callable[[Any], bool]
    wrap: Callable[[bytes], bytes] = bytes
    most: int = SMALL


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(compression=zipfile.ZIP_STORED, **members):
    """An archive of members, whatever is in them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def picture(kind, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS[0]).resize((24, 20)).convert(mode).save(file, kind, **options)
    return file.getvalue()


def animation(kind):
    frames = [Image.fromarray(pixels).resize((24, 20)) for pixels in PIXELS[1:3]]
    return lambda: picture(kind, save_all=True, append_images=frames)


ABOUT = {"kind": "classifier", "dataset": "made up", "image_shape": [8, 8, 1], "classes": 3, "accuracy": 0.5}


@functools.cache
def layers():
    """The arrays of a classifier."""
    import jax
    from flax.traverse_util import flatten_dict

    model = jax.eval_shape(classifier.Classifier(3).init, jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32))
    leaves = flatten_dict(model["params"], sep=".")
    return {name: npy(np.zeros(leaf.shape, np.float32)) for name, leaf in leaves.items()}


def weights(about=ABOUT):
    """The members of a classifier's file, which tells this of itself."""
    return layers() | {"about": npy(np.array(about if isinstance(about, str) else json.dumps(about)))}


def inception_like():
    """An archive with the names of Inception's arrays, and small ones, so that it is refused but by its last check."""
    return npz(**{name: npy(np.zeros(1, np.float32)) for name in inception.state_shapes()})


def idx_file():
    return b"\0\0\x08\3" + struct.pack(">3I", 12, 8, 24) + PIXELS.tobytes()


def compared():
    now = {name: 1.5 for name in comparison.FIGURES} | {name: "as before" for name in comparison.COMPARED}
    return b"a line before\n" + json.dumps(now | {"flops": None}).encode()


def is_images(value):
    return value.ndim == 4 and value.size > 0 and (value.dtype == np.uint8 or np.issubdtype(value.dtype, np.floating))


def is_extractor(value):
    return (
        isinstance(value, features.Extractor) and json.dumps(value.about, allow_nan=False) and value.name.isprintable()
    )


def is_benchmark(value):
    return comparison.table(dict.fromkeys(comparison.FIGURES, 2.0), value).count("\n") == len(comparison.FIGURES)


def read_kept(path):
    """Of `decoded`, which looks for its files itself; a damaged one is as good as none."""
    shutil.copy(path, decoded._path("origin"))
    return decoded.read("origin", PIXELS.shape)


def decode(path):
    return folder.decode(path, 6, 3)


def of_picture(content):
    """A reader of pictures."""
    return Reader(content, decode, lambda value: value.shape == (6, 6, 3) and value.dtype == np.uint8, most=PICTURE)


@functools.cache
def prepared_set():
    """The files of a small set of tensorflow-datasets with images and labels, as it prepares one: name to content."""
    import tensorflow_datasets

    def info(self):
        kinds = tensorflow_datasets.features
        parts = {"image": kinds.Image(shape=(8, 8, 3)), "label": kinds.ClassLabel(num_classes=3)}
        return tensorflow_datasets.core.DatasetInfo(builder=self, features=kinds.FeaturesDict(parts))

    examples = [{"image": idx._png(image), "label": number % 3} for number, image in enumerate(PIXELS)]
    fields = {
        "name": "small",
        "VERSION": tensorflow_datasets.core.Version("1.0.0"),
        "_info": info,
        "_split_generators": lambda self, dl_manager: {"train": enumerate(examples)},
        "_generate_examples": None,
    }
    kind = type("small", (tensorflow_datasets.core.GeneratorBasedBuilder,), fields, skip_registration=True)
    kind.name = "small"
    with tempfile.TemporaryDirectory() as data_dir:
        kind(data_dir=data_dir).download_and_prepare(file_format="array_record")
        return {path.name: path.read_bytes() for path in pathlib.Path(data_dir, "small", "1.0.0").iterdir()}


def of_set(name):
    """A reader of a prepared set, one file of which is damaged."""

    def read(path):
        data_dir = path.parent / "sets"
        version = data_dir / "small" / "1.0.0"
        version.mkdir(parents=True, exist_ok=True)
        for other, content in prepared_set().items():
            (version / other).write_bytes(path.read_bytes() if other.startswith(name) else content)
        values, _ = labels.load("small", "train", data_dir=str(data_dir))
        found = images.tfds("small", "train", data_dir=str(data_dir))
        # What is said to be too large to hold is read when it is asked for.
        return found.fetch(np.arange(1)) if isinstance(found, Source) else found, values

    def content():
        return next(content for other, content in prepared_set().items() if other.startswith(name))

    return Reader(content, read, lambda found: is_images(found[0]) and found[1].dtype == np.int32)


READERS = {
    "npy": Reader(lambda: npy(PIXELS), images.array_file, is_images),
    "npy of floats": Reader(lambda: npy(np.zeros((3, 4, 4), np.float32)), images.array_file, is_images),
    "npz": Reader(lambda: npz(x=npy(PIXELS)), images.array_file, is_images),
    "npz, deflated": Reader(lambda: npz(zipfile.ZIP_DEFLATED, x=npy(PIXELS)), images.array_file, is_images),
    "array in a npz": Reader(lambda: npy(PIXELS), images.array_file, is_images, lambda content: npz(images=content)),
    "kept images": Reader(lambda: npz(images=npy(PIXELS)), read_kept, lambda v: v is None or (v == PIXELS).all()),
    "classifier": Reader(lambda: npz(**weights()), features.load, is_extractor),
    "array of a classifier": Reader(
        lambda: weights()["logits.bias"],
        features.load,
        is_extractor,
        lambda content: npz(**weights() | {"logits.bias": content}),
    ),
    "text of a classifier": Reader(
        lambda: json.dumps(ABOUT).encode(),
        features.load,
        is_extractor,
        lambda content: npz(**weights(about=content.decode("latin-1"))),
    ),
    "inception": Reader(inception_like, features.load, is_extractor),
    "idx": Reader(lambda: gzip.compress(idx_file()), idx.read, lambda v: v.dtype == np.uint8),
    "idx unpacked": Reader(idx_file, idx.read, lambda v: v.dtype == np.uint8, lambda c: gzip.compress(c, 1)),
    "png": of_picture(lambda: picture("PNG")),
    "png with a palette": of_picture(lambda: picture("PNG", "P")),
    "jpeg": of_picture(lambda: picture("JPEG")),
    "jpeg in four colours": of_picture(lambda: picture("JPEG", "CMYK")),
    "gif": of_picture(animation("GIF")),
    "tiff": of_picture(lambda: picture("TIFF")),
    "tiff, deflated": of_picture(lambda: picture("TIFF", compression="tiff_deflate")),
    "tiff in Lab": of_picture(lambda: picture("TIFF", "LAB")),
    "webp": of_picture(animation("WEBP")),
    "bmp": of_picture(lambda: picture("BMP")),
    "ppm": of_picture(lambda: picture("PPM")),
    "pgm in words": of_picture(lambda: b"P2 3 3 255\n" + b" 17" * 9),
    "benchmark": Reader(compared, comparison.read, is_benchmark),
    "set, its features": of_set("features.json"),
    "set, its information": of_set("dataset_info.json"),
    "set, its records": of_set("small-train"),
}

INTEGERS = (0, 1, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
WORDS = (b"-1", b"0", b"2147483648", b"9" * 19, b"9" * 400, b"1e400", b"NaN", b"-Infinity", b"None", b"true", b'"x"')
WORDS += (b"[" * 3000, b"(" * 300, b"{}", b"\\ud800", b"1L")


def damaged(rng, content):
    """The content with some damage: bits, a part lost, doubled or moved, a number replaced, or nothing left of it."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        size = len(content)
        if not size:
            break
        # As often as not where headers and directories are.
        at = int(rng.choice([rng.integers(size), rng.integers(min(size, 64)), size - 1 - rng.integers(min(size, 64))]))
        match rng.integers(7):
            case 0:
                content[at] ^= 1 << rng.integers(8)
            case 1:
                del content[at:]
            case 2:
                start = int(rng.integers(size))
                content[at:at] = content[start : start + int(rng.integers(1, 200))]
            case 3:
                del content[at : at + int(rng.integers(1, 50))]
            case 4:
                length, order = int(rng.choice([1, 2, 4, 8])), str(rng.choice(["little", "big"]))
                number = int(rng.choice(len(INTEGERS)))
                content[at : at + length] = (INTEGERS[number] % 256**length).to_bytes(length, order)
            case 5:
                numbers = list(re.finditer(rb"[0-9]+", content[:4096]))
                if numbers:
                    start, stop = numbers[rng.integers(len(numbers))].span()
                    content[start:stop] = WORDS[rng.integers(len(WORDS))]
            case 6 if rng.integers(4) == 0:
                content[int(rng.choice([0, 8])) :] = rng.bytes(int(rng.integers(300)))
    return bytes(content)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The current directory, and the home of kept images."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "jaxgan" / "images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


REFUSED = ("inception", "tiff in Lab")
"""Readers that take no file of this test's: of the wrong size or colours, as a whole."""


def fuzz(name, count, path):
    """Reads damaged files: how many were refused; every other one gave a sound value."""
    reader, rng = READERS[name], np.random.default_rng([count, *name.encode()])
    content, refusals = reader.content(), 0
    path.write_bytes(reader.wrap(content))
    if name not in REFUSED:
        assert reader.sound(reader.read(path))  # undamaged
    for _ in range(count):
        path.write_bytes(reader.wrap(damaged(rng, content)))
        try:
            value = reader.read(path)
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 2000
            refusals += 1
        else:
            assert reader.sound(value)
            refusals += value is None
    return refusals


@pytest.mark.parametrize("count", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused(name, count, place, record_property):
    fuzz(name, 1, place / "file")  # loads what is loaded once
    with bounded(READERS[name].most, 2 + 0.05 * count):
        before = peak()
        refusals = fuzz(name, count, place / "file")
        grown = peak() - before
    for what, value in {"inputs": count, "refused": refusals, "grown": grown}.items():
        record_property(what, value)
    print(f"{name}: {count} inputs, {refusals} refused, {count - refusals} read, {grown >> 20} MB more at the peak")
    assert 0 < refusals and (refusals < count or name in REFUSED)


# What is no ordinary file


@pytest.mark.parametrize("kind", ["absent", "folder", "pipe", "device", "loop", "long", "NUL", "empty"])
@pytest.mark.parametrize("read", [images.array_file, features.load, idx.read, decode, comparison.read])
def test_what_is_no_ordinary_file_is_refused_at_once(read, kind, place):
    (place / "folder").mkdir()
    os.mkfifo(place / "pipe")
    (place / "device").symlink_to("/dev/zero")  # which never ends
    (place / "loop").symlink_to("loop")
    (place / "empty").touch()
    names = {"long": "x" * 5000, "NUL": "a\0b"}
    with bounded():
        refused(lambda: read(place / names.get(kind, kind)), "expected", length=8000)


def test_folders_pass_over_what_is_no_ordinary_file(place):
    os.mkfifo(place / "a.png")
    (place / "b.png").symlink_to("/dev/zero")
    (place / "c.png").symlink_to("c.png")
    (place / "d.png").mkdir()
    (place / "e").symlink_to(place)  # a folder in itself
    (place / "f.png").write_bytes(picture("PNG"))
    with bounded():
        assert images.folder(place, 6, 3).shape == (1, 6, 6, 3)


# Code


class Canary:
    """What, unpickled, makes a file in the current directory."""

    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('canary').touch()",)


@pytest.mark.parametrize(
    "read, content",
    [
        (images.array_file, lambda array: npy(array)),
        (images.array_file, lambda array: npz(x=npy(array))),
        (images.array_file, lambda array: array.dumps()),
        (features.load, lambda array: npz(**weights() | {"about": npy(array)})),
        (features.load, lambda array: npz(**weights() | {"logits.bias": npy(array)})),
        (features.load, lambda array: npz(**dict.fromkeys(inception.state_shapes(), npy(array)))),
        (lambda path: read_kept(path) or images.array_file(path), lambda array: npz(images=npy(array))),
    ],
)
def test_nothing_is_unpickled(read, content, place):
    array = np.array([Canary()], object)
    pickle_of_it = array.dumps()
    (place / "file").write_bytes(content(array))
    refused(lambda: read(place / "file"), place / "file", "expected")
    assert not (place / "canary").exists()
    np.load(io.BytesIO(npy(array)), allow_pickle=True)  # the canary sings where it is let
    assert (place / "canary").exists() and pickle_of_it


def test_no_program_is_started_for_a_picture(place, monkeypatch):
    """Pillow has Ghostscript draw what is PostScript, whatever the file is called."""
    script = place / "gs"
    script.write_text("#!/bin/sh\ntouch canary\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    (place / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    refused(lambda: decode(place / "a.png"), "a.png", "expected an image")
    assert not (place / "canary").exists()
    with Image.open(place / "a.png") as opened, contextlib.suppress(OSError):
        opened.load()
    assert (place / "canary").exists()  # it is what Pillow does


def test_a_prepared_set_imports_nothing(place, monkeypatch):
    monkeypatch.syspath_prepend(place)
    (place / "evil.py").write_text("import pathlib\npathlib.Path('canary').touch()\n")
    text = prepared_set()["features.json"].decode()
    for old, new in (
        (r'"pythonClassName": "[^"]*Image"', '"pythonClassName": "evil.Image"'),
        (r'"pythonClassName": "[^"]*Image"', '"python_class_name": "evil.Image"'),
        (r"^.*$", '{"type": "evil.Image", "content": {}}'),
    ):
        (place / "file").write_text(re.sub(old, new, text, flags=re.DOTALL))
        refused(lambda: READERS["set, its features"].read(place / "file"), "features.json", "evil.Image")
    assert not (place / "canary").exists()


# Memory


def zeros(count, compression=zipfile.ZIP_DEFLATED):
    """An archive of few bytes with an array of many."""
    return npz(compression, x=npy(np.zeros((count >> 16, 256, 256, 1), np.uint8)))


def sparse(path, start, end=b""):
    """A file of 64 GB that takes no room."""
    with path.open("wb") as file:
        file.write(start)
        file.seek(64 << 30)
        file.write(end or b"\0")


BIG_HEADER = b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1)


@pytest.mark.parametrize("size", [-1, 0, 13, 10**6, 2**31, 2**62, 2**63, 10**30])
@pytest.mark.parametrize("wrap", [bytes, lambda content: npz(x=content), lambda c: npz(zipfile.ZIP_DEFLATED, x=c)])
def test_a_header_that_lies_is_refused(wrap, size, place):
    content = npy(PIXELS)
    header = content[:128].replace(b"(12, 8, 8, 3), }", f"({size}, 8, 8, 3), }}".encode())
    (place / "file").write_bytes(wrap(header[:127] + b"\n" + content[128:]))
    with bounded():
        refused(lambda: images.array_file(place / "file"), place / "file", "expected")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_array_larger_than_memory_is_refused(compression, place, monkeypatch):
    (place / "file").write_bytes(zeros(128 << 20, compression))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1 << 14, "SC_PAGE_SIZE": 1 << 12}.__getitem__)
    with bounded():
        refused(lambda: images.array_file(place / "file"), "134217728 bytes", "67108864 of this machine's memory")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_array_whose_first_bytes_unpack_to_gigabytes_is_refused(compression, place):
    """Python unpacks 4 KB of such an archive at once, whatever they stand for."""
    (place / "file").write_bytes(zeros(128 << 20, compression))
    with bounded():
        refused(lambda: images.array_file(place / "file"), "compressed as NumPy does not")


@pytest.mark.parametrize("what", ["about", "logits.bias"])
def test_weights_of_the_wrong_size_are_not_read(what, place):
    many = npy(np.zeros(128 << 20, np.uint8) if what != "about" else np.array("x" * (32 << 20)))
    (place / "file").write_bytes(npz(zipfile.ZIP_DEFLATED, **weights() | {what: many}))
    del many
    with bounded():
        refused(lambda: features.load(place / "file"), what)


def test_a_header_of_gigabytes_is_not_read(place):
    sparse(place / "a.npy", BIG_HEADER)
    (place / "a.npz").write_bytes(npz(zipfile.ZIP_DEFLATED, x=BIG_HEADER + bytes(128 << 20)))
    with bounded():
        for name in ("a.npy", "a.npz"):
            refused(lambda name=name: images.array_file(place / name), name, "header")


def test_what_a_gzipped_file_unpacks_to_is_limited(place, monkeypatch):
    monkeypatch.setattr(idx, "LARGEST", 1 << 20)
    (place / "file").write_bytes(gzip.compress(b"\0\0\x08\1" + struct.pack(">I", 128 << 20) + bytes(128 << 20), 1))
    with bounded():
        refused(lambda: idx.read(place / "file"), "at most 1048576 bytes unpacked")


def test_only_the_end_of_a_long_benchmark_is_read(place):
    sparse(place / "file", b"", b"\n" + compared())
    sparse(place / "line", b"", compared().splitlines()[1])
    with bounded():
        assert is_benchmark(comparison.read(place / "file"))
        refused(lambda: comparison.read(place / "line"), "in its last line")


@pytest.mark.parametrize("side", [10**5, 2**31 - 1])
def test_a_picture_of_too_many_pixels_is_refused(side, place):
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = picture("PNG")
    (place / "a.png").write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    with bounded():
        refused(lambda: decode(place / "a.png"), "a.png", "expected an image")


# Archives and texts


def flagged(content, flag, method):
    """An archive whose member is encrypted, or compressed in an unknown way, by what the archive says."""
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = content.index(mark) + at
        content = content[:start] + struct.pack("<HH", flag, method) + content[start + 4 :]
    return content


@pytest.mark.parametrize("flag, method, says", [(1, 0, "encrypted"), (0, 99, "compressed")])
def test_unknown_archives_are_refused(flag, method, says, place):
    (place / "file").write_bytes(flagged(npz(x=npy(PIXELS)), flag, method))
    refused(lambda: images.array_file(place / "file"), "file", says)
    (place / "file").write_bytes(flagged(npz(**weights()), flag, method))
    refused(lambda: features.load(place / "file"), "file", says)


def test_names_in_an_archive_are_no_paths(place):
    (place / "folder").mkdir()
    (place / "folder" / "file").write_bytes(npz(**{"../../outside": npy(PIXELS)}))
    assert (images.array_file(place / "folder" / "file") == PIXELS).all()
    assert not list(place.rglob("outside*"))
    (place / "file").write_bytes(npz(**{f"{number}\n" + "x" * 60_000: npy(PIXELS) for number in range(3)}))
    refused(lambda: images.array_file(place / "file"), "expected one array")
    refused(lambda: features.load(place / "file"), "the array")


def test_numbers_that_no_report_can_hold_are_refused(place):
    for number in ("NaN", "Infinity", "1e400"):
        about = json.dumps(ABOUT).replace("0.5", number)
        (place / "file").write_bytes(npz(**weights(about)))
        refused(lambda: features.load(place / "file"), "expected a classifier")


@pytest.mark.parametrize(
    "value", ["NaN", "-Infinity", "1e400", "9" * 400, "9" * 9000, '"1.5"', "[1]", "true", "[" * 9999]
)
def test_figures_that_are_no_numbers_are_refused(value, place):
    (place / "file").write_bytes(compared().replace(b"null", value.encode()))
    refused(lambda: comparison.read(place / "file"), "--compare", "in its last line")


# Experiments


@pytest.mark.parametrize(
    "content",
    [b"def experiment(:\n", b"\xff\xfe", b"x = 1\0", b"# coding: nonsense\n", b"-" * 10**5 + b"1", b"(" * 300],
)
def test_an_experiment_that_is_not_python_is_refused(content, place):
    (place / "a.py").write_bytes(content)
    refused(lambda: experiments.load(str(place / "a.py")), "a.py", "expected a Python file")
    (place / "b.py").mkdir()
    os.mkfifo(place / "c.py")
    for name in ("b.py", "c.py", "d.py", "a\0.py"):
        refused(lambda name=name: experiments.load(str(place / name)), "expected a Python file")


def test_what_an_experiment_raises_is_its_own(place):
    """Its author wants the line of it, not one line of ours."""
    (place / "a.py").write_text("import no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        experiments.load(str(place / "a.py"))
