"""Sets of tensorflow-datasets: prepared without TensorFlow, read by the stock reader, refused fast and in one line."""

import errno
import functools
import gzip
import http.server
import importlib.metadata
import importlib.util
import os
import pathlib
import shutil
import sys
import threading
import time
import types

import numpy as np
import pytest
import requests
import tensorflow_datasets
from checks import refused

from jaxgan.data import images, labels, source
from jaxgan.data import tfds as sets
from jaxgan.data.source import Source
from jaxgan.data.split import some, train_and_test

FOLDERS = {"mnist": "mnist", "fashion_mnist": "fashion-mnist"}


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory, monkeypatch):
    """Every test keeps its decoded images to itself."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def decoded(monkeypatch):
    """The images that tensorflow-datasets has decoded since, encoded."""
    kind, seen = tensorflow_datasets.features.Image, []
    decode = kind.decode_example_np
    monkeypatch.setattr(kind, "decode_example_np", lambda self, image: (seen.append(image), decode(self, image))[1])
    return seen


@pytest.fixture(scope="session")
def prepared_dir(tmp_path_factory):
    """One data directory for the session: each set is prepared in it by the first test that asks for it."""
    return str(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def prepared(data_sets, prepared_dir):
    """MNIST prepared from the official files in a folder: the data directory."""
    images.tfds("mnist", "test[:1]", data_dir=prepared_dir, manual_dir=str(data_sets / "mnist"))
    return prepared_dir


@pytest.fixture
def no_network(monkeypatch):
    """Counts the hosts asked for; none answers."""
    asked = []

    def unreachable(url, **kwargs):
        asked.append(url)
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "head", unreachable)
    return asked


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture
def mirror(data_sets, monkeypatch):
    """Serves Fashion-MNIST from this machine, wherever it is asked for."""
    handler = functools.partial(_QuietHandler, directory=str(data_sets / "fashion-mnist"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    ask = requests.Session.request

    def request(session, method, url, **kwargs):
        return ask(session, method, f"http://127.0.0.1:{server.server_port}/{url.rsplit('/', 1)[1]}", **kwargs)

    monkeypatch.setattr(requests.Session, "request", request)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def official(folder, split):
    """The images and labels of the official files, parsed by hand."""
    prefix = {"train": "train", "test": "t10k"}[split]
    pixels = gzip.decompress((folder / f"{prefix}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())[8:]
    return np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28, 1), np.frombuffer(labels, np.uint8)


def labelled(pixels, labels):
    return sorted(image.tobytes() + bytes([label]) for image, label in zip(pixels, labels, strict=True))


@pytest.mark.parametrize("name", ["mnist", pytest.param("fashion_mnist", marks=pytest.mark.slow)])
def test_prepared_is_every_official_image_with_its_label(name, data_sets, prepared_dir):
    manual_dir = data_sets / FOLDERS[name]
    read = images.load(name, "test", size=28, channels=1, data_dir=prepared_dir, manual_dir=str(manual_dir))
    assert "tensorflow" not in sys.modules
    assert read.dtype == np.uint8 and read.shape == (10000, 28, 28, 1)
    # The stock reader of tensorflow-datasets reads the same, in the same order.
    stock = tensorflow_datasets.data_source(name, data_dir=prepared_dir)
    assert len(stock["train"]) == 60000
    examples = stock["test"].__getitems__(list(range(10000)))
    np.testing.assert_array_equal(read, [example["image"] for example in examples])
    expected = official(manual_dir, "test")
    assert labelled(read, [example["label"] for example in examples]) == labelled(*expected)
    # Labels are those of the images, in their order, which is not that of the official files.
    values, classes = labels.load(name, "test", data_dir=prepared_dir)
    assert values.dtype == np.int32 and values.shape == (10000,) and classes == 10
    assert labelled(read, values) == labelled(*expected)
    assert (values != expected[1]).any()
    known = set(labelled(*official(manual_dir, "train")))
    some = stock["train"].__getitems__(list(range(0, 60000, 60)))
    assert set(labelled([example["image"] for example in some], [example["label"] for example in some])) <= known
    # The stock builder knows it as its own.
    info = tensorflow_datasets.builder(name, data_dir=prepared_dir).info
    assert info.full_name == f"{name}/3.0.1"
    assert {split: part.num_examples for split, part in info.splits.items()} == {"train": 60000, "test": 10000}
    assert info.features["label"].num_classes == 10


def test_fashion_mnist_from_a_download(data_sets, tmp_path, mirror, monkeypatch):
    """The four files are fetched and verified whole; to be quick, the first 3,000 examples of each are prepared."""
    read = sets.idx.read
    monkeypatch.setattr(sets.idx, "read", lambda path: read(path)[:3000])
    prepared = images.tfds("fashion_mnist", "train", data_dir=str(tmp_path))
    pixels, labels = official(data_sets / "fashion-mnist", "train")
    stock = tensorflow_datasets.data_source("fashion_mnist", split="train", data_dir=tmp_path)
    examples = stock.__getitems__(list(range(3000)))
    np.testing.assert_array_equal(prepared, [example["image"] for example in examples])
    assert labelled(prepared, [example["label"] for example in examples]) == labelled(pixels[:3000], labels[:3000])


def test_prepared_sets_ask_no_network(prepared, no_network, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", prepared)
    assert images.load("mnist", "train[:30]", size=28, channels=1).shape == (30, 28, 28, 1)
    assert images.load("mnist:3.0.1", "train[:10]+test[:5]", size=28, channels=1).shape == (15, 28, 28, 1)
    assert no_network == []


def test_labels_of_parts_are_those_of_their_images(prepared, data_sets, monkeypatch):
    split = "train[100:1400]+test[:5]"  # more than are read at a time
    monkeypatch.setenv("TFDS_DATA_DIR", prepared)
    values, classes = labels.load("mnist:3.0.1", split)
    pairs = labelled(images.tfds("mnist", split), values)
    assert len(values) == 1305 and classes == 10
    assert set(pairs) <= {pair for part in ("train", "test") for pair in labelled(*official(data_sets / "mnist", part))}
    refused(lambda: labels.load("mnist", "validation"), "train, test", "'validation'")


def test_large_sets_are_read_as_needed(prepared, monkeypatch):
    held = images.tfds("mnist", "test[:50]", data_dir=prepared)
    monkeypatch.setattr(source, "HOLD_BYTES", 1000)
    lazy = images.load("mnist", "test[:50]", size=28, channels=1, data_dir=prepared)
    assert isinstance(lazy, Source) and (lazy.size, lazy.image_shape) == (50, (28, 28, 1))
    data = images.dataset(lazy, batch_size=50)
    np.testing.assert_array_equal(data.feed(0, 3), held[images.indices_at(0, 3, 50, 50)])


def test_read_refuses(prepared, tmp_path):
    def load(name="mnist", split="test", size=28, channels=1, data_dir=prepared):
        return lambda: images.load(name, split, size=size, channels=channels, data_dir=str(data_dir))

    refused(load(size=32, channels=3), "mnist", "[32, 32, 3]", "[28, 28, 1]")
    for split in ("validation", "train[:", "train[70000:]", ""):
        refused(load(split=split), "train, test", "train[:10%]", repr(split))
    refused(load(split="train[:0%]"), "at least one image", "'train[:0%]'")
    refused(load("mnist:9.9.9"), "'mnist:9.9.9'", "3.0.1")
    refused(load("mnist_corrupted/rust"), "'mnist_corrupted/rust'", "rust not found")
    whole = pathlib.Path(prepared, "mnist", "3.0.1")
    part = tmp_path / "mnist" / "3.0.1"
    shutil.copytree(whole, part)
    next(part.glob("mnist-test*")).unlink()
    refused(load(data_dir=tmp_path), "not whole", part)
    (part / "dataset_info.json").unlink()
    refused(load(data_dir=tmp_path), part, "a part of one", "remove")


@pytest.fixture
def write(tmp_path):
    """Writes a set, of one example if nothing else is said, made by code of this file, to `tmp_path`."""

    def write(name, features, example=None, file_format="array_record", **splits):
        def info(self):
            return tensorflow_datasets.core.DatasetInfo(
                builder=self, features=tensorflow_datasets.features.FeaturesDict(features)
            )

        fields = {
            "name": name,
            "VERSION": tensorflow_datasets.core.Version("1.0.0"),
            "_info": info,
            "_split_generators": lambda self, dl_manager: {
                split: enumerate(examples) for split, examples in (splits or {"train": [example]}).items()
            },
            "_generate_examples": None,
        }
        kind = type(name, (tensorflow_datasets.core.GeneratorBasedBuilder,), fields, skip_registration=True)
        kind.name = name
        kind(data_dir=tmp_path).download_and_prepare(file_format=file_format)
        return lambda: images.tfds(name, "train", data_dir=str(tmp_path))

    return write


def test_sets_of_other_things_are_refused(write, tmp_path):
    features = tensorflow_datasets.features
    png = sets.idx._png(np.zeros((4, 4, 3), np.uint8))
    refused(write("things", {"count": features.Scalar(np.int64)}, {"count": 1}), "things", "an image", "count")
    refused(write("sizes", {"image": features.Image(shape=(None, None, 3))}, {"image": png}), "one size", "None")
    named = write("named", {"photo": features.Image(shape=(4, 4, 3)), "count": np.int64}, {"photo": png, "count": 1})
    assert named().shape == (1, 4, 4, 3)
    columns = write("columns", {"image": features.Image(shape=(4, 4, 3))}, {"image": png}, file_format="parquet")
    refused(columns, "array_record", "parquet", tmp_path)


def test_labels_that_are_none_are_refused(write, tmp_path):
    features = tensorflow_datasets.features
    image, png = features.Image(shape=(4, 4, 3)), sets.idx._png(np.zeros((4, 4, 3), np.uint8))

    def read(name, label, value):
        write(name, {"image": image, **label}, {"image": png, **value})
        return lambda: labels.load(name, "train", data_dir=str(tmp_path))

    kept = {"label": features.ClassLabel(num_classes=3)}
    values, classes = read("labelled", kept, {"label": 2})()
    assert values.tolist() == [2] and classes == 3
    refused(read("unknown", kept, {"label": -1}), "unknown", "a label to every example", "'train'")
    refused(read("unlabelled", {}, {}), "unlabelled", "class labels", "image")
    refused(read("measured", {"label": features.Scalar(np.float32)}, {"label": 0.5}), "measured", "class labels")


def test_no_network_is_said_at_once(tmp_path):
    """No stand-in for the network here: a name under .invalid resolves nowhere (RFC 2606)."""
    url = "http://nowhere.invalid/train-images-idx3-ubyte.gz"
    stock = types.SimpleNamespace(
        name="mnist", data_path=tmp_path / "mnist", url_infos={url: None}, MANUAL_DOWNLOAD_INSTRUCTIONS=None
    )
    start = time.perf_counter()
    refused(lambda: sets._check_files(stock, ""), url, "cannot be reached", "--manual-dir", "--data-dir")
    assert time.perf_counter() - start < 15


@pytest.mark.parametrize("name", FOLDERS)
def test_without_files_and_network(name, tmp_path, no_network):
    fragments = ["train-labels-idx1-ubyte.gz", "--manual-dir", "--data-dir", tmp_path / name]
    refused(lambda: images.tfds(name, "train", data_dir=str(tmp_path)), *fragments)
    assert len(no_network) == 1 and no_network[0].endswith(".gz")
    assert os.listdir(tmp_path) == []


def test_manual_dir_must_hold_the_official_files(data_sets, tmp_path, no_network):
    given, data_dir = tmp_path / "given", tmp_path / "sets"

    def prepare():
        images.tfds("mnist", "train", data_dir=str(data_dir), manual_dir=str(given))

    refused(prepare, given, "no such folder")
    shutil.copytree(data_sets / "mnist", given)
    file = given / "t10k-labels-idx1-ubyte.gz"
    file.chmod(0o644)
    given.chmod(0o755)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"\1")
    refused(prepare, file, "expected the SHA-256 f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6")
    file.unlink()
    refused(prepare, given, "t10k-labels-idx1-ubyte.gz")
    # The files of the two sets have the same names.
    given = data_sets / "fashion-mnist"
    refused(prepare, given, "SHA-256")
    assert no_network == [] and not data_dir.exists()


def test_data_dir_must_be_writable(data_sets, tmp_path):
    def prepare(data_dir):
        return lambda: images.tfds("mnist", "train", data_dir=str(data_dir), manual_dir=str(data_sets / "mnist"))

    (tmp_path / "file").write_text("no folder")
    refused(prepare(tmp_path / "file" / "sets"), tmp_path / "file" / "sets", "cannot be written", "--data-dir")
    refused(prepare(tmp_path / "file"), tmp_path / "file", "cannot be written")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    if os.geteuid() != 0:  # root writes everywhere
        refused(prepare(closed), closed, "cannot be written", "Permission denied")


def test_a_preparation_cut_short_is_not_taken_for_a_whole_one(data_sets, tmp_path, monkeypatch):
    encode, count = sets.idx._png, 0

    def stop_at_the_hundredth(image):
        nonlocal count
        count += 1
        if count == 100:
            raise KeyboardInterrupt
        return encode(image)

    def prepare():
        return images.tfds("mnist", "test", data_dir=str(tmp_path), manual_dir=str(data_sets / "mnist"))

    monkeypatch.setattr(sets.idx, "_png", stop_at_the_hundredth)
    with pytest.raises(KeyboardInterrupt):
        prepare()
    assert os.listdir(tmp_path / "mnist") == []
    # What a process leaves that was killed, and could not clear up, is passed over.
    shutil.copytree(data_sets / "mnist", tmp_path / "mnist" / "incomplete.ABCDEF_3.0.1")
    count = 0
    with pytest.raises(KeyboardInterrupt):
        prepare()


@pytest.mark.parametrize("prepared_by_another", [True, False])
def test_two_processes_may_prepare_one_set(data_sets, prepared, tmp_path, monkeypatch, prepared_by_another):
    class Late:
        def download_and_prepare(self, **kwargs):
            if prepared_by_another:
                shutil.copytree(pathlib.Path(prepared, "mnist"), tmp_path / "mnist", dirs_exist_ok=True)
            raise OSError(errno.ENOTEMPTY, "Directory not empty")

    monkeypatch.setattr(sets.idx, "builder", lambda name, data_dir: Late())

    def prepare():
        return images.tfds("mnist", "test[:3]", data_dir=str(tmp_path), manual_dir=str(data_sets / "mnist"))

    if prepared_by_another:
        assert prepare().shape == (3, 28, 28, 1)
    else:
        with pytest.raises(OSError, match="not empty"):
            prepare()


def test_a_download_that_fails(tmp_path, mirror):
    mirror.RequestHandlerClass = functools.partial(_QuietHandler, directory=str(tmp_path))
    data_dir = tmp_path / "sets"
    refused(
        lambda: images.tfds("fashion_mnist", "train", data_dir=str(data_dir)), "download failed", "404", "--manual-dir"
    )
    assert list((data_dir / "fashion_mnist").iterdir()) == []


def test_other_sets_need_tensorflow(tmp_path, no_network, monkeypatch):
    def load():
        images.tfds("cifar10", "train", data_dir=str(tmp_path))

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refused(load, "cifar10", "pip install 'jaxgan[tensorflow]'", tmp_path)
    assert no_network == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    refused(load, "cifar10", "cannot be reached", "--manual-dir")
    assert len(no_network) == 1
    refused(lambda: images.tfds("imagenet2012", "train", data_dir=str(tmp_path)), "imagenet2012", "by hand")
    assert os.listdir(tmp_path) == []


# What is decoded when, and what is kept


@pytest.fixture
def small(write, tmp_path):
    """Writes 20 images to train on and 8 to test on: their pixels."""

    def write_small(seed=0, *parts, name="small"):
        pixels = np.random.default_rng(seed).integers(0, 256, (28, 8, 8, 3), np.uint8)
        examples = [{"image": sets.idx._png(image)} for image in pixels]
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        splits = {"train": examples[:20], "test": examples[20:]}
        image = tensorflow_datasets.features.Image(shape=(8, 8, 3))
        write(name, {"image": image}, **{part: splits[part] for part in parts or splits})
        return pixels

    return write_small


def same(read, pixels):
    """Whether these are the same images, in any order: tensorflow-datasets shuffles what it writes."""
    return sorted(map(bytes, read)) == sorted(map(bytes, pixels))


def test_test_images_are_decoded_when_they_are_asked_for(small, tmp_path, decoded):
    pixels = small()
    train, held_out = train_and_test("small", size=8, channels=3, data_dir=str(tmp_path))
    assert isinstance(train, np.ndarray) and same(train, pixels[:20]) and len(decoded) == 20
    assert held_out.size == 8
    few = some(held_out, 3)
    assert len(few) == 3 and len(decoded) == 23
    every = some(held_out, 8)
    assert same(np.round((every + 1) * 127.5).astype(np.uint8), pixels[20:])
    np.testing.assert_array_equal(few, every[[0, 2, 5]])  # spaced


def test_test_images_that_cannot_be_had_are_refused_at_once(small, tmp_path, decoded):
    def load(size=8):
        return lambda: train_and_test("small", size=size, channels=3, data_dir=str(tmp_path))

    small(0, "train")
    refused(load(), "split of small", "expected one of train", "'test'")
    small()
    refused(load(size=16), "[16, 16, 3]", "[8, 8, 3]")
    next(tmp_path.glob("small/*/small-test*")).unlink()
    refused(load(), "not whole")


def test_images_are_decoded_once(small, tmp_path, decoded):
    def read(split="train"):
        before = len(decoded)
        pixels = images.tfds("small", split, data_dir=str(tmp_path))
        return pixels, len(decoded) - before

    small()
    stock = tensorflow_datasets.data_source("small", split="train", data_dir=tmp_path)
    expected = [example["image"] for example in stock]
    for count in (20, 0, 0):
        pixels, fresh = read()
        assert fresh == count and pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, expected)
    # Another part is another set, also where it is as large; the same part by another name is not.
    np.testing.assert_array_equal(read("train[10:]")[0], expected[10:])
    np.testing.assert_array_equal(read("train[:10]")[0], expected[:10])
    assert read("train[:100%]")[1] == 0


def test_what_was_decoded_from_other_files_or_by_others_is_not_used(small, tmp_path, decoded, monkeypatch):
    def fresh():
        before = len(decoded)
        return images.tfds("small", "train", data_dir=str(tmp_path)), len(decoded) - before

    small()
    assert fresh()[1] == 20
    other = small(seed=1)
    pixels, count = fresh()
    assert count == 20 and same(pixels, other[:20])
    record = next(tmp_path.glob("small/*/small-train*"))
    os.utime(record, ns=(0, record.stat().st_mtime_ns + 1))
    assert fresh()[1] == 20 and fresh()[1] == 0
    found = types.SimpleNamespace(version="99.0")
    monkeypatch.setattr(importlib.metadata, "distributions", lambda name: [found] * (name == "pillow"))
    assert fresh()[1] == 20 and fresh()[1] == 0
