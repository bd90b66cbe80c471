"""The cases with jaxgan, as a user would write them."""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cases import FIGURES, Case, Check, checked_batches, checked_shares, data

from jaxgan import lift, losses, penalties, startup
from jaxgan.gan import GAN, make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import dcgan, mlp, resnet
from jaxgan.players import GANState

startup.set_flags()  # as the command line does, before jax starts its devices

LOSSES = {
    "non_saturating": losses.non_saturating,
    "relativistic": losses.relativistic,
    "wasserstein": losses.wasserstein,
}


def about() -> dict:
    # XLA takes every core that it may; there is no asking it.
    return {"versions": {"jax": jax.__version__}, "threads": len(os.sched_getaffinity(0))}


def modules(case: Case, dropout: float) -> tuple:
    """Both networks as Flax modules."""
    if case.networks == "mlp":
        return mlp.Generator(case.shape, case.generator), mlp.Discriminator(case.discriminator)
    if case.networks == "resnet":
        return (
            resnet.Generator(features=case.generator),
            resnet.Discriminator(case.discriminator, spectral_norm=False),
        )
    return dcgan.Generator(features=case.generator), dcgan.Discriminator(case.discriminator, dropout=dropout)


def penalty(case: Case, interpolate: Callable) -> Callable | None:
    """The discriminator's penalty; `interpolate` as `penalties.interpolate`."""

    def gradient(key, step, critic, real, fake):
        return case.weight * penalties.gradient_penalty(critic, interpolate(key, real, fake))

    return {"r1_r2": penalties.r1_r2(case.weight), "gradient": gradient, "": None}[case.penalty]


def make(
    case: Case, tx: optax.GradientTransformation, *, latent: Callable, interpolate: Callable, dropout: float
) -> GAN:
    """The case's GAN, with what tells a timed one from a compared one."""
    generator, discriminator = modules(case, dropout)
    return make_gan(
        flax_network(generator),
        flax_network(discriminator),
        LOSSES[case.loss],
        generator_tx=tx,
        discriminator_tx=tx,
        latent=latent,
        discriminator_penalty=penalty(case, interpolate),
        discriminator_steps=case.discriminator_steps,
        simultaneous=case.simultaneous,
    )


def timed(case: Case) -> GAN:
    """The GAN whose steps are timed."""
    return make(
        case,
        optax.adam(case.learning_rate, *case.betas),
        latent=normal_latents(case.latent),
        interpolate=penalties.interpolate,
        dropout=case.dropout,
    )


def compared(case: Case, check: Check) -> GAN:
    """The GAN whose numbers are compared: nothing in it is random."""
    sgd, adam = optax.sgd(case.sgd_rate), optax.adam(case.learning_rate, *case.betas)

    def blend(key, real, fake):
        share = jnp.asarray(checked_shares(check)).reshape(-1, *(1,) * (real.ndim - 1))
        return share * real + (1 - share) * fake

    return make(
        case,
        {"sgd": sgd, "adam": adam}[check.optimiser],
        latent=lambda key, batch: batch["z"],
        interpolate=blend,
        dropout=0.0,
    )


def first_state(gan: GAN, case: Case) -> GANState:
    """The state before the first compared step, float32."""
    x, z = checked_batches(case, Check("", "float32", 1))[0]
    return jax.jit(gan.init)(jax.random.key(0), {"x": x, "z": z})


def weights(case: Case, path: str) -> dict:
    """Writes both players' initial parameters, `generator/<layer>/<name>` and so on, as an .npz file."""
    state = first_state(compared(case, Check("sgd", "float32", 1)), case)
    players = {"generator": state.generator.params, "discriminator": state.discriminator.params}
    leaves = jax.tree_util.tree_leaves_with_path(players)
    arrays = {"/".join(key.key for key in keys): np.asarray(leaf) for keys, leaf in leaves}
    np.savez(path, **arrays)
    return {"parameters": sum(array.size for array in arrays.values())}


def figures(case: Case, form: str, check: Check, weights: str) -> list[dict[str, float]]:
    """What the steps report; the weights are those that `weights` writes, and are not read."""
    gan = compared(case, check)
    state = first_state(gan, case)
    with jax.enable_x64(check.dtype == "float64"):
        state = jax.tree.map(lambda v: v.astype(check.dtype) if v.dtype == jnp.float32 else v, state)
        return _figures(gan, state, [{"x": x, "z": z} for x, z in checked_batches(case, check)], form)


def _figures(gan, state, batches, form):
    key = jax.random.key(0)
    if form == "scan":
        stacked = jax.tree.map(lambda *v: jnp.stack(v), *batches)
        _, rows = lift.jit(lift.scan(gan.step))(key, state, stacked)
        rows = [jax.tree.map(lambda v, i=i: v[i], rows) for i in range(len(batches))]
    else:
        step, rows = lift.jit(gan.step), []
        for batch in batches:
            state, metrics = step(key, state, batch)
            rows.append(metrics)
    return [{name: float(row[name]) for name in FIGURES if name in row} for row in rows]


def start(case: Case, form: str) -> tuple[Callable[[int], None], dict]:
    gan, key, batch = timed(case), jax.random.key(0), {"x": jnp.asarray(data(case))}
    state = jax.jit(gan.init)(key, batch)
    if form == "scan":
        batch = jax.tree.map(lambda v: jnp.stack([v] * case.scan), batch)
        step, at_once = lift.jit(lift.scan(gan.step)), case.scan
    else:
        step, at_once = lift.jit(gan.step), 1
    cost = step.lower(key, state, batch).compile().cost_analysis()

    def run(count):
        nonlocal state
        for _ in range(count // at_once):
            state, _ = step(key, state, batch)
        jax.block_until_ready(state)

    # The cost of a loop is that of one turn of it.
    return run, {"flops": cost["flops"], "steps_a_call": at_once}
