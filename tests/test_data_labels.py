"""Labelled batches: every image comes with its own label, and balanced ones hold every class equally often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checks import refused
from PIL import Image

from jaxgan.data import Data, images, labels, order, source, split
from jaxgan.data.labels import Labels
from jaxgan.data.source import Source

DIGITS, LABELS = images.digits("train"), labels.load("digits", "train")
UNEVEN = Labels(np.repeat(np.arange(4, dtype=np.int32), [3, 20, 11, 6])[np.random.default_rng(0).permutation(40)], 4)
"""Forty labels, of classes of 3 to 20 examples."""
NUMBERED = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
"""Images whose only pixel says which they are."""


def lazily(array):
    return Source(len(array), array.shape[1:], lambda indices: array[indices])


def pixels(x):
    """The bytes of a batch."""
    return np.round((np.asarray(x) + 1) * 127.5).astype(np.uint8)


KINDS = {"array": lambda array: array, "source": lazily}
every_kind = pytest.mark.parametrize("kind", KINDS)


# Labels


@every_kind
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("seed", [0, 5])
def test_labels_are_those_of_the_images(seed, balanced, kind):
    # No two of these images are the same, so an image tells its label.
    known = dict(zip(map(bytes, DIGITS), LABELS.values.tolist(), strict=True))
    assert len(known) == len(DIGITS) == 1437
    data = images.dataset(KINDS[kind](DIGITS), batch_size=64, labels=LABELS, balanced=balanced)
    assert (data.size, data.batch_size) == (1437, 64)
    make = jax.jit(data.batch)
    for step in (0, 1, 21, 22, 23, 1000):
        batch = make(data.arrays, data.feed(seed, step))
        assert batch.keys() == {"x", "cond"}
        assert batch["cond"].dtype == jnp.int32 and batch["cond"].shape == (64,)
        assert [known[bytes(image)] for image in pixels(batch["x"])] == batch["cond"].tolist()
        assert jax.tree.map(np.array_equal, batch, data.batch_at(seed, step)) == {"x": True, "cond": True}


@every_kind
def test_labels_change_nothing_of_the_images(kind):
    plain = images.dataset(KINDS[kind](DIGITS), batch_size=50)
    labelled = images.dataset(KINDS[kind](DIGITS), batch_size=50, labels=LABELS)
    for seed, step in ((0, 0), (0, 27), (0, 28), (3, 100)):
        x = plain.batch_at(seed, step)
        assert x.keys() == {"x"}
        assert np.asarray(x["x"]).tobytes() == np.asarray(labelled.batch_at(seed, step)["x"]).tobytes()


@pytest.mark.parametrize("balanced", [False, True])
def test_large_arrays_have_the_same_labels(balanced, monkeypatch):
    small = images.dataset(DIGITS, batch_size=30, labels=LABELS, balanced=balanced)
    monkeypatch.setattr(source, "HOLD_BYTES", 10)
    large = images.dataset(DIGITS, batch_size=30, labels=LABELS, balanced=balanced)
    assert large.arrays == {}
    for step in (0, 77):
        assert jax.tree.map(np.array_equal, small.batch_at(1, step), large.batch_at(1, step)) == {"x": 1, "cond": 1}


@every_kind
@pytest.mark.parametrize("balanced", [False, True])
def test_a_part_is_these_rows_of_the_whole(balanced, kind):
    data = images.dataset(KINDS[kind](NUMBERED), batch_size=10, labels=UNEVEN, balanced=balanced)
    for seed, step in ((0, 0), (2, 3), (0, 50)):
        whole = data.batch_at(seed, step)
        for rows in (np.arange(5), np.arange(5, 10), np.array([7]), np.array([9, 0, 4])):
            part = data.batch(data.arrays, data.part(rows, seed, step))
            np.testing.assert_array_equal(part["x"], whole["x"][rows])
            np.testing.assert_array_equal(part["cond"], whole["cond"][rows])


@every_kind
def test_labels_are_copied(kind):
    values = UNEVEN.values.astype(np.int64)
    data = images.dataset(KINDS[kind](NUMBERED), batch_size=40, labels=Labels(values, 4), balanced=True)
    before = data.batch_at(0, 0)["cond"]
    values[:] = 0
    assert before.dtype == jnp.int32
    np.testing.assert_array_equal(before, data.batch_at(0, 0)["cond"])


# Balance


def draws(data: Data, seed: int, steps: range) -> list[np.ndarray]:
    """Which images the batches hold, of a set of numbered ones."""
    return [pixels(data.batch_at(seed, step)["x"]).ravel() for step in steps]


@every_kind
@pytest.mark.parametrize("batch_size", [4, 7, 10, 40])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_batch_holds_each_class_equally_often(seed, batch_size, kind):
    data = images.dataset(KINDS[kind](NUMBERED), batch_size=batch_size, labels=UNEVEN, balanced=True)
    total = np.zeros(4, int)
    for batch in draws(data, seed, range(24)):
        counts = np.bincount(UNEVEN.values[batch], minlength=4)
        assert counts.sum() == batch_size and set(counts) <= {batch_size // 4, -(-batch_size // 4)}
        total += counts
        assert total.max() - total.min() <= 1  # the remainder goes round
    assert (total == 24 * batch_size / 4).all()


@pytest.mark.parametrize("batch_size", [4, 7, 10, 40])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_class_gives_each_example_once_in_an_epoch_of_its_own(seed, batch_size):
    data = images.dataset(NUMBERED, batch_size=batch_size, labels=UNEVEN, balanced=True)
    times, counts = np.zeros(40, int), np.bincount(UNEVEN.values)
    for batch in draws(data, seed, range(300 // batch_size)):
        times += np.bincount(batch, minlength=40)
        for label, count in enumerate(counts):
            # All of them as often as there were whole epochs, and those of the epoch that is under way once more.
            epochs, further = divmod(times[UNEVEN.values == label].sum(), count)
            assert sorted(times[UNEVEN.values == label]) == [epochs] * (count - further) + [epochs + 1] * further
    assert times.max() > 20 > 3 >= times.min() > 0


def test_epochs_are_in_different_orders():
    at = order.balanced(Labels(np.zeros(30, np.int32), 1), 30)
    epochs = [at(seed, step).tolist() for seed in range(3) for step in range(3)]
    assert all(sorted(epoch) == list(range(30)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 9
    # And the examples of a batch are not those of the next: with two batches an epoch the halves differ by epoch.
    at = order.balanced(Labels(np.zeros(30, np.int32), 1), 15)
    halves = {frozenset(at(0, step).tolist()) for step in range(20)}
    assert len(halves) == 20 and all(frozenset(range(30)) - half in halves for half in halves)


def test_classes_are_mixed_within_a_batch():
    """Where the n-th examples of each class stood at the same place, layers that compare neighbours would see it."""
    at = order.balanced(LABELS, 40)
    placed = np.stack([LABELS.values[at(0, step)] for step in range(400)])
    counts = np.stack([(placed == label).sum(axis=0) for label in range(10)])
    # 40 of 400 expected at every place, with a standard deviation of 6.
    assert abs(counts - 40).max() < 5 * 6


def test_balanced_batches_are_pure_in_seed_and_step():
    expected = {(seed, step): order.balanced(UNEVEN, 10)(seed, step) for seed in range(3) for step in range(40)}
    at = order.balanced(UNEVEN, 10)
    for seed, step in reversed(expected):
        np.testing.assert_array_equal(at(seed, step), expected[seed, step])
        assert at(seed, step).dtype == np.int32
    for seed, step in ((0, 1), (1, 0), (1, 1)):
        assert not np.array_equal(expected[0, 0], expected[seed, step])


def test_a_late_step_takes_no_longer_than_the_first():
    labelled = Labels(np.arange(100_000, dtype=np.int32) % 1000, 1000)
    batch = order.balanced(labelled, 2000)(0, 10**12)
    assert np.array_equal(np.bincount(labelled.values[batch]), np.full(1000, 2))


# Refusals


@every_kind
@pytest.mark.parametrize(
    "values, classes, fragments",
    [
        (UNEVEN.values[:39], 4, ["[40]", "[39]", "one for each image"]),
        (UNEVEN.values[:, None], 4, ["[40]", "[40, 1]"]),
        (np.eye(4)[UNEVEN.values], 4, ["[40]", "float64 [40, 4]"]),
        (UNEVEN.values.astype(np.float32), 4, ["integers", "float32"]),
        (UNEVEN.values > 1, 2, ["integers", "bool"]),
        (UNEVEN.values, 3, ["from 0 to 2", "got 0 to 3"]),
        (UNEVEN.values - 1, 4, ["from 0 to 3", "got -1 to 2"]),
        (UNEVEN.values.astype(np.int64) + 2**40, 4, ["from 0 to 3", f"to {2**40 + 3}"]),
    ],
)
def test_labels_that_do_not_fit_are_refused(values, classes, fragments, kind):
    for balanced in (False, True):
        chosen = {"batch_size": 8, "labels": Labels(values, classes), "balanced": balanced}
        refused(lambda chosen=chosen: images.dataset(KINDS[kind](NUMBERED), **chosen), "labels", *fragments)


@every_kind
def test_what_cannot_be_balanced_is_refused(kind):
    def call(batch_size, labelled):
        return lambda: images.dataset(KINDS[kind](NUMBERED), batch_size=batch_size, labels=labelled, balanced=True)

    refused(call(8, None), "expected labels, got none")
    refused(call(3, UNEVEN), "balanced batches of 3", "4 classes", "4 or more")
    for batch_size in (0, 41):
        refused(call(batch_size, UNEVEN), "40 examples", f"got {batch_size}")
    refused(call(8, Labels(UNEVEN.values, 6)), "6 classes", "none of 2", "class 4")
    refused(call(8, Labels(UNEVEN.values + (UNEVEN.values > 0), 5)), "5 classes", "none of 1", "class 1")
    images.dataset(KINDS[kind](NUMBERED), batch_size=8, labels=Labels(UNEVEN.values, 6))


# Training and held-out labels


def test_labels_are_divided_like_the_images(tmp_path):
    for number in range(25):
        path = tmp_path / "set" / "abc"[number % 3] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(path)
    dataset = str(tmp_path / "set")
    divided = split.train_and_test_labels(dataset)
    for part, (values, classes) in zip(split.train_and_test(dataset, size=4, channels=1), divided, strict=True):
        assert classes == 3 and values.dtype == np.int32
        assert (part[:, 0, 0, 0] % 3).tolist() == values.tolist()
    assert [len(values) for values, _ in divided] == [23, 2]


def test_labels_of_digits_are_divided_like_the_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        parts = split.train_and_test("digits", size=8, channels=1)
        known = dict(zip(map(bytes, images.digits("all")), labels.load("digits", "all").values, strict=True))
        for part, (values, classes) in zip(parts, split.train_and_test_labels("digits"), strict=True):
            assert classes == 10 and [known[bytes(image)] for image in part] == values.tolist()
        assert [len(part) for part in parts] == [1437, 360]
        (tmp_path / "digits").mkdir(exist_ok=True)  # a folder of that name changes nothing
    refused(lambda: split.train_and_test_labels(str(tmp_path / "none.npy")), "no labels")
