"""The cost of compiled steps in counted operations: what would make them slow again, without a clock.

That a step is traced once in five calls is in `test_lift.py`, that the loop moves nothing between host and devices
unasked in `test_experiments.py`, that convolutions in loops take the fast path in `test_layers.py`.
"""

import pathlib
import re

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxgan import cost, losses
from jaxgan import experiment as experiments
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.layers import dense, fourier
from jaxgan.network import flax_network
from jaxgan.networks import dcgan

EXPERIMENTS = pathlib.Path(__file__).parent.parent / "experiments"


def flops(gan, batch):
    key = jax.eval_shape(lambda: jax.random.key(0))
    return cost.of(gan.step, key, jax.eval_shape(gan.init, key, batch), batch).flops


def test_the_grid_takes_no_product_more_than_its_mathematics():
    """Products of `[batch, width]` with `[width, width]`: G's forward pass and two gradients; for D, on data and on
    samples each, a forward pass, the input's gradient, and four for the gradients of both with respect to the weights;
    in G's turn D forward on both, and back on samples. All else is small."""
    batch, width = 512, 128
    gan = experiments.load(str(EXPERIMENTS / "grid.py"))(batch_size=batch, width=width).gan
    products = 3 + 2 * 6 + 3
    by_hand = products * 2 * batch * width**2
    assert by_hand < flops(gan, {"x": jax.ShapeDtypeStruct((batch, 2), jnp.float32)}) < 1.1 * by_hand


def thin_products(gan, batch):
    """The products of a step, as written for a CPU, that have a side of two, three or four."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    program = jax.jit(gan.step).lower(key, jax.eval_shape(gan.init, key, batch), batch).as_text()
    found = re.findall(r"stablehlo\.dot_general .*", program)
    assert len(found) >= 18  # those of the test above
    return [line for line in found if re.search(r"[<x][234]x", line.split(" : ")[-1])]


def test_no_product_of_the_grid_is_thin(monkeypatch):
    """A CPU is slow at these: as one product each, they made a sixth of its step."""
    make = experiments.load(str(EXPERIMENTS / "grid.py"))
    batch = {"x": jax.ShapeDtypeStruct((512, 2), jnp.float32)}
    assert thin_products(make(batch_size=512).gan, batch) == []
    monkeypatch.setattr(dense, "THIN", 0)
    assert len(thin_products(make(batch_size=512).gan, batch)) > 10  # the test would find them


def dcgan_gan():
    tx = optax.adam(1e-4)
    return make_gan(
        flax_network(dcgan.Generator()),
        flax_network(dcgan.Discriminator(dropout=0.3)),
        losses.non_saturating,
        generator_tx=tx,
        discriminator_tx=tx,
        latent=normal_latents(100),
    )


@pytest.mark.parametrize("form, most", [("fourier", 21e9), ("plain", 59e9)])
def test_the_step_of_the_tutorials_dcgan(form, most, monkeypatch):
    """Batch 128: 19.6 GFLOP with Fourier transforms, 56.9 without; a second forward pass of G would be 7.7 more."""
    if form == "plain":
        monkeypatch.setattr(fourier, "pays", lambda *shapes: False)
    batch = {"x": jax.ShapeDtypeStruct((128, 28, 28, 1), jnp.float32)}
    assert 0.8 * most < flops(dcgan_gan(), batch) < most
