"""Digits, slow at the place that `SLOW` names: the file `REACHED` appears when a run is there."""

import os
import pathlib
import time

from jaxgan.experiment import Experiment, load

DIGITS = pathlib.Path(__file__).parents[2] / "experiments" / "digits.py"
SECONDS = {"imports": 30, "tracing": 30, "evaluation": 30, "picture": 30, "batch": 1, "save": 0.05, "slower save": 3}
"""How long each place takes; those of 30 are to be left before."""
PICTURES = 2
"""The picture that is slow: the first is of the data."""
STEP = 25
"""The step whose batch is slow."""


def wait(place):
    """Takes long, and says so, where the environment names this place.

    In naps, between which Python sees a signal: one that comes on the way into `sleep` does not wake it.
    """
    if os.environ.get("SLOW") == place:
        pathlib.Path(os.environ["REACHED"]).touch()
        ends = time.monotonic() + SECONDS[place]
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))


def slow_disk(place):
    """Makes each file of a checkpoint take longer on its way to the disk (Linux), where the environment says so."""
    fsync = os.fsync

    def slow(handle):
        if "checkpoint-tmp" in os.readlink(f"/proc/self/fd/{handle}"):
            wait(place)
        fsync(handle)

    if os.environ.get("SLOW") == place:
        os.fsync = slow


wait("imports")
slow_disk("save")
slow_disk("slower save")


def experiment(*, batch_size: int = 16, features: int = 8) -> Experiment:
    """The game of `experiments/digits.py`.

    Args:
      batch_size: images in a step.
      features: channels of the widest feature maps.
    """
    plain, pictures = load(str(DIGITS))(batch_size=batch_size, features=features), []

    def data():
        source = plain.data()

        def feed(seed, step):
            if step == STEP:
                wait("batch")
            return source.feed(seed, step)

        return source._replace(feed=feed)

    def step(key, state, batch):
        wait("tracing")
        return plain.gan.step(key, state, batch)

    def picture(samples):
        pictures.append(samples.shape)
        if len(pictures) == PICTURES:
            wait("picture")
        return plain.picture(samples)

    def evaluate(wanted):
        measure = plain.evaluate(wanted)

        def measured(draw):
            wait("evaluation")
            return measure(draw)

        return measured

    return plain._replace(data=data, gan=plain.gan._replace(step=step), picture=picture, evaluate=evaluate)
