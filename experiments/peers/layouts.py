"""Our weights in PyTorch's layouts, with NumPy alone.

`SAME` padding of a strided convolution puts the odd pixel behind the image, PyTorch's `padding=2` before it. So PyTorch
gets every kernel, every feature map and every image mirrored in both directions: the same arithmetic, and no pixels to
pad or to crop that a PyTorch user would not have.
"""

import numpy as np


def mirrored(images: np.ndarray) -> np.ndarray:
    """Images `[B, H, W, C]` turned by 180 degrees, as `[B, C, H, W]`; points `[B, d]` stay as they are."""
    return images if images.ndim == 2 else np.ascontiguousarray(images[:, ::-1, ::-1].transpose(0, 3, 1, 2))


def convolution(kernel: np.ndarray) -> np.ndarray:
    """`[kh, kw, in, out]` to `[out, in, kh, kw]`, mirrored."""
    return np.ascontiguousarray(kernel[::-1, ::-1].transpose(3, 2, 0, 1))


def transposed_convolution(kernel: np.ndarray) -> np.ndarray:
    """`[kh, kw, in, out]` to `[in, out, kh, kw]`, mirrored."""
    return np.ascontiguousarray(kernel[::-1, ::-1].transpose(2, 3, 0, 1))


def pixel_order(side: int, channels: int, channels_last: bool) -> np.ndarray:
    """Where each entry of PyTorch's flattened feature map stands in ours, which is `[side, side, channels]`."""
    places = np.arange(side * side * channels).reshape(side, side, channels)[::-1, ::-1]
    return (places if channels_last else places.transpose(2, 0, 1)).ravel()
