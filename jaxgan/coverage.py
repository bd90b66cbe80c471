"""What samples with known modes are measured by: how many modes they have, and how evenly."""

import functools
from collections.abc import Callable

import numpy as np

from jaxgan.data import split, stacked
from jaxgan.errors import InputError
from jaxgan.evaluation import Wanted
from jaxgan.features import Extractor
from jaxgan.metrics import mixture, modes

POINTS = 2_500
"""Points of a mixture that an evaluation draws, where nothing else is wanted: PacGAN's protocol."""
STACKED = 26_000
"""Stacked images that an evaluation draws, where nothing else is wanted: PacGAN's protocol."""


def of_mixture(centers: np.ndarray, std: float) -> Callable:
    """The `evaluate` of an experiment with points of a mixture: its modes, see `mixture.mixture_quality`.

    Args:
      centers: `[modes, 2]`.
      std: standard deviation of each mode, along each axis.

    Returns:
      `wanted -> (draw -> figures)`; it refuses (`InputError`) metrics and extractors.
    """

    def evaluate(wanted=Wanted()):  # noqa: B008 - a NamedTuple of constants
        if wanted.metrics or wanted.extractor is not None:
            raise InputError("points of a mixture are measured by its modes alone: leave out --metrics and --extractor")
        count = wanted.samples or POINTS

        def of_samples(draw):
            quality = mixture.mixture_quality(draw(count), centers, std)
            return {"samples": count} | quality | {"high_quality_perfect": mixture.PERFECT_HIGH_QUALITY}

        return of_samples

    return evaluate


def stacked_modes(extractor: Extractor, x: np.ndarray) -> np.ndarray:
    """The modes of stacked images, each channel classified by itself.

    Args:
      extractor: a classifier of single images, of ten classes.
      x: `[N, H, W, 3]` in [-1, 1].

    Returns:
      Modes `[N]`, from 0 to 999, as of `metrics.modes.stacked_label`.
    """
    digits = [np.argmax(extractor.features(x[..., i : i + 1])[1], axis=-1) for i in range(3)]
    return modes.stacked_label(np.stack(digits, axis=-1))


def of_stacked(images: Callable[[], np.ndarray]) -> Callable:
    """The `evaluate` of an experiment with stacked images: its modes, as a classifier of single ones tells them.

    Each channel of a sample is classified, the three classes name its mode. The reverse KL is against equal shares of
    all modes, as published, in nats. With `_floor` stands what as many stacked images of the data come to, with
    `_ceiling` uniform noise.

    Args:
      images: `() -> grey images`, uint8 `[N, H, W, 1]`, of ten classes.

    Returns:
      `wanted -> (draw -> figures)`; it refuses (`InputError`) metrics, and to do without an extractor.

    References:
      Lin et al., PacGAN: The power of two samples in generative adversarial networks,
      https://arxiv.org/abs/1712.04086, 2017, Section 4.2.
    """

    def evaluate(wanted=Wanted()):  # noqa: B008 - a NamedTuple of constants
        if wanted.metrics or wanted.extractor is None:
            raise InputError("stacked images are measured by their modes: leave out --metrics and give --extractor")
        extractor, count = wanted.extractor, wanted.samples or STACKED

        def measure(x, end=""):
            coverage = modes.mode_coverage(stacked_modes(extractor, x), 1000)
            return {f"{name}{end}": value for name, value in coverage.items()}

        @functools.cache
        def baselines():
            grey = images()
            x = split.some(stacked.stack(grey, stacked.triples(len(grey), count, seed=1)), count)
            noise = np.random.default_rng(0).uniform(-1, 1, x.shape).astype(np.float32)
            return measure(x, "_floor") | measure(noise, "_ceiling")

        def of_samples(draw):
            return {"samples": count, "extractor": extractor.told} | measure(draw(count)) | baselines()

        return of_samples

    return evaluate
