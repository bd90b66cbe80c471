"""Evaluations: which figures, beside which baselines, under which names, and what is refused."""

import json

import numpy as np
import pytest

from jaxgan import coverage, evaluation
from jaxgan.data.labels import Labels
from jaxgan.errors import InputError
from jaxgan.evaluation import METRICS, Wanted
from jaxgan.features import Extractor
from jaxgan.metrics.frechet import frechet_distance
from jaxgan.metrics.manifold import prdc
from jaxgan.metrics.memorisation import authenticity

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 256, (90, 12, 12, 1), np.uint8)
SPACED = np.arange(90)[np.arange(90) % 3 != 2]  # as many as are held out
HELD_OUT = RNG.integers(0, 256, (60, 12, 12, 1), np.uint8)
SAMPLES = RNG.uniform(-0.5, 0.5, (60, 12, 12, 1)).astype(np.float32)


def scaled(images):
    return (images / np.float32(127.5) - 1).astype(np.float32)


class Counting:
    """An extractor of the first pixels that tells how often it was asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, images):
        self.asked += 1
        assert images.dtype == np.float32 and images.min() >= -1 and images.max() <= 1
        return features(images), images[:, 1, :10, 0] * 3


def features(images):
    return images.reshape(len(images), -1)[:, :6]


def refuse():
    raise InputError("made for other images")


def extractor():
    return Extractor("thumb", {"digest": "abc", "accuracy": 0.5}, Counting())


CLASSES = 10
LABELS = tuple(Labels(RNG.integers(0, CLASSES, len(images)), CLASSES) for images in (TRAIN, HELD_OUT))


def evaluate(wanted, train=TRAIN, draw=lambda count: SAMPLES[:count], labels=None):
    return evaluation.of_images(lambda: (train, HELD_OUT), labels)(wanted)(draw)


def test_without_an_extractor_pixels_are_compared():
    figures = evaluate(Wanted())
    json.dumps(figures, allow_nan=False)
    names = {"FD-pixels", "SW-pixels"}
    assert set(figures) == {"samples"} | {name + end for name in names for end in ("", "_floor", "_ceiling")}
    assert figures["samples"] == 60

    def flat(images):
        return images.reshape(len(images), -1)

    held_out = flat(scaled(HELD_OUT))
    assert figures["FD-pixels"] == pytest.approx(frechet_distance(flat(SAMPLES), held_out), rel=1e-6)
    floor = frechet_distance(flat(scaled(TRAIN[SPACED])), held_out)
    assert figures["FD-pixels_floor"] == pytest.approx(floor, rel=1e-6)


@pytest.mark.parametrize("samples", [0, 20])
def test_of_a_set_in_the_order_of_its_names_every_kind_is_compared(samples):
    """Dark images before bright ones: the first ones of each set would be dark alone."""
    dark_and_bright = (np.repeat(np.uint8([0, 255]), 45), np.repeat(np.uint8([0, 255]), 30))
    sets = [np.broadcast_to(values[:, None, None, None], (len(values), 12, 12, 1)) for values in dark_and_bright]
    noise = np.random.default_rng(0).uniform(-1, 1, (60, 12, 12, 1)).astype(np.float32)
    figures = evaluation.of_images(lambda: sets)(Wanted(samples=samples))(lambda count: noise[:count])
    assert figures["samples"] == (samples or 60)
    assert figures["FD-pixels_floor"] == pytest.approx(0.0, abs=1e-3) and figures["FD-pixels"] > 10


def test_with_an_extractor_its_features_are_and_it_is_named():
    figures = evaluate(Wanted(extractor=extractor()))
    json.dumps(figures, allow_nan=False)
    assert figures["extractor"] == {"name": "thumb", "digest": "abc", "accuracy": 0.5}
    held_out = scaled(HELD_OUT)
    assert figures["FD-thumb"] == pytest.approx(frechet_distance(features(SAMPLES), features(held_out)), rel=1e-6)
    floor = frechet_distance(features(scaled(TRAIN[SPACED])), features(held_out))
    assert figures["FD-thumb_floor"] == pytest.approx(floor, rel=1e-6)
    balls = prdc(features(held_out), features(SAMPLES))  # real first: exchanged, precision and recall would be too
    assert figures["precision-thumb"] == balls.precision != figures["recall-thumb"] == balls.recall
    assert 1 <= figures["IS-thumb"] <= 10 and {"KD-thumb", "KD_std-thumb", "coverage-thumb_floor"} <= set(figures)
    assert not any(name.startswith("FID") for name in figures)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_had_alone(name):
    figures = evaluate(Wanted(metrics=(name,), extractor=extractor()), labels=lambda: LABELS)
    json.dumps(figures, allow_nan=False)
    measured = set(figures) - {"samples", "extractor"}
    assert measured and all(np.isfinite(figures[key]) for key in measured)
    assert {key.removesuffix("_floor").removesuffix("_ceiling") for key in measured} == {
        key for key in measured if not key.endswith(("_floor", "_ceiling"))
    }
    assert all(("-thumb" in key) == METRICS[name].of_features for key in measured)


def test_the_class_that_an_extractor_sees_is_compared_with_the_class_asked_for():
    """Samples are of one class after another, images of data of their labels."""
    figures = evaluate(Wanted(extractor=extractor()), labels=lambda: LABELS)

    def share(images, labels):
        return np.mean(np.argmax(images[:, 1, :10, 0], axis=1) == labels)

    assert figures["class_accuracy-thumb"] == share(SAMPLES, np.arange(60) % CLASSES)
    assert figures["class_accuracy-thumb_floor"] == share(TRAIN[SPACED], LABELS[0].values[SPACED])
    assert 0 < figures["class_accuracy-thumb_ceiling"] < 0.5
    assert "class_accuracy-thumb" not in evaluate(Wanted(extractor=extractor()))
    with pytest.raises(InputError, match="'class_accuracy' is of classes: these samples are of none"):
        evaluate(Wanted(("class_accuracy",), extractor=extractor()))


def test_a_reconstruction_is_compared_with_held_out_images_and_with_the_mean():
    of_state = evaluation.reconstruction(lambda key, state, x: x + state)
    figures = of_state(lambda: (TRAIN, HELD_OUT), None, np.float32(0.5))
    np.testing.assert_allclose(figures["reconstruction_error"], 0.25, rtol=1e-5)
    expected = np.mean((scaled(TRAIN).mean(axis=0) - scaled(HELD_OUT)) ** 2)
    np.testing.assert_allclose(figures["reconstruction_error_of_mean"], expected, rtol=1e-5)


def test_authenticity_asks_the_whole_training_set_and_its_floor_is_held_out():
    figures = evaluate(Wanted(metrics=("authenticity",), extractor=extractor()))
    train = features(scaled(TRAIN))
    assert figures["authenticity-thumb"] == authenticity(features(SAMPLES), train)
    assert figures["authenticity-thumb_floor"] == authenticity(features(scaled(HELD_OUT)), train) > 0
    by_heart = evaluate(
        Wanted(metrics=("authenticity",), extractor=extractor()), draw=lambda count: scaled(TRAIN[30:])[:count]
    )
    assert by_heart["authenticity-thumb"] == 0.0


def test_baselines_are_measured_once_in_a_run():
    eyes = extractor()
    of_set = evaluation.of_images(lambda: (TRAIN, HELD_OUT))
    measure = of_set(Wanted(extractor=eyes))
    asked = eyes.features.asked
    first = measure(lambda count: SAMPLES[:count])
    assert eyes.features.asked == asked + 4  # samples, held-out, training images, noise
    second = measure(lambda count: SAMPLES[:count])
    assert eyes.features.asked == asked + 5
    assert first == second
    fewer = of_set(Wanted(extractor=eyes, samples=40))(lambda count: SAMPLES[:count])
    assert fewer["samples"] == 40 and fewer["FD-thumb_floor"] != first["FD-thumb_floor"]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Wanted(metrics=("fid",)), "no metric 'fid': expected some of frechet_pixels"),
        (Wanted(metrics=("frechet",)), "give --extractor"),
        (Wanted(extractor=Extractor("other", {}, lambda images: refuse())), "other images"),
        (Wanted(samples=19), "19 samples are too few to measure: expected at least 20"),
        (Wanted(samples=61), "61 samples wanted: the data have 60"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_drawn(wanted, says):
    with pytest.raises(InputError, match=says):
        evaluation.of_images(lambda: (TRAIN, HELD_OUT))(wanted)


def test_images_that_a_metric_cannot_take_are_refused_before_anything_is_drawn():
    small = TRAIN[:, :8, :8], HELD_OUT[:, :8, :8]
    with pytest.raises(InputError, match="sides of more than 10 pixels"):
        evaluation.of_images(lambda: small)(Wanted(metrics=("pair_similarity",)))


def test_points_are_measured_by_their_modes():
    centers = np.array([[0.0, 0.0], [1.0, 1.0]])
    of_points = coverage.of_mixture(centers, 0.1)
    figures = of_points(Wanted())(lambda count: np.zeros((count, 2)))
    assert figures["samples"] == 2500 and figures["modes"] == 1 and figures["high_quality"] == 1.0
    assert of_points(Wanted(samples=7))(lambda count: np.zeros((count, 2)))["samples"] == 7
    for wanted in (Wanted(metrics=("frechet",)), Wanted(extractor=extractor())):
        with pytest.raises(InputError, match="modes alone"):
            of_points(wanted)
