"""Convolutions of small images as products of their Fourier transforms, for processors that multiply slowly.

A cross-correlation of an image of `P` pixels is `y = A [(G k) * (B x)]`: three constant matrices and `R` products of
numbers. By definition `R` is the number of pixels times that of the kernel's taps; in the Fourier domain it is about
`1.5 N^2`, where `N` is the image's side and the part of the kernel that reaches over its edge. Between channels each
product is one of matrices, so images of 7x7 pixels and kernels of 5x5 take a tenth of the multiplications.

The form is trilinear in `x`, `k` and the gradient `dy`, so both gradients have the same matrices, transposed, and the
same cost; and the transforms that two of the three have in common are computed once.

References:
  Mathieu, Henaff and LeCun, Fast training of convolutional networks through FFTs,
  https://arxiv.org/abs/1312.5851, 2013; Winograd, Arithmetic complexity of computations, 1980, for `A`, `B`, `G`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Padding = tuple[tuple[int, int], tuple[int, int]]
Size = tuple[int, int]

# What things cost beside a multiplication in a large matrix product, fitted to times of gradients included for ten
# shapes, float32, on two cores of an AMD EPYC with the flags of `startup` (they are right to a fifth).
DIRECT = 0.87  # a multiplication in a convolution by its definition
PRODUCT = 2.2  # one in the R matrix products, each of which is small
MOVED = 25.0  # writing and reading a number of a transform


class Transforms(NamedTuple):
    """The matrices of `y = A [(G k) * (B x)]`, pixels and taps in row-major order.

    Attributes:
      image: B, `[R, image pixels]`.
      kernel: G, `[R, taps]`.
      output: A, `[output pixels, R]`.
    """

    image: np.ndarray
    kernel: np.ndarray
    output: np.ndarray


@functools.cache
def transforms(padding: Padding, image: Size, kernel: Size) -> Transforms:
    """The matrices of a zero-padded cross-correlation of stride 1.

    Cyclic correlation over `N = max(image, image + before, output + kernel - 1 - before)` pixels in each direction is
    the zero-padded one: what it wraps round falls between the image's end and its beginning. Of each pair of conjugate
    frequencies one is computed; its complex product takes three real ones,
    `(a + bi)(c + di) = (p1 - p3) + (p1 + p2) i` with `p1 = (a + b) c`, `p2 = a (d - c)`, `p3 = b (c + d)`.
    """
    before = tuple(low for low, _ in padding)
    output = output_size(padding, image, kernel)
    period = [max(h, h + p, o + k - 1 - p) for h, k, o, p in zip(image, kernel, output, before, strict=True)]
    frequencies = np.stack(np.meshgrid(*map(np.arange, period), indexing="ij"), axis=-1).reshape(-1, 2)
    index = np.arange(len(frequencies))
    conjugate = np.ravel_multi_index(tuple((-frequencies % period).T), period)
    angles = 2 * np.pi * frequencies / period

    def waves(size, shift=(0, 0)):
        positions = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1).reshape(-1, 2)
        return np.exp(1j * angles @ (positions - shift).T)  # [frequencies, positions]

    x, k, y = waves(image).conj(), waves(kernel, before), waves(output) / len(frequencies)
    real, pair = index == conjugate, index < conjugate
    a, b, c, d, u, v = (part[pair] for wave in (x, k, 2 * y) for part in (wave.real, wave.imag))
    return Transforms(
        image=np.concatenate([x.real[real], a + b, a, b]),
        kernel=np.concatenate([k.real[real], c, d - c, c + d]),
        output=np.concatenate([y.real[real], u - v, -v, -u]).T,
    )


def output_size(padding: Padding, image: Size, kernel: Size) -> Size:
    """Height and width of the convolution's output, in pixels."""
    return tuple(h + low + high - k + 1 for h, k, (low, high) in zip(image, kernel, padding, strict=True))


