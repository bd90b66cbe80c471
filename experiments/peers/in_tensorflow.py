"""The cases with TensorFlow and Keras, as the tutorial writes them: graphs by `tf.function`, compiled by XLA or not."""

import os
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from cases import FIGURES, Case, Check, checked_batches, data
from keras import layers

softplus = tf.math.softplus
# Of (real, fake); on lines of their own, which is how `tf.function` finds their source.
DISCRIMINATOR_LOSSES = {
    "non_saturating": lambda real, fake: softplus(-real) + softplus(fake),
    "relativistic": lambda real, fake: softplus(fake - real),
}
GENERATOR_LOSSES = {
    "non_saturating": lambda real, fake: softplus(-fake),
    "relativistic": lambda real, fake: softplus(real - fake),
}


def about() -> dict:
    threads = tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0))
    return {"versions": {"tensorflow": tf.__version__, "keras": keras.__version__}, "threads": threads}


def make(case: Case, dropout: float) -> tuple[keras.Model, keras.Model]:
    """Both networks; layers with weights have the names that Flax gives ours."""
    if case.networks == "mlp":
        generator = [layer for i, n in enumerate(case.generator) for layer in (dense(i, n), layers.ReLU())]
        generator.append(dense(len(case.generator), case.shape[0]))
        discriminator = [layer for i, n in enumerate(case.discriminator) for layer in (dense(i, n), leaky(0.01))]
        discriminator.append(dense(len(case.discriminator), 1))
    else:
        first, second, third = case.generator

        def transposed(i, features, stride):
            return layers.Conv2DTranspose(
                features, 5, stride, padding="same", use_bias=False, name=f"ConvTranspose_{i}"
            )

        def norm(i):
            return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"BatchNorm_{i}")

        generator = [layers.Dense(7 * 7 * first, use_bias=False, name="Dense_0"), norm(0), leaky(0.3)]
        generator += [layers.Reshape((7, 7, first)), transposed(0, second, 1), norm(1), leaky(0.3)]
        generator += [transposed(1, third, 2), norm(2), leaky(0.3), transposed(2, 1, 2), layers.Activation("tanh")]
        discriminator = []
        for i, features in enumerate(case.discriminator):
            convolution = layers.Conv2D(features, 5, 2, padding="same", name=f"Conv_{i}")
            discriminator += [convolution, leaky(0.3), layers.Dropout(dropout)]
        discriminator += [layers.Flatten(), dense(0, 1)]
    return (
        keras.Sequential([keras.Input((case.latent,)), *generator]),
        keras.Sequential([keras.Input(case.shape), *discriminator]),
    )


def dense(i: int, features: int) -> layers.Dense:
    return layers.Dense(features, name=f"Dense_{i}")


def leaky(slope: float) -> layers.LeakyReLU:
    return layers.LeakyReLU(negative_slope=slope)


def load(model: keras.Model, weights: dict[str, np.ndarray], prefix: str) -> None:
    """Copies our weights into a network; Keras has them as we have but for its transposed convolutions."""
    for layer in model.layers:
        for variable in layer.trainable_variables:
            part = {"gamma": "scale", "beta": "bias"}.get(variable.name, variable.name)
            value = weights[f"{prefix}/{layer.name}/{part}"]
            variable.assign(value.transpose(0, 1, 3, 2) if isinstance(layer, layers.Conv2DTranspose) else value)


def make_step(case: Case, form: str, players: tuple, optimisers: tuple) -> Callable:
    """A step `(real, latents) -> (losses, gradient norms)`."""
    generator, discriminator = players
    g_tx, d_tx = optimisers
    for player, tx in zip(players, optimisers, strict=True):
        tx.build(player.trainable_variables)
    d_loss_of, g_loss_of = DISCRIMINATOR_LOSSES[case.loss], GENERATOR_LOSSES[case.loss]

    def judge(x):
        return discriminator(x, training=True)[:, 0]

    def move(player, tx, grads):
        tx.apply_gradients(zip(grads, player.trainable_variables, strict=True))
        return tf.linalg.global_norm(grads)

    def simultaneous(real, z):
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            fake = generator(z, training=True)
            logits = judge(real), judge(fake)
            d_loss, g_loss = (tf.reduce_mean(of(*logits)) for of in (d_loss_of, g_loss_of))
        d_norm = move(discriminator, d_tx, d_tape.gradient(d_loss, discriminator.trainable_variables))
        g_norm = move(generator, g_tx, g_tape.gradient(g_loss, generator.trainable_variables))
        return d_loss, None, g_loss, d_norm, g_norm

    def alternating(real, z):
        with tf.GradientTape() as g_tape:
            fake = generator(z, training=True)
        with tf.GradientTape() as d_tape:
            with tf.GradientTape() as inner:
                inner.watch((real, fake))
                logits = judge(real), judge(fake)
            grads = inner.gradient(logits, (real, fake))
            d_loss = tf.reduce_mean(d_loss_of(*logits))
            penalty = 0.5 * case.weight * sum(tf.reduce_mean(tf.reduce_sum(g**2, 1)) for g in grads)
            objective = d_loss + penalty
        d_norm = move(discriminator, d_tx, d_tape.gradient(objective, discriminator.trainable_variables))
        with tf.GradientTape() as tape:
            tape.watch(fake)
            g_loss = tf.reduce_mean(g_loss_of(judge(real), judge(fake)))
        g_grads = g_tape.gradient(fake, generator.trainable_variables, tape.gradient(g_loss, fake))
        return d_loss, penalty, g_loss, d_norm, move(generator, g_tx, g_grads)

    return tf.function(simultaneous if case.simultaneous else alternating, jit_compile=form == "jit_compile")


def build(case: Case, form: str, optimiser: str, dropout: float, weights: str = "") -> Callable:
    players = make(case, dropout)
    if weights:
        with np.load(weights, allow_pickle=False) as file:
            for player, name in zip(players, ("generator", "discriminator"), strict=True):
                load(player, dict(file), name)

    def tx():
        if optimiser == "sgd":
            return keras.optimizers.SGD(case.sgd_rate)
        # Keras adds epsilon to the root of the second moment before it is corrected for its start at zero, others
        # after: this one is theirs in the first step, and close in the next ones.
        epsilon = 1e-8 * (1 - case.betas[1]) ** 0.5
        return keras.optimizers.Adam(case.learning_rate, *case.betas, epsilon=epsilon)

    return make_step(case, form, players, (tx(), tx()))


def figures(case: Case, form: str, check: Check, weights: str) -> list[dict[str, float]]:
    """What the steps report."""
    keras.config.set_floatx(check.dtype)
    keras.config.set_dtype_policy(check.dtype)
    step, rows = build(case, form, check.optimiser, 0.0, weights), []
    for x, z in checked_batches(case, check):
        row = zip(FIGURES, step(tf.constant(x), tf.constant(z)), strict=True)
        rows.append({name: float(value) for name, value in row if value is not None})
    return rows


def start(case: Case, form: str) -> tuple[Callable[[int], None], dict]:
    keras.utils.set_random_seed(0)
    step, real = build(case, form, "adam", case.dropout), tf.constant(data(case))

    def draw_and_step():
        return step(real, tf.random.normal((case.batch, case.latent)))

    whole = tf.function(draw_and_step, jit_compile=form == "jit_compile")

    def run(count):
        for _ in range(count):
            losses = whole()
        float(losses[0])

    return run, {}
