# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.13.0", "torch-fidelity==0.4.0", "pytorch-fid==0.3.0", "numpy==2.4.6", "scipy==1.17.1"]
# ///
"""Writes inception.npz: what torch-fidelity's and pytorch-fid's Inception make of fixed images with made-up weights.

    python tests/references/inception.py

Weights and images come from NumPy's seeds, here and in the test alike, so neither is stored and nothing is downloaded.
torchvision, which both packages import, stands empty; of pytorch-fid's network, which replaces blocks A, C and E of
torchvision's, those blocks run as it wrote them, and the stem and the blocks B and D are torch-fidelity's.
"""

import importlib.metadata
import json
import pathlib
import sys
import types
import unittest.mock
import zlib

import numpy as np

GOLDEN = pathlib.Path(__file__).with_suffix(".npz")
RESIZED = {"square": (32, 32, 3), "grey": (28, 28, 1), "wide": (17, 40, 3), "large": (350, 310, 3), "same": (299, 1, 1)}
PROBE = 13  # every 13th row and column of a resized image is stored


def made_up_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Arrays of a state dict, each from its own name, such that activations neither die out nor grow."""
    return {
        name: _made_up(np.random.default_rng(zlib.crc32(name.encode())), name, shape) for name, shape in shapes.items()
    }


def _made_up(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name.endswith("running_var") or name.endswith("bn.weight"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) == 1:
        return (0.1 * rng.standard_normal(shape, np.float32)).astype(np.float32)
    return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))


def images(height: int, width: int, channels: int, count: int = 2) -> np.ndarray:
    """Bytes `[count, height, width, channels]`: noise on steps of light, so that images differ in the large too."""
    rng = np.random.default_rng(zlib.crc32(f"{height} {width} {channels}".encode()))
    light = rng.integers(0, 200, (count, 2, 2, channels)).repeat(-(-height // 2), 1).repeat(-(-width // 2), 2)
    return (light[:, :height, :width] + rng.integers(0, 56, (count, height, width, channels))).astype(np.uint8)


def main():
    import torch

    vision = unittest.mock.MagicMock(__version__="0.28.0")  # what is not replaced below is imported and never called
    for name in ("", ".datasets", ".models", ".transforms", ".transforms.functional"):
        sys.modules[f"torchvision{name}"] = vision
    import torch_fidelity
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    def fidelity_network():
        # the constructor downloads weights and loads them: it gets none, then the strict loading is done for real
        with (
            unittest.mock.patch.object(fidelity, "load_state_dict_from_url"),
            unittest.mock.patch.object(torch.nn.Module, "load_state_dict"),
        ):
            network = fidelity.FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"])
        shapes = {name: tuple(value.shape) for name, value in network.state_dict().items() if value.ndim}
        network.load_state_dict(
            {name: torch.from_numpy(x) for name, x in made_up_weights(shapes).items()}, strict=False
        )
        return network, shapes

    network, shapes = fidelity_network()
    exact = fidelity_network()[0].double()
    exact.feature_extractor_internal_dtype = torch.float64  # given by name, "float64" means torch.float32 in 0.4.0

    vision.models.inception = types.SimpleNamespace(
        InceptionA=fidelity.InceptionA, InceptionC=fidelity.InceptionC, InceptionE=fidelity.InceptionE_1
    )
    vision.models.inception_v3 = lambda **_: fidelity_network()[0]
    from pytorch_fid import inception as fid

    with unittest.mock.patch.object(fid, "load_state_dict_from_url", lambda *_, **__: network.state_dict()):
        other = fid.InceptionV3(resize_input=False, normalize_input=False).eval()  # loads strictly: the names agree

    def nchw(pixels):
        pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3)).transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(pixels))

    def resize(pixels):
        return interpolate_bilinear_2d_like_tensorflow1x(pixels.to(torch.float32), size=(299, 299), align_corners=False)

    def distance(a, b):
        return float(np.linalg.norm(a - b) / np.linalg.norm(b))

    golden, about = {"shapes": np.array(json.dumps(shapes))}, {}
    for kind, shape in RESIZED.items():
        golden[f"resized_{kind}"] = resize(nchw(images(*shape))).numpy().transpose(0, 2, 3, 1)[:, ::PROBE, ::PROBE]
    for kind in ("square", "grey"):
        pixels = nchw(images(*RESIZED[kind]))
        with torch.no_grad():
            features, logits = (value.numpy() for value in network(pixels))
            in_float64 = [value.numpy() for value in exact(pixels)]
            of_other = other((resize(pixels) - 128) / 128)[0][:, :, 0, 0].numpy()
        golden |= {f"features_{kind}": features, f"logits_{kind}": logits}
        about[kind] = {
            "of pytorch-fid's blocks, relative distance": distance(of_other, features),
            "of float64 features, relative distance": distance(in_float64[0], features),
            "of float64 logits, relative distance": distance(in_float64[1], logits),
            "of the two images from each other, relative distance": distance(features[0], features[1]),
            "mean square of the features": float(np.mean(features**2)),
        }
    packages = {"torch": torch, "torch-fidelity": torch_fidelity, "numpy": np}
    about["versions"] = {name: package.__version__ for name, package in packages.items()} | {
        "pytorch-fid": importlib.metadata.version("pytorch-fid")
    }
    np.savez_compressed(GOLDEN, about=np.array(json.dumps(about)), **golden)
    print(json.dumps(about, indent=2))


if __name__ == "__main__":
    main()
