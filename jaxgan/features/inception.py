"""The Inception network that the FID is defined by, with weights that the user brings.

The library has no weights and fetches none. They are those of TensorFlow's graph of 2015-12-05, which pytorch-fid and
torch-fidelity publish as one file, `pt_inception-2015-12-05-6726825d.pth` (`weights-inception-...` in the latter); the
SHA-256 of it starts with the digits in its name. Make the `.npz` file of it once, wherever PyTorch is:

    import numpy, torch
    state = torch.load("pt_inception-2015-12-05-6726825d.pth", map_location="cpu", weights_only=True)
    numpy.savez("inception.npz", **{name: array.numpy() for name, array in state.items()})

Its arrays are called as in the state dict, which is the same in both packages (`Mixed_5b.branch1x1.conv.weight`).
"""

import functools
import os
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import files
from jaxgan.errors import InputError, shown
from jaxgan.features import Extractor, weights
from jaxgan.features.inception_v3 import InceptionV3
from jaxgan.features.pixels import to_bytes
from jaxgan.features.resize import resize_bilinear_tf1

SIDE = 299
"""Side of the images that the network was trained on, pixels."""
_ADVICE = "make the file from PyTorch's state dict as the text of jaxgan.features.inception says"
_EPSILON = 0.001  # of the graph's batch normalisation; PyTorch's own default is 1e-5


def inception(path: str | os.PathLike, *, sha256: str = "", batch_size: int = 16) -> Extractor:
    """Features and logits of the FID's Inception network with the weights in a file.

    Images become bytes, are resized to 299 by 299 as TensorFlow 1 did (see `resize_bilinear_tf1`) and scaled by
    `(x - 128) / 128`; grey ones are shown in all three channels. Features are "pool3", the averages over the last
    block; logits are without bias (see `InceptionV3`). This is what torch-fidelity computes; pytorch-fid has the same
    network, but resizes with half-pixel centres and scales by `x / 127.5 - 1`, so its figures differ.

    Args:
      path: the `.npz` file; this module's text says how it is made.
      sha256: the digest the file must have, in hexadecimal; empty for any.
      batch_size: images at a time; large batches are slower on a CPU. The last one is filled up, so the network is
        compiled once.

    Returns:
      The extractor "inception"; the file's digest is in its `about`. Its `features` take float images
      `[N, H, W, 1 or 3]`; what lies outside [-1, 1] is clipped, as in pictures.

    Raises:
      InputError: no such file, another digest, or not those arrays in those shapes; from `features`, what are no
        such images.

    References:
      Heusel et al., GANs Trained by a Two Time-Scale Update Rule, https://arxiv.org/abs/1706.08500, 2017.
      Salimans et al., Improved Techniques for Training GANs, https://arxiv.org/abs/1606.03498, 2016, Section 4.
    """
    with weights.opened(path, "a .npz file of Inception weights", _ADVICE, sha256=sha256) as (archive, digest):
        params = _params(path, archive)
    params = jax.device_put(params)

    def features(images):  # no functools.partial, which would print all weights with the extractor
        return _stream(params, batch_size, images)

    return Extractor("inception", {"digest": digest}, features)


def _params(path: str | os.PathLike, archive: zipfile.ZipFile) -> dict:
    shapes = state_shapes()
    # PyTorch's counters are of training only.
    given = {name for name in files.names(archive) if not name.endswith(".num_batches_tracked")}
    for verb, names in (("is missing", shapes.keys() - given), ("is unknown", given - shapes.keys())):
        if names:
            raise InputError(f"{path}: the array {shown(min(names))} {verb} ({len(names)} in all): {_ADVICE}")
    state = {}
    for name, shape in shapes.items():
        found = files.array_header(archive, name)
        if found.shape != shape or not np.issubdtype(found.dtype, np.floating):
            raise InputError(f"{path}: expected {name} as floats {list(shape)}, got {found.dtype} {list(found.shape)}")
        array = state[name] = files.array(archive, name)
        if not np.isfinite(array).all() or (name.endswith(".running_var") and array.min() < 0):
            raise InputError(f"{path}: {name} has values that are not finite, or variances below zero: {_ADVICE}")
    return _fold(state)


def state_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays in a file of weights: PyTorch's state dict, without its training counters."""
    shapes = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    for name, (height, width, channels, features) in _kernels().items():
        shapes[f"{name}.conv.weight"] = (features, channels, height, width)
        shapes |= {f"{name}.bn.{part}": (features,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes


@functools.cache
def _kernels() -> dict[str, tuple[int, ...]]:
    image = jax.ShapeDtypeStruct((1, 75, 75, 3), jnp.float32)
    params = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)["params"]
    return {name: conv["kernel"].shape for name, conv in params.items() if name != "fc"}


def _fold(state: dict[str, np.ndarray]) -> dict:
    """The network's parameters from the arrays of `state_shapes`, each normalisation folded into its convolution.

    With `g = weight / sqrt(running_var + 0.001)` the kernel is `g conv.weight` and the bias `bias - g running_mean`.
    """
    params = {"fc": state["fc.weight"].T.astype(np.float32)}
    for name in _kernels():
        weight, bias, mean, variance = (
            state[f"{name}.bn.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = weight / np.sqrt(variance + _EPSILON)
        kernel = state[f"{name}.conv.weight"].transpose(2, 3, 1, 0) * gain  # OIHW to HWIO
        params[name] = {"kernel": kernel.astype(np.float32), "bias": (bias - gain * mean).astype(np.float32)}
    return params


@jax.jit
def _prepare(pixels: jax.Array) -> jax.Array:
    return (resize_bilinear_tf1(pixels.astype(jnp.float32), SIDE, SIDE) - 128.0) / 128.0


@jax.jit
def _network(params: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return InceptionV3().apply({"params": params}, x)


def _stream(params: dict, batch_size: int, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise InputError(f"expected at least one image [N, H, W, 1 or 3], got the shape {list(images.shape)}")
    pixels, outputs = to_bytes(images), []
    for start in range(0, len(pixels), batch_size):
        some = pixels[start : start + batch_size]
        batch = np.zeros((batch_size, *pixels.shape[1:3], 3), np.uint8)
        batch[: len(some)] = some  # one channel fills three
        outputs.append([np.asarray(output)[: len(some)] for output in _network(params, _prepare(batch))])
    features, logits = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
    return features, logits
