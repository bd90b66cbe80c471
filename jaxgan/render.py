"""Samples as pictures: uint8 arrays `[height, width, channels]` that Pillow and TensorBoard take."""

import io

import numpy as np

SIDE = 640
"""Side that pictures are enlarged towards, by a whole factor, pixels."""
GAP = 64
"""Grey level between images."""


def image_grid(images: np.ndarray, *, columns: int = 8) -> np.ndarray:
    """Images side by side, a pixel apart, enlarged by a whole factor.

    Args:
      images: `[N, H, W, C]` in [-1, 1], `C` 1 or 3; what lies outside is clipped.
      columns: images in a row.

    Returns:
      uint8 `[(rows * (H + 1) + 1) * k, (columns * (W + 1) + 1) * k, C]`; between the images and in the place of those
      that the last row lacks it is grey.
    """
    count, height, width, channels = images.shape
    pixels = np.round(np.clip((np.asarray(images, np.float32) + 1) * 127.5, 0, 255)).astype(np.uint8)
    rows = -(-count // columns)
    cells = np.full((rows * columns, height + 1, width + 1, channels), GAP, np.uint8)
    cells[:count, 1:, 1:] = pixels
    grid = cells.reshape(rows, columns, height + 1, width + 1, channels).transpose(0, 2, 1, 3, 4)
    grid = grid.reshape(rows * (height + 1), columns * (width + 1), channels)
    grid = np.pad(grid, ((0, 1), (0, 1), (0, 0)), constant_values=GAP)
    factor = max(1, SIDE // grid.shape[1])
    return grid.repeat(factor, axis=0).repeat(factor, axis=1)


def point_density(points: np.ndarray, *, extent: float, bins: int = 160) -> np.ndarray:
    """Points in the plane as a picture of their density: black where none, brighter by the logarithm of their number.

    Args:
      points: `[N, 2]`.
      extent: the picture shows [-extent, extent] in both directions.
      bins: cells in each direction.

    Returns:
      uint8 `[side, side, 1]`, the second coordinate upwards.
    """
    edges = np.linspace(-extent, extent, bins + 1)
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=(edges, edges))
    shade = np.log1p(counts) / np.log1p(max(counts.max(), 1))
    factor = max(1, SIDE // bins)
    picture = np.flipud(np.round(255 * shade).astype(np.uint8).T)
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)[:, :, None]


def png(picture: np.ndarray) -> bytes:
    """A picture as the bytes of a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(buffer, "PNG")
    return buffer.getvalue()
