"""Flax layers that several families share, above all convolutions that stay fast everywhere.

For spectral normalisation wrap a layer in Flax's own:
`nn.SpectralNorm(Conv(64, 3), dtype=x.dtype)(x, update_stats=train)`.
"""

from jaxgan.layers.conv import Conv, ConvTranspose, EnlargedConv, HalvedConv
from jaxgan.layers.convolutions import (
    convolve,
    depth_to_space,
    enlarged_convolve,
    halved_convolve,
    space_to_depth,
    strided_convolve,
    transposed_convolve,
)
from jaxgan.layers.dense import Dense, add_bias
from jaxgan.layers.dropout import Dropout, random_words
from jaxgan.layers.maxout import Maxout
from jaxgan.layers.minibatch import MinibatchDiscrimination, MinibatchStddev

__all__ = [
    "Conv",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "EnlargedConv",
    "HalvedConv",
    "Maxout",
    "MinibatchDiscrimination",
    "MinibatchStddev",
    "add_bias",
    "convolve",
    "depth_to_space",
    "enlarged_convolve",
    "halved_convolve",
    "random_words",
    "space_to_depth",
    "strided_convolve",
    "transposed_convolve",
]
