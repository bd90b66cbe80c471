"""The recipe by which the classifier is trained: one program an epoch, everything a function of the seed."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgan
from jaxgan.data import images, labels, paths
from jaxgan.data.source import Source
from jaxgan.errors import InputError
from jaxgan.features.classifier import LEAST_SIDE, Classifier, PyTree, Trained, outputs

_BATCH = 128  # images in a step of training
_EPOCHS, _LEAST_STEPS = 12, 2000  # a small set is seen more often
_RATE = 1e-3


def train(
    dataset: str,
    *,
    seed: int = 0,
    epochs: int | None = None,
    data_dir: str = "",
    manual_dir: str = "",
    say: Callable[[str], None] = print,
) -> Trained:
    """Trains a classifier on the split "train" of a set of images, and counts how often it is right on "test".

    Adam with a rate from 1e-3 to 0 along a cosine, batches of 128, dropout, images shifted at random by up to a 28th of
    their side. Labels are not smoothed: scores use the probabilities, which smoothing would flatten. Everything is a
    function of the seed: on one machine it gives the same weights each time. The test split has no part in training,
    nor in when it ends.

    Args:
      dataset: "digits", or a tensorflow-datasets set of labelled images with the splits "train" and "test".
      seed: of the first weights, the order of the images, shifts and dropout.
      epochs: passes over the data; by default 12, more for sets so small that this is less than 2,000 steps.
      data_dir: where prepared tensorflow-datasets sets lie, "" for the usual place.
      manual_dir: folder of the official files to prepare a set from, "" to download them.
      say: called with a line of text after each epoch.

    Returns:
      The weights, and what is known of them.

    Raises:
      InputError: no such set, no labels, images smaller than 8 by 8, or more than lie on a device at once.

    References:
      Kingma and Ba, Adam: A Method for Stochastic Optimization, https://arxiv.org/abs/1412.6980, 2014.
      Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983, 2016, Equation 5, without restarts.
    """
    pixels, (values, classes) = _labelled(dataset, "train", data_dir, manual_dir)
    test = _labelled(dataset, "test", data_dir, manual_dir)
    steps = -(-len(pixels) // _BATCH)
    epochs = max(_EPOCHS, -(-_LEAST_STEPS // steps)) if epochs is None else epochs
    if epochs < 1:
        raise InputError(f"epochs: expected at least 1, got {epochs}")
    params = _fit(pixels, values, classes, seed, epochs, say)
    about = {
        "kind": "classifier",
        "dataset": dataset,
        "seed": seed,
        "epochs": epochs,
        "accuracy": _accuracy(params, *test),
        "train_size": len(pixels),
        "image_shape": list(pixels.shape[1:]),
        "classes": classes,
        "versions": {"jaxgan": jaxgan.__version__, "jax": jax.__version__},
    }
    say(f"{dataset}: accuracy {100 * about['accuracy']:.2f} % of {len(test[0])} test images")
    return Trained(params, about)


def _labelled(dataset: str, split: str, data_dir: str, manual_dir: str) -> tuple[np.ndarray, labels.Labels]:
    if paths.is_path(dataset):
        raise InputError(
            f"extractor of {dataset}: expected 'digits' or the name of a tensorflow-datasets set, got a path: "
            "folders and files of images have no labels that others have too"
        )
    where = {"data_dir": data_dir, "manual_dir": manual_dir}
    classes = labels.load(dataset, split, **where)
    pixels = images.digits(split) if dataset == "digits" else images.tfds(dataset, split, **where)
    if isinstance(pixels, Source):
        raise InputError(f"{dataset}: expected images that fit into memory, got {pixels.size} of {pixels.image_shape}")
    if min(pixels.shape[1:3]) < LEAST_SIDE:
        raise InputError(f"{dataset}: expected images of at least 8 by 8 pixels, got {list(pixels.shape[1:])}")
    return pixels, classes


def _fit(pixels: np.ndarray, values: np.ndarray, classes: int, seed: int, epochs: int, say: Callable) -> PyTree:
    steps = -(-len(pixels) // _BATCH)
    model, tx = Classifier(classes), optax.adam(optax.cosine_decay_schedule(_RATE, epochs * steps))
    key = jax.random.key(seed)
    params = model.init(jax.random.fold_in(key, epochs), jnp.zeros((1, *pixels.shape[1:])))["params"]
    state = params, tx.init(params)
    run = jax.jit(functools.partial(_epoch, model, tx, steps), donate_argnums=1)
    pixels, values = jax.device_put((pixels, values))
    for epoch in range(epochs):
        state, loss = run(jax.random.fold_in(key, epoch), state, pixels, values)
        say(f"epoch {epoch + 1} of {epochs}: loss {float(loss):.4f}")
    return jax.device_get(state[0])


def _epoch(
    model: Classifier,
    tx: optax.GradientTransformation,
    steps: int,
    key: jax.Array,
    state: PyTree,
    pixels: jax.Array,
    values: jax.Array,
) -> tuple[PyTree, jax.Array]:
    """One pass over the data in one dispatch: the new state, and the mean loss."""
    order_key, key = jax.random.split(key)
    order = jnp.resize(jax.random.permutation(order_key, len(pixels)), (steps, _BATCH))  # the last batch is filled up

    def step(state, fed):
        params, opt = state
        number, chosen = fed
        shift_key, dropout_key = jax.random.split(jax.random.fold_in(key, number))
        x = _shifted(shift_key, images.scaled(pixels[chosen]))

        def loss_of(params):
            _, logits = model.apply({"params": params}, x, train=True, rngs={"dropout": dropout_key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, values[chosen]).mean()

        loss, gradient = jax.value_and_grad(loss_of)(params)
        updates, opt = tx.update(gradient, opt)
        return (optax.apply_updates(params, updates), opt), loss

    state, losses = jax.lax.scan(step, state, (jnp.arange(steps), order))
    return state, losses.mean()


def _shifted(key: jax.Array, x: jax.Array) -> jax.Array:
    """Each image moved by whole pixels, up to a 28th of its side, its border repeated."""
    reach = min(x.shape[1:3]) // 28
    padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    corners = jax.random.randint(key, (len(x), 2), 0, 2 * reach + 1)

    def cut(image, corner):
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), x.shape[1:])

    return jax.vmap(cut)(padded, corners)


def _accuracy(params: PyTree, pixels: np.ndarray, known: labels.Labels) -> float:
    _, logits = outputs(params, pixels)
    return float(np.mean(logits.argmax(axis=1) == known.values))
