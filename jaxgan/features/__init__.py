"""Feature extractors: networks that turn images into the features and class logits that metrics compare."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxgan.data import files


class Extractor(NamedTuple):
    """A network whose features are compared; every figure made with it carries its name and `about`.

    Attributes:
      name: goes into the figures' names, "FD-<name>"; only the features of the original graph are ever called FID.
      about: what tells it apart in a report: `digest` (SHA-256 of the weights), and accuracy, seed, data set.
      features: images `[N, H, W, C]` in [-1, 1], NumPy, to `(features [N, d], logits [N, classes])`, NumPy float32.
    """

    name: str
    about: dict[str, Any]
    features: Callable

    @property
    def told(self) -> dict[str, Any]:
        """Its name and `about`, as a report has them."""
        return {"name": self.name} | self.about


def load(path: str | os.PathLike, *, sha256: str = "") -> Extractor:
    """The extractor whose weights a file holds: a classifier of `jaxgan extractor`, or the original Inception network.

    Args:
      path: a `.npz` file; opening it never runs code.
      sha256: the digest that the file must have, hexadecimal; "" for any.

    Raises:
      InputError: when it is no such file, or not that one.
    """
    from jaxgan.features import classifier, inception, weights

    with weights.opened(path, "the .npz file of a feature extractor", "make one with jaxgan extractor") as (archive, _):
        is_classifier = classifier.ABOUT in files.names(archive)
    return (classifier.read if is_classifier else inception.inception)(path, sha256=sha256)
