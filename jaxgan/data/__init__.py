"""Where batches come from: a batch is a pure function of `(seed, step)`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

PyTree = Any


class Data(NamedTuple):
    """A source of batches, `batch(arrays, feed(seed, step))`.

    The host does `feed`, the device does `batch`, and `arrays` (a whole small data set, say) lie on the device for the
    whole run, so that a step moves no more than its indices. Nothing else is remembered between steps: a run resumes
    by asking for the next step.

    Attributes:
      feed: `(seed, step) -> fed`, a pytree of NumPy arrays of the same shapes and dtypes at every step.
      batch: `(arrays, fed) -> {"x": ..., "cond": ...}`, pure and traceable; `cond` only where there is conditioning.
      arrays: pytree of arrays that stay on the device; `{}` where there are none.
      size: number of examples in an epoch, or None where the source never ends.
      batch_size: number of examples in a batch.
      range: lowest and highest value that `x` may take, or None where it is unbounded.
      part: `(rows, seed, step) -> fed`, of which `batch` makes these rows of the step's batch and no others: what one
        of several processes feeds. None where there is less to feed than that: then each makes the batch whole.
    """

    feed: Callable[[int, int], PyTree]
    batch: Callable[[PyTree, PyTree], PyTree]
    arrays: PyTree
    size: int | None
    batch_size: int
    range: tuple[float, float] | None
    part: Callable[[np.ndarray, int, int], PyTree] | None = None

    def batch_at(self, seed: int, step: int) -> PyTree:
        """The batch of one step: `batch(arrays, feed(seed, step))`."""
        return self.batch(self.arrays, self.feed(seed, step))
