"""What an experiment file gives: one function whose keyword defaults are its configuration."""

import functools
import hashlib
import importlib.util
import inspect
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxgan import coverage, evaluation, render
from jaxgan.data import Data, images, mixtures, split, stacked
from jaxgan.errors import InputError
from jaxgan.evaluation import Wanted
from jaxgan.gan import GAN

AXIS_OPTION = "axis_name"
"""The keyword by which an experiment is told of a mapped axis; set by the lift, never on the command line."""


class Experiment(NamedTuple):
    """What the function `experiment` of an experiment file returns.

    Attributes:
      gan: the three pure functions.
      data: makes the training data; called only where training needs them.
      picture: samples `[N, ...]` to one picture, uint8 `[height, width, 1 or 3]`.
      picture_count: number of samples in a picture during training.
      evaluate: takes what is wanted, and refuses what cannot be had; gives a function that takes one that draws so many
        samples, `count -> [count, ...]`, and gives named figures for JSON.
      of_state: `(key, state) -> figures`, what is measured beside samples, such as an encoder's error; or None.
      conditions: what its samples are conditioned on, one after another, such as its classes; a pytree of `[n, ...]`,
        or None.
    """

    gan: GAN
    data: Callable[[], Data]
    picture: Callable[[np.ndarray], np.ndarray]
    picture_count: int
    evaluate: Callable[[Wanted], Callable[[Callable[[int], np.ndarray]], dict[str, Any]]]
    of_state: Callable[[Any, Any], dict[str, float]] | None = None
    conditions: Any = None


def image_experiment(
    gan: GAN,
    dataset: str,
    *,
    size: int,
    channels: int,
    batch_size: int,
    data_dir: str = "",
    manual_dir: str = "",
    classes: int = 0,
    balanced: bool = False,
    of_state: Callable | None = None,
) -> Experiment:
    """A GAN of images with their data, their grid and their quality.

    Args:
      gan: the game.
      dataset: "digits", a folder of images, a `.npy` or `.npz` file, or the name of a tensorflow-datasets set.
      size: height and width, pixels.
      channels: 1 (grey) or 3 (RGB).
      batch_size: images that one step consumes.
      data_dir: where prepared tensorflow-datasets sets lie, "" for `$TFDS_DATA_DIR` or their usual place.
      manual_dir: folder of the official files to prepare a set from, "" to download them.
      classes: number of classes of a set with labels, which are the condition; 0 where there is none.
      balanced: whether every batch holds each class equally often.
      of_state: as of `Experiment`, but `(sets, key, state) -> figures`, where `sets()` are the images to train on and
        those held out.
    """
    where = {"data_dir": data_dir, "manual_dir": manual_dir}
    sets = functools.cache(lambda: split.train_and_test(dataset, size=size, channels=channels, **where))

    @functools.cache
    def labels():
        found = split.train_and_test_labels(dataset, **where)
        if found[0].classes != classes:
            raise InputError(f"data set {dataset}: expected {classes} classes, got {found[0].classes}")
        return found

    def data():
        given = {"labels": labels()[0], "balanced": balanced} if classes else {}
        return images.dataset(sets()[0], batch_size=batch_size, **given)

    columns = classes or 8
    return Experiment(
        gan=gan,
        data=data,
        picture=functools.partial(render.image_grid, columns=columns),
        picture_count=8 * columns,
        evaluate=evaluation.of_images(sets, labels if classes else None),
        of_state=None if of_state is None else functools.partial(of_state, sets),
        conditions=np.arange(classes, dtype=np.int32) if classes else None,
    )


def mixture_experiment(gan: GAN, centers: np.ndarray, std: float, *, batch_size: int) -> Experiment:
    """A GAN of points of a 2-D Gaussian mixture with their data, their density and their modes.

    Args:
      gan: the game.
      centers: `[modes, 2]`.
      std: standard deviation of each mode, along each axis.
      batch_size: points that one step consumes.
    """
    extent = 1.25 * float(np.abs(centers).max())
    return Experiment(
        gan=gan,
        data=lambda: mixtures.mixture(centers, std, batch_size=batch_size),
        picture=functools.partial(render.point_density, extent=extent),
        picture_count=coverage.POINTS,
        evaluate=coverage.of_mixture(centers, std),
    )


def stacked_experiment(
    gan: GAN, dataset: str, *, size: int, batch_size: int, data_dir: str = "", manual_dir: str = ""
) -> Experiment:
    """A GAN of stacked images with their data, drawn once from all of a set, their grid and their modes.

    Args:
      gan: the game, of images with three channels.
      dataset: "digits", or the name of a tensorflow-datasets set of ten classes of grey images.
      size: height and width, pixels.
      batch_size: stacked images that one step consumes.
      data_dir: as of `image_experiment`.
      manual_dir: as of `image_experiment`.
    """

    @functools.cache
    def grey():
        where = {"size": size, "channels": 1, "data_dir": data_dir, "manual_dir": manual_dir}
        return np.concatenate([images.load(dataset, part, **where) for part in ("train", "test")])

    def data():
        return stacked.stacked(grey(), stacked.triples(len(grey())), batch_size=batch_size)

    return Experiment(
        gan=gan, data=data, picture=render.image_grid, picture_count=64, evaluate=coverage.of_stacked(grey)
    )


def load(path: str) -> Callable[..., Experiment]:
    """The function `experiment` of a Python file.

    Args:
      path: the file, e.g. `experiments/digits.py`.

    Returns:
      The function; its keyword defaults are the experiment's configuration.

    Raises:
      InputError: when there is no such file, or it is not Python, or there is no such function in it, or an option of
        it has no default. What else the file raises is its author's, and passes with its traceback.
    """
    file = pathlib.Path(path)
    if not file.is_file() or file.suffix != ".py":
        raise InputError(f"no experiment {path!r}: expected a Python file, such as experiments/digits.py")
    spec = importlib.util.spec_from_file_location(f"experiment_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.get_code(spec.name)
    except (OSError, SyntaxError, ValueError, MemoryError, RecursionError) as error:  # the last two: nested too deep
        raise InputError(f"{path}: expected a Python file, got one that is not ({error})") from error
    spec.loader.exec_module(module)
    function = getattr(module, "experiment", None)
    if not callable(function):
        raise InputError(f"{path} has no function 'experiment': it must define one that returns an Experiment")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
            raise InputError(
                f"{path}: option {parameter.name!r} of 'experiment' must be keyword-only and have a default"
            )
    return function


def options(function: Callable[..., Experiment]) -> dict[str, inspect.Parameter]:
    """The options that an experiment offers, by name: its keywords but `axis_name`."""
    return {name: p for name, p in inspect.signature(function).parameters.items() if name != AXIS_OPTION}


def digest(path: str) -> str:
    """SHA-256 of an experiment file, hexadecimal."""
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
