"""Stacked images: what the batches are, and that their modes are counted as they are."""

import jax
import numpy as np
import pytest

from jaxgan import coverage
from jaxgan.data import images, stacked
from jaxgan.errors import InputError
from jaxgan.evaluation import Wanted
from jaxgan.features import Extractor


def test_a_stacked_image_has_three_images_for_channels():
    grey = images.digits("all")
    chosen = stacked.triples(len(grey), 500)
    assert chosen.min() < 20 and chosen.max() >= len(grey) - 20 and len(np.unique(chosen, axis=0)) == 500
    data = stacked.stacked(grey, chosen, batch_size=100)
    rows = np.concatenate([data.feed(3, step) for step in range(5)])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], chosen[np.lexsort(chosen.T)])  # an epoch has each once
    x = jax.jit(data.batch)(data.arrays, data.feed(3, 4))["x"]
    assert x.shape == (100, 8, 8, 3)
    for i, (red, green, blue) in enumerate(data.feed(3, 4)):
        for channel, image in enumerate((red, green, blue)):
            np.testing.assert_allclose(x[i, :, :, channel], grey[image, :, :, 0] / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(data.part(np.arange(40, 60), 3, 4), data.feed(3, 4)[40:60])


@pytest.mark.parametrize(
    ("shape", "chosen", "says"),
    [
        ((5, 4, 4, 3), [[0, 1, 2]], "grey"),
        ((5, 4, 4, 1), [[0, 1, 5]], "below 5"),
        ((5, 4, 4, 1), [[0, 1]], "[N, 3]"),
        ((5, 4, 4, 1), [[0, 1, 2]], "batch"),
    ],
)
def test_what_cannot_be_stacked_is_refused(shape, chosen, says):
    with pytest.raises(InputError, match=says.replace("[", r"\[")):
        stacked.stacked(np.zeros(shape, np.uint8), np.array(chosen), batch_size=2)


def by_brightness(x):
    """An extractor for images of ten grey levels: their class is their level."""
    classes = np.rint((x.mean(axis=(1, 2, 3)) + 1) * 4.5).astype(int)
    return np.zeros((len(x), 2)), np.eye(10)[classes]


LEVELS = np.tile(np.round(np.arange(10) * 255 / 9).astype(np.uint8)[:, None, None, None], (1, 16, 16, 1))
WANTED = Wanted(extractor=Extractor("levels", {"digest": "none"}, by_brightness))


def test_modes_are_counted_and_stand_beside_those_of_data_and_noise():
    """A sampler of 3 modes, each equally often, has `log(1000 / 3)`; a perfect one about `999 / 2 N`."""
    evaluate = coverage.of_stacked(lambda: LEVELS)(WANTED)

    def draw(count):
        of_three = LEVELS[np.arange(count) % 3][..., 0] / np.float32(127.5) - 1
        return np.stack([of_three] * 3, axis=-1)

    figures = evaluate(draw)
    assert figures["samples"] == 26_000 and figures["extractor"] == {"name": "levels", "digest": "none"}
    assert figures["modes"] == 3 and figures["modes_floor"] == 1000 and figures["modes_ceiling"] < 10
    assert figures["reverse_kl"] == pytest.approx(np.log(1000 / 3), rel=1e-3)
    assert figures["reverse_kl_floor"] == pytest.approx(999 / 2 / 26_000, rel=0.15)


def test_stacked_images_ask_for_a_classifier():
    for wanted in (Wanted(), WANTED._replace(metrics=("frechet",))):
        with pytest.raises(InputError, match="--extractor"):
            coverage.of_stacked(lambda: LEVELS)(wanted)
