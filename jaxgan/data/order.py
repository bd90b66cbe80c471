"""Which examples the batch of a step holds: pure functions of the seed and the step."""

import functools
from collections.abc import Callable

import numpy as np

from jaxgan.data.labels import Labels
from jaxgan.errors import InputError

Order = Callable[[int, int], np.ndarray]
"""`(seed, step) -> indices`, int32 `[batch_size]`."""


def indices_at(seed: int, step: int, size: int, batch_size: int) -> np.ndarray:
    """Which examples the batch of a step holds: a slice of the permutation of its epoch.

    An epoch has `size // batch_size` steps and holds no example twice; the remainder, another one in every epoch, is
    left out.

    Args:
      seed: of the run, at least 0.
      step: from 0.
      size: examples in the set.
      batch_size: examples in a batch, at most `size`.

    Returns:
      int32 `[batch_size]`, a pure function of the arguments.

    Raises:
      InputError: the set is smaller than a batch.

    >>> epoch = [indices_at(seed=0, step=step, size=7, batch_size=3) for step in range(2)]
    >>> len(set(np.concatenate(epoch).tolist()))
    6
    """
    _check_batch_size(size, batch_size)
    epoch, position = divmod(step, size // batch_size)
    return _permutation(seed, epoch, size)[position * batch_size : (position + 1) * batch_size]


def shuffled(size: int, batch_size: int) -> Order:
    """The order of `indices_at`.

    Raises:
      InputError: the set is smaller than a batch.
    """
    _check_batch_size(size, batch_size)
    return lambda seed, step: indices_at(seed, step, size, batch_size)


def balanced(labels: Labels, batch_size: int) -> Order:
    """An order in which every batch holds each class equally often.

    Draw `d` of a run, counted from 0 through all its batches, is of the class `d % classes`: a batch holds each class
    `batch_size // classes` times, and the classes take turns at what remains. Every class has epochs of its own: of as
    many draws of it as it has examples, each of them once, in another order each time. So the examples of a small class
    are seen more often than those of a large one, and one is twice in a batch only where epochs of its class meet.
    Within a batch the order is random: neighbours, which some layers compare, are of mixed classes.

    Args:
      labels: of the whole set, with an example of every class.
      batch_size: examples in a batch, at least the number of classes and at most the size of the set.

    Returns:
      The indices of a step, a pure function of the labels, the seed and the step.

    Raises:
      InputError: a batch of fewer examples than classes, or of more than there are, or a class without examples.
    """
    values, classes = labels
    _check_batch_size(len(values), batch_size)
    if batch_size < classes:
        raise InputError(
            f"balanced batches of {batch_size}: expected at least one example of each of the {classes} classes: use "
            f"a batch size of {classes} or more"
        )
    counts = np.bincount(values, minlength=classes)
    if not counts.all():
        empty = np.flatnonzero(counts == 0)
        raise InputError(
            f"balanced batches: expected examples of each of the {classes} classes, got none of {len(empty)}, such as "
            f"class {empty[0]}: leave these classes out of the labels, or do not balance"
        )
    members = np.split(np.argsort(values, kind="stable").astype(np.int32), np.cumsum(counts)[:-1])

    @functools.lru_cache(maxsize=4 * classes)  # as much as of `_permutation`
    def epoch_of(seed, label, epoch):
        return members[label][_drawn(seed, (label, epoch), len(members[label]))]

    def example(seed, draw):
        turn, label = divmod(draw, classes)
        epoch, position = divmod(turn, len(members[label]))
        return epoch_of(seed, label, epoch)[position]

    def indices(seed, step):
        draws = range(step * batch_size, (step + 1) * batch_size)
        chosen = np.array([example(seed, draw) for draw in draws], np.int32)
        return chosen[_drawn(seed, (classes, step), batch_size)]  # no class has that number, and none these bits

    return indices


@functools.lru_cache(maxsize=4)  # training and evaluation, and the epoch before while batches are fetched ahead
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    permutation = _drawn(seed, (epoch,), size).astype(np.int32)
    permutation.flags.writeable = False  # every step of the epoch is a view of it
    return permutation


def _drawn(seed: int, stream: tuple[int, ...], size: int) -> np.ndarray:
    # spawn_key, not seed + epoch: no two runs share an epoch.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=stream))).permutation(size)


def _check_batch_size(size: int, batch_size: int) -> None:
    if not 1 <= batch_size <= size:
        largest = 1 << (size.bit_length() - 1)
        raise InputError(
            f"batch size: expected 1 to the {size} examples of the set, got {batch_size}: use {largest}, say"
        )
