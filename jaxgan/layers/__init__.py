"""Flax layers that several families share, above all convolutions that stay fast everywhere.

For spectral normalisation wrap a layer in Flax's own: `nn.SpectralNorm(Conv(64, 3))(x, update_stats=train)`.
"""

from jaxgan.layers.conv import Conv, ConvTranspose
from jaxgan.layers.convolutions import (
    convolve,
    depth_to_space,
    space_to_depth,
    strided_convolve,
    transposed_convolve,
)
from jaxgan.layers.maxout import Maxout
from jaxgan.layers.minibatch import MinibatchDiscrimination, MinibatchStddev

__all__ = [
    "Conv",
    "ConvTranspose",
    "Maxout",
    "MinibatchDiscrimination",
    "MinibatchStddev",
    "convolve",
    "depth_to_space",
    "space_to_depth",
    "strided_convolve",
    "transposed_convolve",
]
