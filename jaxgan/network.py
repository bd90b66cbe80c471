"""A network as two pure functions: Flax modules as such, and networks made of networks."""

import inspect
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

PyTree = Any
Precision = Literal["float32", "bfloat16"]
"""What networks compute in, by name: the type of an experiment's option."""


class Network(NamedTuple):
    """A network as two pure functions; `flax_network` makes one of a Flax module.

    Attributes:
      init: `(key, x, cond) -> variables`, a dict with `"params"` and any further collections (statistics).
      apply: `(variables, x, cond, *, key, train, step) -> (output, variables)`, the second with statistics moved on;
        the step is of the training, for networks that change in its course, or None for what they become.
    """

    init: Callable
    apply: Callable


def flax_network(module: Any) -> Network:
    """A Flax (linen) module as a `Network`.

    The module's `__call__` takes `x` and, if it names them, `cond`, `train` and `step`; what is random in it draws from
    `"dropout"`.

    Args:
      module: a Flax linen module.

    Returns:
      A `Network` whose statistics are all the module's collections but `"params"`.

    Raises:
      ValueError: when a batch brings `cond` and the module does not take it.
    """
    named = inspect.signature(module.__call__).parameters

    def arguments(cond, train, step=None):
        if cond is not None and "cond" not in named:
            raise ValueError(
                f"the batch has a 'cond', but {type(module).__name__} does not take cond: give it one, or drop it"
            )
        return {name: value for name, value in (("cond", cond), ("train", train), ("step", step)) if name in named}

    def init(key, x, cond):
        return module.init(key, x, **arguments(cond, train=False))

    def apply(variables, x, cond, *, key, train, step=None):
        mutable = [name for name in variables if name != "params"] if train else []
        output, moved = module.apply(
            variables, x, **arguments(cond, train, step), rngs={"dropout": key}, mutable=mutable or ["nothing"]
        )
        return output, {**variables, **moved}

    return Network(init, apply)


def unconditioned(network: Network) -> Network:
    """A network that is not told the batch's condition: a discriminator that is to find the class out, say."""

    def apply(variables, x, cond, *, key, train, step=None):
        return network.apply(variables, x, None, key=key, train=train, step=step)

    return Network(lambda key, x, cond: network.init(key, x, None), apply)


def in_precision(network: Network, precision: Precision) -> Network:
    """A network that computes in another precision; all that is kept from step to step stays in float32.

    `y = float32(f(bfloat16(params), bfloat16(x), bfloat16(cond)))`: parameters, inputs and conditions are rounded at
    the door, outputs widened. So optimisers, averages, losses and the norms in penalties are in float32, and gradients
    come back in it, each rounded once: an update too small for a bfloat16 weight is not lost. Statistics are neither
    rounded nor narrowed. bfloat16 has the range of float32, so losses need no scaling.

    Within the network, sums over many numbers must be in float32 too. Matrix products, convolutions, Flax's
    normalisations and the layers of `jaxgan.layers` do so; the gradient of a bias in Flax's own layers does not. Flax's
    `SpectralNorm` gives its kernels the dtype of its statistics unless it is told `dtype=x.dtype`.

    Args:
      network: its modules leave `dtype` unset, so that they compute in what they are given.
      precision: "float32" leaves the network as it is.

    Returns:
      A network of the same variables.

    Raises:
      ValueError: for another precision.

    References:
      Micikevicius et al., Mixed Precision Training, https://arxiv.org/abs/1710.03740, 2018, Section 3.1.
    """
    if precision == "float32":
        return network
    if precision != "bfloat16":
        raise ValueError(f"precision={precision!r}: expected 'float32' or 'bfloat16'")

    def apply(variables, x, cond, *, key, train, step=None):
        rounded = {**variables, "params": _cast(variables["params"], jnp.bfloat16)}
        x, cond = _cast((x, cond), jnp.bfloat16)
        output, moved = network.apply(rounded, x, cond, key=key, train=train, step=step)
        moved = {**moved, "params": variables["params"]}
        return _cast(output, jnp.float32), jax.tree.map(lambda new, old: new.astype(old.dtype), moved, variables)

    return Network(network.init, apply)


def _cast(tree: PyTree, dtype: jnp.dtype) -> PyTree:
    """Floating-point leaves in another dtype; labels and counters as they are."""
    return jax.tree.map(lambda v: v.astype(dtype) if jnp.issubdtype(v.dtype, jnp.floating) else v, tree)


def rematerialised(network: Network) -> Network:
    """A network whose activations are not kept for the backward pass but computed once more in it.

    A step holds the activations of several passes at once: the generator's while the discriminator judges, and the
    discriminator's of data, of fakes and of a penalty's points. Of a rematerialised network only what goes in is held,
    and one pass is alive at a time, for one more forward pass for each backward one: about a third more operations in a
    step, the same gradients and the same dropout. Wrap it around all else: `rematerialised(in_precision(...))`.

    Where even one pass is too much, a family takes its blocks through `flax.linen.remat` as well.

    XLA's CPU backend takes the second pass for the first and so undoes this, unless
    `XLA_FLAGS=--xla_disable_hlo_passes=cse_barrier_expander` is set (jax 0.10.2).

    Args:
      network: of a discriminator or a generator.

    Returns:
      A network of the same variables and values.

    References:
      Chen et al., Training Deep Nets with Sublinear Memory Cost, https://arxiv.org/abs/1604.06174, 2016.
    """

    def apply(variables, x, cond, *, key, train, step=None):
        def run(variables, x, cond, key, step):
            return network.apply(variables, x, cond, key=key, train=train, step=step)

        return jax.checkpoint(run)(variables, x, cond, key, step)

    return Network(network.init, apply)
