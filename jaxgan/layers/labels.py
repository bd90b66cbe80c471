"""Labels as networks take them."""

import jax
import jax.numpy as jnp


def one_hot(labels: jax.Array | None, classes: int, dtype: jnp.dtype) -> jax.Array | None:
    """Labels as rows of an identity matrix, `[B] -> [B, classes]`; None where there are no classes.

    Args:
      labels: the condition of a batch, integers `[B]`, or None.
      classes: number of classes, 0 where there are none; a label of another class is a row of zeros.
      dtype: of the rows.

    Raises:
      ValueError: labels without classes, classes without labels, or labels that are not one for each example.
    """
    if (labels is None) != (classes == 0):
        expected, got = ("labels", "none") if classes else ("no labels", "some")
        raise ValueError(
            f"classes={classes}: expected {expected}, got {got}: change classes, or what the batch has as 'cond'"
        )
    if labels is None:
        return None
    if labels.ndim != 1:
        raise ValueError(f"labels: expected one for each example, [batch], got {list(labels.shape)}")
    return jax.nn.one_hot(labels, classes, dtype=dtype)
