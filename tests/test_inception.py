"""The Inception features against torch-fidelity's and pytorch-fid's, with made-up weights: references/inception.py."""

import hashlib
import json
import pathlib
import re
import tempfile

import numpy as np
import pytest
from references.inception import GOLDEN, PROBE, RESIZED, images, made_up_weights

from jaxgan.errors import InputError
from jaxgan.features.inception import inception, state_shapes
from jaxgan.features.resize import resize_bilinear_tf1


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def file():
    """Made-up weights, with one of the counters that PyTorch puts into a state dict, and that older files lack."""
    with tempfile.TemporaryDirectory() as folder:  # 96 MB, which pytest's own folder would keep
        path = pathlib.Path(folder, "weights.npz")
        counter = {"Mixed_7c.branch_pool.bn.num_batches_tracked": np.array(0)}
        np.savez(path, **made_up_weights(state_shapes()), **counter)
        yield path


@pytest.fixture(scope="module")
def first():
    """Weights that are right up to the end of the first convolution, then only by their names, so the file is small."""
    shapes = state_shapes()
    whole = {name: shape for name, shape in shapes.items() if name.startswith(("fc.", "Conv2d_1a_3x3."))}
    return made_up_weights(whole | {name: (1,) for name in shapes.keys() - whole})


@pytest.fixture(scope="module")
def extractor(file):
    return inception(file, batch_size=2)


def floats(pixels):
    return pixels / np.float32(127.5) - 1


def distance(found, expected):
    return np.linalg.norm(found.astype(np.float64) - expected) / np.linalg.norm(expected)


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def without(arrays, name):
    return {key: value for key, value in arrays.items() if key != name}


def test_names_and_shapes_are_those_of_the_state_dict(golden):
    """torch-fidelity's own; the generator of the golden values loads them into pytorch-fid's network strictly."""
    expected = {name: tuple(shape) for name, shape in json.loads(str(golden["shapes"])).items()}
    assert len(expected) == 94 * 5 + 2
    assert state_shapes() == expected


@pytest.mark.parametrize("kind", ["square", "grey"])
def test_features_and_logits_are_those_of_torch_fidelity(extractor, golden, kind):
    """In float32 torch-fidelity itself is 2e-7 (features) and 4e-7 (logits) from the same network in float64.

    The differences between the images are compared too: what all images have in common would hide an error.
    """
    for found, name, size in zip(
        extractor.features(floats(images(*RESIZED[kind]))), ("features", "logits"), (2048, 1008), strict=True
    ):
        expected = golden[f"{name}_{kind}"].astype(np.float64)
        assert found.shape == (2, size) and found.dtype == np.float32
        assert distance(found, expected) < 3e-6
        assert distance(found[0] - found[1], expected[0] - expected[1]) < 3e-5


def test_golden_values_can_tell(golden):
    """Features differ between the images by far more than the tolerance, are alive, and two networks agree on them."""
    about = json.loads(str(golden["about"]))
    for kind in ("square", "grey"):
        assert about[kind]["of the two images from each other, relative distance"] > 0.1
        assert 0.1 < about[kind]["mean square of the features"] < 10
        assert about[kind]["of pytorch-fid's blocks, relative distance"] < 1e-6


@pytest.mark.parametrize("kind", RESIZED)
def test_resizing_is_that_of_torch_fidelity(golden, kind):
    pixels = images(*RESIZED[kind]).astype(np.float32)
    found = np.asarray(resize_bilinear_tf1(pixels, 299, 299))
    assert found.shape == (2, 299, 299, pixels.shape[-1])
    expected = golden[f"resized_{kind}"]
    found = np.broadcast_to(found[:, ::PROBE, ::PROBE], expected.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-5)  # of 255


@pytest.mark.parametrize("height, width", [(11, 4), (3, 14), (5, 7), (1, 1)])
def test_resizing_against_a_plain_loop(height, width):
    """The definition of TensorFlow's `ResizeBilinear`, one pixel after another in float64."""
    image = np.random.default_rng(0).uniform(0, 255, (5, 7))
    expected = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            row, column = i * 5 / height, j * 7 / width
            top, left = int(row), int(column)
            bottom, right = min(top + 1, 4), min(left + 1, 6)
            upper = image[top, left] + (image[top, right] - image[top, left]) * (column - left)
            lower = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * (column - left)
            expected[i, j] = upper + (lower - upper) * (row - top)
    found = resize_bilinear_tf1(image.astype(np.float32)[None, :, :, None], height, width)
    np.testing.assert_allclose(found[0, :, :, 0], expected, rtol=0, atol=2e-4)


def test_resizing_keeps_an_image_of_the_right_size():
    pixels = images(6, 5, 3).astype(np.float32)
    np.testing.assert_array_equal(resize_bilinear_tf1(pixels, 6, 5), pixels)


def test_grey_is_three_equal_channels(extractor):
    grey = floats(images(28, 28, 1))
    for one, three in zip(extractor.features(grey), extractor.features(grey.repeat(3, axis=-1)), strict=True):
        np.testing.assert_array_equal(one, three)


