"""Flax layers that several families share, above all convolutions that stay fast everywhere.

For spectral normalisation wrap a layer in Flax's own:
`nn.SpectralNorm(Conv(64, 3), dtype=x.dtype)(x, update_stats=train)`.
"""

from jaxgan.layers.attention import SelfAttention
from jaxgan.layers.blur import (
    DownsampledConv,
    blur,
    downsample,
    downsampled_convolve,
    upsample,
    upsampled_convolve,
)
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
from jaxgan.layers.equalised import EqualisedConv, EqualisedDense, EqualisedEnlargedConv, EqualisedHalvedConv
from jaxgan.layers.grouped import GroupedConv, grouped_convolve
from jaxgan.layers.labels import one_hot
from jaxgan.layers.maxout import Maxout
from jaxgan.layers.minibatch import MinibatchDiscrimination, MinibatchStddev
from jaxgan.layers.modulated import ModulatedConv, Noise, modulated_convolve
from jaxgan.layers.normalisation import ConditionalBatchNorm, pixel_norm
from jaxgan.layers.pixels import enlarge, halve
from jaxgan.layers.waves import fourier_features

__all__ = [
    "ConditionalBatchNorm",
    "Conv",
    "ConvTranspose",
    "Dense",
    "DownsampledConv",
    "Dropout",
    "EnlargedConv",
    "EqualisedConv",
    "EqualisedDense",
    "EqualisedEnlargedConv",
    "EqualisedHalvedConv",
    "GroupedConv",
    "HalvedConv",
    "Maxout",
    "MinibatchDiscrimination",
    "MinibatchStddev",
    "ModulatedConv",
    "Noise",
    "SelfAttention",
    "add_bias",
    "blur",
    "convolve",
    "depth_to_space",
    "downsample",
    "downsampled_convolve",
    "enlarge",
    "enlarged_convolve",
    "fourier_features",
    "grouped_convolve",
    "halve",
    "halved_convolve",
    "modulated_convolve",
    "one_hot",
    "pixel_norm",
    "random_words",
    "space_to_depth",
    "strided_convolve",
    "transposed_convolve",
    "upsample",
    "upsampled_convolve",
]
