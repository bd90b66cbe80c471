"""Quality of images by their pixels alone: no network stands between, and none is needed."""

import numpy as np

from jaxgan.metrics.frechet import frechet_distance


def pixel_distance(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    """Fréchet distance between the pixels of samples and of held-out images, with its floor and its ceiling.

    Every image is a vector of pixels in [-1, 1]; see `frechet_distance`. It sees means and covariances of pixels, so it
    tells noise, collapse and missing contrast, but not whether shapes are right. Compare it only at the same numbers of
    images. The same is measured of as many training images (the floor: what a perfect sampler would get) and of uniform
    noise (the ceiling).

    Args:
      samples: `[N, H, W, C]` in [-1, 1].
      train: training images, `[at least N, H, W, C]` in [-1, 1].
      held_out: images never trained on, `[M, H, W, C]` in [-1, 1].

    Returns:
      `frechet_pixels`, `frechet_pixels_floor`, `frechet_pixels_noise`.
    """
    noise = np.random.default_rng(0).uniform(-1, 1, samples.shape)
    sets = {"": samples, "_floor": train[: len(samples)], "_noise": noise}
    return {
        f"frechet_pixels{name}": frechet_distance(images.reshape(len(images), -1), held_out.reshape(len(held_out), -1))
        for name, images in sets.items()
    }
