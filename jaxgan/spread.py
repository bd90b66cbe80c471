"""How what a program for a mesh makes and uses lies on its devices."""

from typing import Any

import jax

PyTree = Any


def split(latents: PyTree) -> PyTree:
    """Splits latents over the first axis of the mesh in context, if there is one.

    Random numbers drawn inside a program for a mesh are born whole on every device, and every device would then run the
    generator on all of them.
    """
    axes = jax.sharding.get_abstract_mesh().axis_names
    return jax.lax.with_sharding_constraint(latents, jax.sharding.PartitionSpec(axes[0])) if axes else latents


def whole(params: PyTree) -> PyTree:
    """Gathers parameters on every device of the mesh in context, if there is one, for a network to run with them.

    Where parameters are spread (`lift.fsdp`), the compiler, left alone, gathers the examples instead, layer by layer.
    """
    axes = jax.sharding.get_abstract_mesh().axis_names
    return jax.lax.with_sharding_constraint(params, jax.sharding.PartitionSpec()) if axes else params
