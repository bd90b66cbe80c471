"""What samples are measured by: metrics by name, each beside its floor and its ceiling on as many examples."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxgan.data import split
from jaxgan.errors import InputError
from jaxgan.features import Extractor
from jaxgan.metrics import classes, frechet, kernel, manifold, memorisation, similarity, sliced

IMAGES = 10_000
"""Images that an evaluation compares, where nothing else is wanted and there are as many."""
LEAST = 20
"""Fewest images that every metric can be had of."""
RECONSTRUCTED = 1_000
"""Images whose reconstructions are compared with them."""
DIRECTIONS = 256
"""Random directions of the sliced Wasserstein distance."""


class Wanted(NamedTuple):
    """What is asked of an evaluation.

    Attributes:
      metrics: names of `METRICS`; empty for the usual ones.
      samples: how many samples, 0 for the usual number.
      extractor: whose features are compared, or None.
    """

    metrics: tuple[str, ...] = ()
    samples: int = 0
    extractor: Extractor | None = None


class Seen(NamedTuple):
    """A set of images as metrics see it.

    Attributes:
      images: `[N, H, W, C]` in [-1, 1].
      features: `[N, d]`, or None without an extractor.
      logits: `[N, classes]`, or None without an extractor.
      labels: the classes that the images are of, or are to be of, `[N]`, or None.
    """

    images: np.ndarray
    features: np.ndarray | None
    logits: np.ndarray | None
    labels: np.ndarray | None = None

    @property
    def pixels(self) -> np.ndarray:
        """`[N, H * W * C]`."""
        return self.images.reshape(len(self.images), -1)


class Metric(NamedTuple):
    """A row of `METRICS`.

    Attributes:
      figures: `(candidate, reference, train) -> {name: value}`, each `Seen`; the reference is held out, and `train` is
        all that was trained on.
      of_features: whether it needs an extractor, whose name its figures then carry.
      usual: whether it is measured where nothing else is wanted.
      of_labels: whether it needs classes.
    """

    figures: Callable[[Seen, Seen, Seen], dict[str, float]]
    of_features: bool
    usual: bool
    of_labels: bool = False


def _sliced_wasserstein(candidate, reference, train):
    directions = sliced.random_directions(np.random.default_rng(0), candidate.pixels.shape[1], DIRECTIONS)
    return {"SW-pixels": sliced.sliced_wasserstein(candidate.pixels, reference.pixels, directions)}


def _kernel(candidate, reference, train):
    size = min(1000, len(candidate.features) // 2)  # subsets as large as a small set would all be that set
    distance = kernel.kernel_distance_of_subsets(
        candidate.features, reference.features, np.random.default_rng(0), subset_size=size
    )
    return {"KD": distance.mean, "KD_std": distance.std}


def _inception_score(candidate, reference, train):
    score = classes.inception_score(candidate.logits[np.random.default_rng(0).permutation(len(candidate.logits))])
    return {"IS": score.mean, "IS_std": score.std}


def _variety(candidate, reference, train):
    # One scale: images of 28 or 32 pixels have no more.
    figure = similarity.mean_pair_similarity(
        candidate.images, np.random.default_rng(0), data_range=2.0, pairs=1000, scales=1
    )
    return {"pair_SSIM": figure}


METRICS = {
    "frechet_pixels": Metric(
        lambda candidate, reference, train: {"FD-pixels": frechet.frechet_distance(candidate.pixels, reference.pixels)},
        of_features=False,
        usual=True,
    ),
    "sliced_wasserstein": Metric(_sliced_wasserstein, of_features=False, usual=True),
    "pair_similarity": Metric(_variety, of_features=False, usual=False),
    "frechet": Metric(
        lambda candidate, reference, train: {"FD": frechet.frechet_distance(candidate.features, reference.features)},
        of_features=True,
        usual=True,
    ),
    "frechet_infinity": Metric(
        lambda candidate, reference, train: {
            "FD_infinity": frechet.frechet_infinity(candidate.features, reference.features, np.random.default_rng(0))
        },
        of_features=True,
        usual=False,
    ),
    "kernel": Metric(_kernel, of_features=True, usual=True),
    "inception_score": Metric(_inception_score, of_features=True, usual=True),
    "precision_recall": Metric(
        lambda candidate, reference, train: manifold.prdc(reference.features, candidate.features)._asdict(),
        of_features=True,
        usual=True,
    ),
    "authenticity": Metric(
        lambda candidate, reference, train: {
            "authenticity": memorisation.authenticity(candidate.features, train.features)
        },
        of_features=True,
        usual=False,
    ),
    "class_accuracy": Metric(
        lambda candidate, reference, train: {
            "class_accuracy": float(np.mean(np.argmax(candidate.logits, axis=-1) == candidate.labels))
        },
        of_features=True,
        usual=True,
        of_labels=True,
    ),
}


def of_images(sets: Callable[[], tuple[Any, Any]], labels: Callable[[], tuple[Any, Any]] | None = None) -> Callable:
    """The `evaluate` of an experiment with images.

    Every figure is measured three times on as many images: of the samples (its name), of images of the data (with
    `_floor`: what a perfect sampler would get) and of uniform noise (with `_ceiling`), each against held-out images.
    Images of the data are evenly spaced through their set.
    The floor takes training images, but for authenticity, which asks how a set differs from these: held-out ones.

    Args:
      sets: `() -> (train, held_out)`, both `split.Images`.
      labels: `() -> (train, held_out)`, both `labels.Labels`, where samples are drawn of one class after another.

    Returns:
      `wanted -> (draw -> figures)`, with `samples` and, where there is one, the `extractor`'s name and what tells it
      apart. What cannot be measured is refused at the first call: an unknown metric, one of features without an
      extractor, an extractor of other images, images too small, more samples than images (`InputError`).
    """

    def evaluate(wanted=Wanted()):  # noqa: B008 - a NamedTuple of constants
        names, extractor = _chosen(wanted, labels is not None), wanted.extractor
        count = min(wanted.samples or IMAGES, *map(split.number, sets()))
        if count < wanted.samples:
            raise InputError(f"{wanted.samples} samples wanted: the data have {count} images to compare them with")
        if count < LEAST:
            raise InputError(f"{count} samples are too few to measure: expected at least {LEAST}, held out as many")
        train, held_out = (split.some(images, count) for images in sets())
        about = {"samples": count}
        if extractor is not None:
            about["extractor"] = extractor.told

        def see(images, of=None):
            seen = Seen(images, *((None, None) if extractor is None else extractor.features(images)))
            if labels is None:
                return seen
            if of is None:
                return seen._replace(labels=np.arange(len(images)) % labels()[0].classes)
            return seen._replace(labels=of.values[split.spaced(len(of.values), len(images))])

        def measure(name, *seen):
            label = f"-{extractor.name}" if METRICS[name].of_features else ""
            return {f"{key}{label}": value for key, value in METRICS[name].figures(*seen).items()}

        few = see(held_out[:LEAST])
        for name in names:  # refuses now what it would refuse after hours of training, such as images of another size
            measure(name, few, few, few)

        @functools.cache  # of the data alone, so they are the same at every evaluation of a run
        def baselines():
            of_train, of_held_out = (None, None) if labels is None else labels()
            reference, floor = see(held_out, of_held_out), see(train, of_train)
            ceiling = see(np.random.default_rng(0).uniform(-1, 1, train.shape).astype(np.float32))
            # Whoever learns by heart may have learnt any training example, not only those compared.
            trained = sets()[0]
            whole = see(split.some(trained, split.number(trained))) if "authenticity" in names else None
            figures = {}
            for name in names:
                of_data = reference if name == "authenticity" else floor
                figures |= {f"{key}_floor": value for key, value in measure(name, of_data, reference, whole).items()}
                figures |= {f"{key}_ceiling": value for key, value in measure(name, ceiling, reference, whole).items()}
            return reference, whole, figures

        def of_samples(draw):
            reference, whole, of_data = baselines()
            candidate = see(draw(count))
            figures = {}
            for name in names:
                figures |= measure(name, candidate, reference, whole)
            beside = (f"{key}{end}" for key in figures for end in ("", "_floor", "_ceiling"))
            return about | {name: (figures | of_data)[name] for name in beside}

        return of_samples

    return evaluate


def reconstruction(reconstruct: Callable) -> Callable:
    """The `of_state` of images whose encoder is to find the latents that they come from.

    Args:
      reconstruct: `(key, state, x) -> x`, of images `[N, ...]`.

    Returns:
      `(sets, key, state) -> figures`, over held-out images: the mean squared error of their reconstruction, and that of
      the mean training image in its place, both over pixels in [-1, 1].
    """

    def figures(sets, key, state):
        train, held_out = (split.some(images, RECONSTRUCTED) for images in sets())
        error = np.mean((np.asarray(reconstruct(key, state, held_out)) - held_out) ** 2)
        of_mean = np.mean((np.mean(train, axis=0) - held_out) ** 2)
        return {"reconstruction_error": float(error), "reconstruction_error_of_mean": float(of_mean)}

    return figures


def _chosen(wanted: Wanted, has_labels: bool) -> tuple[str, ...]:
    """The names of the metrics wanted, or the usual ones that can be had."""
    has_features = wanted.extractor is not None
    if not wanted.metrics:
        return tuple(
            name
            for name, metric in METRICS.items()
            if metric.usual and metric.of_features <= has_features and metric.of_labels <= has_labels
        )
    for name in wanted.metrics:
        if name not in METRICS:
            raise InputError(f"no metric {name!r}: expected some of {', '.join(METRICS)}")
        if METRICS[name].of_features and not has_features:
            raise InputError(f"metric {name!r} compares features: give --extractor, a file of `jaxgan extractor`")
        if METRICS[name].of_labels and not has_labels:
            raise InputError(f"metric {name!r} is of classes: these samples are of none")
    return wanted.metrics
