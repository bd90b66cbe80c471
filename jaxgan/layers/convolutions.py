"""Convolutions that stay fast everywhere, as functions.

XLA's CPU backend runs plain stride-1 convolutions at matrix-product speed, but dilated ones (transposed convolutions,
and the input gradients of strided ones) several times slower, and gradients with permuted layouts inside `lax.scan`
some sixty times slower. So there is one convolution here, of stride 1, whose gradients are written with itself; strided
and transposed ones are that one after space-to-depth and before depth-to-space. The results are those of the textbook
definitions.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

Padding = tuple[tuple[int, int], tuple[int, int]]


def _plain_convolution(padding: Padding, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@functools.cache
def _mapped_convolution(padding: Padding) -> Callable:
    """The plain convolution with a batching rule of its own: a population of kernels is mapped over, not grouped.

    `vmap` over kernels makes a grouped convolution, which costs a CPU five times what its members cost in turn.
    """

    @jax.custom_batching.custom_vmap
    def convolve(x, kernel):
        return _plain_convolution(padding, x, kernel)

    @convolve.def_vmap
    def rule(axis_size, batched, x, kernel):
        x_batched, kernel_batched = batched
        if not kernel_batched:  # one kernel: the mapped axis is more batch
            y = convolve(x.reshape(-1, *x.shape[2:]), kernel)
            return y.reshape(axis_size, -1, *y.shape[1:]), True
        if not x_batched:
            return jax.lax.map(lambda k: convolve(x, k), kernel), True
        return jax.lax.map(lambda pair: convolve(*pair), (x, kernel)), True

    return convolve


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def convolve(padding: Padding, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Two-dimensional cross-correlation of stride 1, closed under differentiation.

    `y[n,i,j,o] = sum_{a,b,c} x[n, i+a-top, j+b-left, c] kernel[a,b,c,o]`, with `x` zero outside. Both gradients are
    convolutions of this same form, so derivatives of any order (gradient penalties) keep its speed. Forward-mode
    differentiation is not defined; take a Jacobian-vector product from two reverse passes.

    Args:
      padding: `((top, bottom), (left, right))` in pixels.
      x: `[batch, height, width, channels]`.
      kernel: `[kernel_height, kernel_width, channels, features]`.

    Returns:
      `[batch, height + top + bottom - kernel_height + 1, ..., features]`.
    """
    return _mapped_convolution(padding)(x, kernel)


def _convolve_forward(padding, x, kernel):
    return convolve(padding, x, kernel), (x, kernel)


def _convolve_backward(padding, saved, dy):
    x, kernel = saved
    # The input's gradient correlates with the kernel turned by 180 degrees, channels exchanged, padding mirrored.
    mirrored = tuple(
        (size - 1 - low, size - 1 - high) for size, (low, high) in zip(kernel.shape, padding, strict=False)
    )
    dx = convolve(mirrored, dy, jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    # The kernel's gradient correlates x with dy: batch becomes the summed channel, channels the batch.
    dkernel = convolve(padding, x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3)).transpose(1, 2, 0, 3)
    return dx, dkernel


convolve.defvjp(_convolve_forward, _convolve_backward)


def space_to_depth(x: jax.Array, block: int) -> jax.Array:
    """Moves each `block x block` square of pixels into channels: `[B,H,W,C] -> [B,H/block,W/block,block*block*C]`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // block, block, width // block, block, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height // block, width // block, block * block * channels)


def depth_to_space(x: jax.Array, block: int) -> jax.Array:
    """The inverse of `space_to_depth`: `[B,H,W,block*block*C] -> [B,H*block,W*block,C]`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, block, block, channels // block**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height * block, width * block, channels // block**2)


def strided_convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Cross-correlation with `SAME` padding: `[B,H,W,C] -> [B,ceil(H/stride),ceil(W/stride),F]`.

    The padding is TensorFlow's and JAX's: `max(stride*(ceil(H/stride)-1) + k - H, 0)` in all, the smaller half first.

    Args:
      x: `[batch, height, width, channels]`.
      kernel: `[kernel_height, kernel_width, channels, features]`.
      stride: step in pixels, the same both ways.
    """
    outputs = [-(-size // stride) for size in x.shape[1:3]]
    # `before` pixels of SAME padding; the kernel grows at both ends to whole blocks: taps [-before, k - before).
    totals = [
        max(stride * (n - 1) + k - size, 0) for n, k, size in zip(outputs, kernel.shape, x.shape[1:3], strict=False)
    ]
    before = [total // 2 for total in totals]
    low = [-(-p // stride) for p in before]  # whole blocks before the first output's own
    front = [blocks * stride - p for blocks, p in zip(low, before, strict=True)]
    taps = [-(-(f + k) // stride) for f, k in zip(front, kernel.shape, strict=False)]  # kernel size in blocks
    kernel = jnp.pad(
        kernel,
        [(f, t * stride - f - k) for f, t, k in zip(front, taps, kernel.shape, strict=False)] + [(0, 0), (0, 0)],
    )
    if stride > 1:
        x = jnp.pad(
            x, [(0, 0), *((0, n * stride - size) for n, size in zip(outputs, x.shape[1:3], strict=True)), (0, 0)]
        )
        x = space_to_depth(x, stride)
        channels, features = kernel.shape[2:]
        kernel = kernel.reshape(taps[0], stride, taps[1], stride, channels, features).transpose(0, 2, 1, 3, 4, 5)
        kernel = kernel.reshape(taps[0], taps[1], stride * stride * channels, features)
    padding = tuple((b, t - 1 - b) for b, t in zip(low, taps, strict=True))
    return convolve(padding, x, kernel)


def transposed_convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The transpose of `strided_convolve`'s linear map, `SAME` padding: `[B,H,W,C] -> [B,H*stride,W*stride,F]`.

    `y[o] = sum_i x[i] kernel[o - stride*i + before]` in each direction, `before = max(k - stride, 0) // 2`: what Keras'
    `Conv2DTranspose` and PyTorch's `ConvTranspose2d` compute, written as a stride-1 convolution to the `stride**2`
    phases of each output pixel.

    Args:
      x: `[batch, height, width, channels]`.
      kernel: `[kernel_height, kernel_width, channels, features]`.
      stride: enlargement, the same both ways.
    """
    blocks, padding = [], []
    for size in kernel.shape[:2]:
        before = max(size - stride, 0) // 2
        # Output stride*j + phase sees input j - d through the tap stride*d + phase + before: d runs from first to last.
        first = -((stride - 1 + before) // stride)
        last = (size - 1 - before) // stride
        front = -(stride * first + before)
        count = last - first + 1
        blocks.append((front, count, count * stride - front - size))
        padding.append((last, -first))
    kernel = jnp.pad(kernel, [(front, back) for front, _, back in blocks] + [(0, 0), (0, 0)])
    rows, columns = blocks[0][1], blocks[1][1]
    channels, features = kernel.shape[2:]
    kernel = kernel.reshape(rows, stride, columns, stride, channels, features)
    kernel = jnp.flip(kernel, (0, 2)).transpose(0, 2, 4, 1, 3, 5)
    kernel = kernel.reshape(rows, columns, channels, stride * stride * features)
    return depth_to_space(convolve(tuple(padding), x, kernel), stride)
