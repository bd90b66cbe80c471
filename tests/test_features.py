"""The trained extractor: it learns, it is the same each time, and its file gives back the features of that network."""

import hashlib
import json
import re

import jax
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from jaxgan.data import images, labels
from jaxgan.data.source import Source
from jaxgan.errors import InputError
from jaxgan.features import classifier, recipe

EPOCHS = 25


@pytest.fixture(scope="module")
def trained():
    lines = []
    return recipe.train("digits", seed=0, epochs=EPOCHS, say=lines.append), lines


@pytest.fixture(scope="module")
def file(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("classifier") / "digits.npz"
    classifier.save(trained[0], path)
    return path


@pytest.fixture(scope="module")
def extractor(file):
    return classifier.read(file)


@pytest.fixture(scope="module")
def test_images():
    return images.digits("test") / np.float32(127.5) - 1


def arrays_of(path):
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def same_padding(size, kernel, stride):
    """TensorFlow's: ceil(size / stride) outputs, the smaller half of the padding first."""
    total = max(stride * (-(-size // stride) - 1) + kernel - size, 0)
    return total // 2, total - total // 2


def reference(weights, x):
    """Features and logits in float64 NumPy, by the definition of a convolution."""

    def convolution(x, name, stride):
        kernel = weights[f"{name}.kernel"].astype(np.float64)
        padding = [same_padding(size, len(kernel), stride) for size in x.shape[1:3]]
        windows = sliding_window_view(np.pad(x, [(0, 0), *padding, (0, 0)]), kernel.shape[:2], axis=(1, 2))
        y = np.einsum("bhwcij,ijcf->bhwf", windows[:, ::stride, ::stride], kernel, optimize=True)
        return np.maximum(y + weights[f"{name}.bias"], 0)

    x = convolution(x.astype(np.float64), "Conv_0", 2)
    count = sum(name.endswith(".kernel") and name.startswith("Conv") for name in weights)
    for number in range(1, count):
        x = convolution(x, f"Conv_{number}", 2 if number % 2 == 0 else 1)
    x = x.reshape(len(x), -1)
    features = np.maximum(x @ weights["features.kernel"] + weights["features.bias"], 0)
    return features, features @ weights["logits.kernel"] + weights["logits.bias"]


def test_it_learns_digits(trained, test_images):
    """95 % is beyond a linear classifier of these images, and far from chance, 10 %."""
    (params, about), lines = trained
    assert about["accuracy"] > 0.95
    assert len(lines) == EPOCHS + 1
    assert f"{100 * about['accuracy']:.2f} % of 360" in lines[-1]
    losses = [float(line.rsplit(" ", 1)[1]) for line in lines[:-1]]
    assert losses[0] > 1 > 0.2 > losses[-1]


def test_the_accuracy_is_that_of_the_test_images(trained, extractor, test_images):
    _, logits = extractor.features(test_images)
    right = logits.argmax(axis=1) == labels.load("digits", "test").values
    assert trained[0].about["accuracy"] == right.mean()


def test_the_features_are_those_of_the_layer_before_the_logits(file, extractor, test_images):
    weights = arrays_of(file)
    expected = reference(weights, test_images[:50])
    for found, wanted, width in zip(extractor.features(test_images[:50]), expected, (128, 10), strict=True):
        assert found.shape == (50, width) and found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert (expected[0].std(0) > 0.01).sum() > 64  # most units are alive


@pytest.mark.parametrize("shape, layers", [((28, 28, 1), 4), ((32, 20, 3), 4), ((33, 40, 3), 6)])
def test_the_network_fits_the_size_of_the_images(shape, layers, key):
    generator = np.random.default_rng(0)
    x = generator.uniform(-1, 1, (2, *shape)).astype(np.float32)
    model = classifier.Classifier(classes=7)
    params = jax.tree.map(
        lambda leaf: generator.normal(0.02, 0.1, leaf.shape).astype(np.float32),
        jax.eval_shape(model.init, key, x)["params"],
    )
    weights = {f"{layer}.{name}": np.asarray(w) for layer, part in params.items() for name, w in part.items()}
    assert sum(name.startswith("Conv") for name in weights) == 2 * layers
    for found, expected in zip(jax.jit(model.apply)({"params": params}, x), reference(weights, x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())


def test_one_seed_is_one_file(trained, file, tmp_path):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    again = recipe.train("digits", seed=0, epochs=EPOCHS, say=lambda line: None)
    assert classifier.save(again, tmp_path / "again.npz") == digest
    assert classifier.save(trained[0], tmp_path / "again.npz") == digest  # what is there is replaced
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.npz"]
    other = recipe.train("digits", seed=1, epochs=EPOCHS, say=lambda line: None)
    for one, two in zip(jax.tree.leaves(again.params), jax.tree.leaves(other.params), strict=True):
        assert not np.allclose(one, two)


def test_what_a_file_tells(trained, file, extractor):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert extractor.name == "cnn-digits"
    assert extractor.about == trained[0].about | {"digest": digest}
    assert json.loads(json.dumps(extractor.about)) == extractor.about
    expected = {"kind": "classifier", "dataset": "digits", "seed": 0, "epochs": EPOCHS, "train_size": 1437}
    assert expected.items() <= extractor.about.items()
    assert extractor.about["image_shape"] == [8, 8, 1] and extractor.about["classes"] == 10
    assert len(repr(extractor)) < 1000  # not the weights
    assert classifier.read(file, sha256=digest.upper()).about == extractor.about
    with pytest.raises(InputError, match=f"expected the SHA-256 digest {'0' * 64}, got {digest}"):
        classifier.read(file, sha256="0" * 64)


def test_batches_do_not_change_the_features(extractor, test_images, monkeypatch):
    """More images than a batch, so that the last is filled up; and one image alone."""
    many = np.concatenate([test_images, test_images[:241]])
    together = extractor.features(many)
    assert len(many) > classifier._FEATURE_BATCH and [len(output) for output in together] == [601, 601]
    for output, alone in zip(together, extractor.features(test_images[7:8]), strict=True):
        np.testing.assert_allclose(output[7], alone[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(output[360:], output[:241], rtol=1e-5, atol=1e-5)
    assert abs(together[0][0] - together[0][1]).max() > 0.1


def test_images_are_bytes_again(extractor, test_images):
    """Less than half a level changes nothing, a whole one does; what lies outside [-1, 1] is clipped."""
    inside = test_images[:3]
    expected, _ = extractor.features(inside)
    np.testing.assert_array_equal(extractor.features(inside.astype(np.float64) - 0.49 / 127.5)[0], expected)
    np.testing.assert_array_equal(extractor.features(inside + 0.49 / 127.5)[0], expected)
    assert (extractor.features(inside + 1 / 127.5)[0] != expected).any()
    np.testing.assert_array_equal(
        extractor.features(1.5 * inside)[0], extractor.features((1.5 * inside).clip(-1, 1))[0]
    )


@pytest.mark.parametrize(
    "bad, says",
    [
        (np.zeros((2, 8, 8), np.float32), r"\[N, 8, 8, 1\], got the shape \[2, 8, 8\]"),
        (np.zeros((2, 9, 8, 1), np.float32), r"got the shape \[2, 9, 8, 1\]"),
        (np.zeros((2, 8, 8, 3), np.float32), r"got the shape \[2, 8, 8, 3\]"),
        (np.zeros((0, 8, 8, 1), np.float32), "at least one image"),
        (np.zeros((1, 8, 8, 1), np.uint8), "got uint8"),
        (np.full((1, 8, 8, 1), np.nan, np.float32), "not finite"),
        (np.full((1, 8, 8, 1), 255.0, np.float32), "from 255 to 255"),
    ],
)
def test_other_images_are_refused(extractor, bad, says):
    with pytest.raises(InputError, match=says):
        extractor.features(bad)


def told(arrays, **changes):
    """The arrays with another account of them; a change to None leaves the entry out."""
    about = json.loads(str(arrays["about"])) | changes
    return arrays | {"about": np.array(json.dumps({name: v for name, v in about.items() if v is not None}))}


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda a: {name: v for name, v in a.items() if name != "about"}, "holds something else"),
        (lambda a: {"x": np.zeros(3)}, "holds something else"),
        (lambda a: a | {"about": np.array("{")}, "holds something else"),
        (lambda a: a | {"about": np.array("[" * 100_000)}, "holds something else"),
        (lambda a: a | {"about": np.array(["{}"], object)}, "allow_pickle=False"),
        (lambda a: told(a, kind="generator"), "about is not a classifier's"),
        (lambda a: told(a, dataset=None), "about is not a classifier's"),
        (lambda a: told(a, classes=None), "holds something else"),
        (lambda a: told(a, classes=2.0), "about is not a classifier's"),
        (lambda a: told(a, image_shape=[8, 8]), "about is not a classifier's"),
        (lambda a: told(a, image_shape=[4, 8, 1]), "about is not a classifier's"),
        (lambda a: told(a, image_shape=[28, 28, 1]), "with the arrays Conv_0.bias.*Conv_3"),
        (lambda a: told(a, image_shape=[8, 8, 3]), r"Conv_0\.kernel as float32 \[5, 5, 3, 32\], got float32 \[5, 5, 1"),
        (lambda a: told(a, classes=11), r"logits\..* as float32 .*11\], got float32 .*10\]"),
        (lambda a: a | {"logits.bias": np.zeros(10)}, r"logits\.bias as float32 \[10\], got float64"),
        (lambda a: a | {"logits.bias": np.full(10, np.nan, np.float32)}, "logits.bias has values that are not finite"),
        (lambda a: a | {"more": np.zeros(1)}, "got .*more"),
    ],
)
def test_other_files_are_refused_in_one_line(file, tmp_path, change, says):
    path = tmp_path / "weights.npz"
    np.savez(path, **change(arrays_of(file)))
    with pytest.raises(
        InputError, match=rf"^{re.escape(str(path))}: expected a classifier's \.npz file.*{says}"
    ) as caught:
        classifier.read(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_npz_file_is_refused(file, tmp_path):
    path = tmp_path / "weights.npz"
    for missing in (path, tmp_path):
        with pytest.raises(InputError, match="no such file: expected a classifier's .npz file"):
            classifier.read(missing)
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1  # one bit, inside the largest array
    for content in (b"", b"PK\3\4", b"\x80\x02}q\x00.", whole[:-100], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="expected a classifier's .npz file"):
            classifier.read(path)


def test_a_file_that_cannot_be_written_is_said(trained, file, tmp_path):
    for path in (tmp_path / "nowhere" / "a.npz", tmp_path, file / "a.npz"):
        with pytest.raises(InputError, match="expected a file that can be written") as caught:
            classifier.save(trained[0], path)
        assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_images_are_shifted_each_by_its_own(key):
    side = 28
    image = np.arange(side * side, dtype=np.float32).reshape(side, side, 1)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    moves = {
        padded[row : row + side, column : column + side].tobytes(): (row - 1, column - 1)
        for row in range(3)
        for column in range(3)
    }
    shifted = np.asarray(jax.jit(recipe._shifted)(key, np.stack([image] * 300)))
    assert {moves[one.tobytes()] for one in shifted} == set(moves.values())
    small = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(recipe._shifted(key, small), small)  # digits fill their 8 by 8 pixels


def test_what_cannot_be_trained_on_is_refused(tmp_path, monkeypatch):
    def refused(says, dataset="digits", **arguments):
        with pytest.raises(InputError, match=says) as caught:
            recipe.train(dataset, **arguments)
        assert "\n" not in str(caught.value)

    refused("epochs: expected at least 1, got 0", epochs=0)
    refused("folders and files of images have no labels", dataset=str(tmp_path))
    monkeypatch.setattr(labels, "load", lambda *arguments, **more: labels.Labels(np.zeros(9, np.int32), 2))
    monkeypatch.setattr(images, "tfds", lambda *arguments, **more: np.zeros((9, 7, 9, 3), np.uint8))
    refused(r"at least 8 by 8 pixels, got \[7, 9, 3\]", dataset="small")
    monkeypatch.setattr(images, "tfds", lambda *arguments, **more: Source(9, (64, 64, 3), None))
    refused("fit into memory", dataset="large")


def test_colour_images(monkeypatch, tmp_path):
    """A set of few images, neither grey nor square: smaller than a batch, a class for each colour."""

    def colours(dataset, split, *where):
        values = np.arange(60, dtype=np.int32) % 3
        pixels = np.random.default_rng(len(split)).integers(0, 100, (60, 9, 12, 3))
        pixels[np.arange(60), :, :, values] += 100
        return pixels.astype(np.uint8), labels.Labels(values, 3)

    monkeypatch.setattr(recipe, "_labelled", colours)
    classifier.save(recipe.train("colours", epochs=30, say=lambda line: None), tmp_path / "a.npz")
    extractor = classifier.read(tmp_path / "a.npz")
    assert extractor.about["image_shape"] == [9, 12, 3] and extractor.about["accuracy"] == 1


@pytest.mark.slow
def test_mnist(data_sets, tmp_path):
    """99.3 %: the classifiers that samples of MNIST are judged by have about that."""
    trained = recipe.train("mnist", data_dir=str(tmp_path), manual_dir=str(data_sets / "mnist"))
    assert trained.about["train_size"] == 60000
    assert trained.about["accuracy"] >= 0.993