def pays(padding: Padding, image: Size, kernel: tuple[int, int, int, int], batch: int) -> bool:
    """Whether this form is faster than the convolution by its definition, on a CPU and gradients included.

    Both costs are in multiplications, and divided by batch, channels and features.

    Args:
      padding: as of `convolutions.convolve`.
      image: height and width, pixels.
      kernel: its shape, `(height, width, channels, features)`.
      batch: number of images.
    """
    height, width, channels, features = kernel
    outputs = np.prod(output_size(padding, image, kernel[:2]))
    if max(image) > 16 or outputs <= 0:  # beyond, the transforms alone cost too much; spare the matrices
        return False
    products, pixels = transforms(padding, image, kernel[:2]).image.shape
    moved = 1 / batch + 1 / channels + 1 / features
    here = products * (PRODUCT + MOVED * moved + pixels / features + outputs / channels)
    return bool(here < DIRECT * outputs * height * width)


def convolve(padding: Padding, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`y`, `[B,H',W',F]`, from `x`, `[B,H,W,C]`, and the kernel, `[h,w,C,F]`."""
    matrices = transforms(padding, x.shape[1:3], kernel.shape[:2])
    products = jnp.einsum("rbc,rcf->rbf", _of_image(matrices, x), _of_kernel(matrices, kernel))
    y = jnp.einsum("pr,rbf->bpf", matrices.output.astype(x.dtype), products)
    return y.reshape(x.shape[0], *output_size(padding, x.shape[1:3], kernel.shape[:2]), -1)


def input_gradient(padding: Padding, kernel: jax.Array, dy: jax.Array) -> jax.Array:
    """The gradient of `sum(dy * convolve(padding, x, kernel))` to `x`."""
    image = input_size(padding, kernel.shape[:2], dy.shape[1:3])
    matrices = transforms(padding, image, kernel.shape[:2])
    products = jnp.einsum("rbf,rcf->rbc", _of_output(matrices, dy), _of_kernel(matrices, kernel))
    dx = jnp.einsum("rp,rbc->bpc", matrices.image.astype(dy.dtype), products)
    return dx.reshape(dy.shape[0], *image, -1)


def kernel_gradient(padding: Padding, x: jax.Array, dy: jax.Array) -> jax.Array:
    """The gradient of `sum(dy * convolve(padding, x, kernel))` to the kernel."""
    kernel = kernel_size(padding, x.shape[1:3], dy.shape[1:3])
    matrices = transforms(padding, x.shape[1:3], kernel)
    products = jnp.einsum("rbc,rbf->rcf", _of_image(matrices, x), _of_output(matrices, dy))
    taps = matrices.kernel.T.astype(x.dtype) @ products.reshape(len(products), -1)
    return taps.reshape(*kernel, x.shape[-1], dy.shape[-1])


def input_size(padding: Padding, kernel: Size, output: Size) -> Size:
    """Height and width of the image whose convolution has this output, in pixels."""
    return tuple(o + k - 1 - low - high for o, k, (low, high) in zip(output, kernel, padding, strict=True))


def kernel_size(padding: Padding, image: Size, output: Size) -> Size:
    """Height and width of the kernel that makes this output of that image, in pixels."""
    return output_size(padding, image, output)


def _of_image(matrices: Transforms, x: jax.Array) -> jax.Array:
    return jnp.einsum("rp,bpc->rbc", matrices.image.astype(x.dtype), x.reshape(x.shape[0], -1, x.shape[-1]))


def _of_kernel(matrices: Transforms, kernel: jax.Array) -> jax.Array:
    taps = kernel.reshape(-1, kernel.shape[2] * kernel.shape[3])
    return (matrices.kernel.astype(kernel.dtype) @ taps).reshape(-1, *kernel.shape[2:])


def _of_output(matrices: Transforms, dy: jax.Array) -> jax.Array:
    return jnp.einsum("pr,bpf->rbf", matrices.output.astype(dy.dtype), dy.reshape(dy.shape[0], -1, dy.shape[-1]))