def test_batches_do_not_change_the_features(extractor):
    """Three images in batches of two: the last is filled up, and what fills it is not returned."""
    three = floats(np.concatenate([images(32, 32, 3), images(32, 32, 3)[:1]]))[[1, 0, 2]]
    together = extractor.features(three)
    assert [len(output) for output in together] == [3, 3]
    for i in range(3):
        for alone, output in zip(extractor.features(three[i : i + 1]), together, strict=True):
            assert distance(output[i], alone[0]) < 1e-6
    assert distance(together[0][0], together[0][1]) > 0.01


def test_images_are_bytes_again(extractor):
    """Every level survives its way through [-1, 1]; less than half a level changes nothing, a whole one does."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    expected, _ = extractor.features(floats(levels))
    np.testing.assert_array_equal(extractor.features(floats(levels) + 0.49 / 127.5)[0], expected)
    np.testing.assert_array_equal(extractor.features(floats(levels).astype(np.float64) - 0.49 / 127.5)[0], expected)
    assert (extractor.features(floats(levels) + 1 / 127.5)[0] != expected).any()


def test_what_lies_outside_is_clipped(extractor):
    image = 1.5 * floats(images(8, 8, 3)[:1])
    np.testing.assert_array_equal(extractor.features(image)[0], extractor.features(image.clip(-1, 1))[0])


@pytest.mark.parametrize(
    "bad, says",
    [
        (np.zeros((2, 8, 8), np.float32), r"got the shape \[2, 8, 8\]"),
        (np.zeros((2, 8, 8, 2), np.float32), r"got the shape \[2, 8, 8, 2\]"),
        (np.zeros((0, 8, 8, 3), np.float32), "at least one image"),
        (np.zeros((1, 8, 8, 3), np.uint8), "got uint8"),
        (np.full((1, 8, 8, 3), np.nan, np.float32), "not finite"),
        (np.full((1, 8, 8, 3), 255.0, np.float32), "from 255 to 255"),
    ],
)
def test_what_are_no_such_images_is_refused(extractor, bad, says):
    with pytest.raises(InputError, match=says):
        extractor.features(bad)


def test_the_digest_is_reported_and_checked(extractor, file):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert extractor.name == "inception"
    assert extractor.about == {"digest": digest}
    assert json.loads(json.dumps(extractor.about)) == extractor.about
    assert len(repr(extractor)) < 1000  # not 22 million weights
    assert inception(file, sha256=digest.upper()).about == extractor.about
    with pytest.raises(InputError, match=f"expected the SHA-256 digest {'0' * 64}, got {digest}"):
        inception(file, sha256="0" * 64)


@pytest.mark.parametrize(
    "change, says",
    [
        (
            lambda s: without(s, "Mixed_6b.branch7x7_2.bn.bias"),
            r"Mixed_6b\.branch7x7_2\.bn\.bias is missing \(1 in all\)",
        ),
        (lambda s: without(s, "fc.bias"), r"fc\.bias is missing"),
        (lambda s: {"x": np.zeros(3)}, r"Conv2d_1a_3x3\.bn\.bias is missing \(472 in all\)"),
        (lambda s: s | {"AuxLogits.fc.bias": np.zeros(1000)}, r"AuxLogits\.fc\.bias is unknown \(1 in all\)"),
        (
            lambda s: s | {"fc.weight": np.zeros((1000, 2048), np.float32)},  # torchvision's own classes
            r"fc\.weight as floats \[1008, 2048\], got float32 \[1000, 2048\]",
        ),
        (lambda s: s | {"fc.bias": np.zeros(1008, np.int32)}, r"fc\.bias as floats \[1008\], got int32 \[1008\]"),
        (lambda s: s | {"fc.bias": np.full(1008, np.nan)}, r"fc\.bias has values that are not finite"),
        (lambda s: s | {"Conv2d_1a_3x3.bn.running_var": np.full(32, -1.0)}, r"running_var has .* below zero"),
        (lambda s: s, r"Conv2d_2a_3x3\.conv\.weight as floats \[32, 32, 3, 3\], got float32 \[1\]"),
        (lambda s: s | {"fc.bias": np.array([None] * 1008)}, "allow_pickle=False"),
    ],
    ids=["missing", "no-bias", "another-file", "unknown", "shape", "integers", "nan", "variance", "next", "pickle"],
)
def test_other_weights_are_refused_in_one_line(first, tmp_path, change, says):
    path = save(tmp_path / "weights.npz", change(first))
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: .*{says}") as caught:
        inception(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_npz_file_is_refused(first, tmp_path):
    path = tmp_path / "weights.npz"
    with pytest.raises(InputError, match="no such file"):
        inception(path)
    np.save(tmp_path / "weights.npy", np.zeros(3))
    for content in (b"", b"PK\3\4", b"\x80\x02}q\x00.", (tmp_path / "weights.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"expected a \.npz file of Inception weights"):
            inception(path)
    damaged = bytearray(save(path, first).read_bytes())
    damaged[len(damaged) // 2] ^= 1  # one bit, inside the largest array
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="expected a .npz file of Inception weights, got .*CRC"):
        inception(path)
