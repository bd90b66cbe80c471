"""The Inception-v3 of TensorFlow's graph of 2015-12-05: one table, and the module that runs it."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

# Otherwise accelerators round float32 to fewer bits before they multiply.
_PRECISION = jax.lax.Precision.HIGHEST


class _Conv(NamedTuple):
    """One row of the table: a convolution, its normalisation and its rectifier."""

    name: str
    features: int
    size: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


def _chain(name, *rows):
    return tuple(_Conv(f"{name}_{number}", *row) for number, row in enumerate(rows, 1))


# A block is a tuple of branches, whose outputs are concatenated; a branch is a tuple of steps: a convolution, a pool by
# name, or a tuple of convolutions on one input, again concatenated. Names are those of the PyTorch state dict.
def _block_a(pool_features):
    return (
        (_Conv("branch1x1", 64),),
        _chain("branch5x5", (48,), (64, (5, 5))),
        _chain("branch3x3dbl", (64,), (96, (3, 3)), (96, (3, 3))),
        ("average", _Conv("branch_pool", pool_features)),
    )


def _block_c(features):
    row, column = (1, 7), (7, 1)
    return (
        (_Conv("branch1x1", 192),),
        _chain("branch7x7", (features,), (features, row), (192, column)),
        _chain("branch7x7dbl", (features,), (features, column), (features, row), (features, column), (192, row)),
        ("average", _Conv("branch_pool", 192)),
    )


def _block_e(pool):
    def both(name):
        return (_Conv(f"{name}a", 384, (1, 3)), _Conv(f"{name}b", 384, (3, 1)))

    return (
        (_Conv("branch1x1", 320),),
        (*_chain("branch3x3", (384,)), both("branch3x3_2")),
        (*_chain("branch3x3dbl", (448,), (384, (3, 3))), both("branch3x3dbl_3")),
        (pool, _Conv("branch_pool", 192)),
    )


_HALVE = ((3, 3), 2, "VALID")  # size, stride and padding
_STEM = (
    _Conv("Conv2d_1a_3x3", 32, *_HALVE),
    _Conv("Conv2d_2a_3x3", 32, (3, 3), 1, "VALID"),
    _Conv("Conv2d_2b_3x3", 64, (3, 3)),
    "halve",
    _Conv("Conv2d_3b_1x1", 80),
    _Conv("Conv2d_4a_3x3", 192, (3, 3), 1, "VALID"),
    "halve",
)
_BLOCKS = {
    "Mixed_5b": _block_a(32),
    "Mixed_5c": _block_a(64),
    "Mixed_5d": _block_a(64),
    "Mixed_6a": (
        (_Conv("branch3x3", 384, *_HALVE),),
        _chain("branch3x3dbl", (64,), (96, (3, 3)), (96, *_HALVE)),
        ("halve",),
    ),
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": (
        _chain("branch3x3", (192,), (320, *_HALVE)),
        _chain("branch7x7x3", (192,), (192, (1, 7)), (192, (7, 1)), (192, *_HALVE)),
        ("halve",),
    ),
    "Mixed_7b": _block_e("average"),
    "Mixed_7c": _block_e("max"),  # the graph's own irregularity; features are comparable only with it
}
_POOLS = {
    "average": functools.partial(nn.avg_pool, window_shape=(3, 3), padding="SAME", count_include_pad=False),
    "max": functools.partial(nn.max_pool, window_shape=(3, 3), padding="SAME"),
    "halve": functools.partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2), padding="VALID"),
}


class ConvNorm(nn.Module):
    """Convolution, batch normalisation by fixed statistics, rectifier: `max(0, x * kernel + bias)`.

    The normalisation is folded into the kernel and the bias where the weights are read.

    Attributes:
      conv: its row of the table.
    """

    conv: _Conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        _, features, size, stride, padding = self.conv
        kernel = self.param("kernel", nn.initializers.zeros, (*size, x.shape[-1], features))
        bias = self.param("bias", nn.initializers.zeros, (features,))
        y = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=_PRECISION
        )
        return nn.relu(y + jnp.expand_dims(bias, (0, 1, 2)))


class InceptionV3(nn.Module):
    """The graph's network: `[B, H, W, 3]` in [-1, 1], H and W at least 75, to `(pool3 [B, 2048], logits [B, 1008])`.

    Logits are without the bias of the last layer ("logits_unbiased" of torch-fidelity): the code that the Inception
    score was published with leaves it out, and scores are compared so.

    References:
      Szegedy et al., Rethinking the Inception Architecture for Computer Vision, https://arxiv.org/abs/1512.00567, 2015.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        def run(prefix, steps, x):
            for step in steps:
                if isinstance(step, str):
                    x = _POOLS[step](x)
                elif isinstance(step, _Conv):
                    x = ConvNorm(step, name=prefix + step.name)(x)
                else:
                    x = jnp.concatenate([run(prefix, (conv,), x) for conv in step], axis=-1)
            return x

        x = run("", _STEM, x)
        for name, branches in _BLOCKS.items():
            x = jnp.concatenate([run(f"{name}.", branch, x) for branch in branches], axis=-1)
        features = x.mean(axis=(1, 2))
        kernel = self.param("fc", nn.initializers.zeros, (2048, 1008))
        return features, jnp.dot(features, kernel, precision=_PRECISION)
