"""What every penalty asks of pytrees whose leaves are `[batch, ...]`: a batch size, and numbers per example."""

from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


def batch_size(tree: PyTree, name: str) -> int:
    """The batch size that all leaves have; a ValueError that names the tree, where they differ or there are none."""
    # A scalar is refused too: the gradient of an averaging critic would be too small by the size of the batch.
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]
    if not shapes or any(shape[:1] != shapes[0][:1] or not shape for shape in shapes):
        raise ValueError(f"{name} must have leaves [batch, ...] of one batch size, got the shapes {shapes}")
    return shapes[0][0]


def squared_norms(tree: PyTree) -> jax.Array:
    """Sums of squares `[batch]` over all dimensions and leaves, in float32 or wider."""

    def of_leaf(leaf):
        wide = widened(leaf)
        return jnp.sum(wide**2, axis=tuple(range(1, wide.ndim)))

    return sum(of_leaf(leaf) for leaf in jax.tree.leaves(tree))


def roots(squared: jax.Array) -> jax.Array:
    """Square roots whose gradient at zero is zero."""
    # The root has an infinite slope at zero, and `where` alone would multiply it by zero: NaN. So the root is taken of
    # one there, and its result not used. Below the smallest normal number, hardware may flush to zero.
    flat = squared < jnp.finfo(squared.dtype).tiny
    return jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, squared)))


def means(values: jax.Array) -> jax.Array:
    """Means `[batch]` over all dimensions of an example, in float32 or wider."""
    return jnp.mean(widened(values), axis=tuple(range(1, jnp.ndim(values))))


def mean_squared_differences(a: PyTree, b: PyTree) -> jax.Array:
    """Mean squared differences `[batch]` of each example, added over the leaves; a ValueError for unequal shapes."""
    batch_size(a, "what is compared")

    def of_leaf(a, b):
        if jnp.shape(a) != jnp.shape(b):
            raise ValueError(f"what is compared must have the same shape, got {jnp.shape(a)} and {jnp.shape(b)}")
        return means((widened(a) - widened(b)) ** 2)

    return sum(jax.tree.leaves(jax.tree.map(of_leaf, a, b)))


def widened(leaf: jax.Array) -> jax.Array:
    """In float32, or wider where it is."""
    return jnp.asarray(leaf, jnp.promote_types(jnp.result_type(leaf), jnp.float32))


def noise(draw, key: jax.Array, tree: PyTree) -> PyTree:
    """Draws `draw(key, shape, dtype)` for every leaf, with a key of its own, in its dtype (floating point)."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    drawn = [draw(key, jnp.shape(leaf), jnp.result_type(leaf, float)) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, drawn)
