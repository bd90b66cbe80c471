"""What goes beside an adversarial loss where samples have a class or a code."""

import math

import jax
import jax.numpy as jnp

from jaxgan.largest import largest
from jaxgan.losses.loss import check_same_shape


def auxiliary_classifier_loss(class_logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of an auxiliary classifier, the same for both players: `-sum_c labels_c log softmax(logits)_c`.

    The paper's discriminator adds it on data and on samples, its generator on samples. `log(classes)` at zero logits.

    >>> auxiliary_classifier_loss(jnp.zeros((2, 4)), jnp.array([3, 0]))
    Array([1.3862944, 1.3862944], dtype=float32)

    Args:
      class_logits: the classifier's outputs, shape `[..., classes]`.
      labels: integers `[...]` from 0 to `classes - 1` (any other costs NaN), or probabilities `[..., classes]`.

    Returns:
      Per-example losses `[...]`.

    Raises:
      ValueError: the shapes do not fit.

    References:
      Odena et al., Conditional Image Synthesis with Auxiliary Classifier GANs, https://arxiv.org/abs/1610.09585, 2016.
    """
    log_probabilities = jax.nn.log_softmax(class_logits)
    if jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        return -_of_label(log_probabilities, labels)
    check_same_shape(class_logits=class_logits, labels=labels)
    return -jnp.sum(labels.astype(log_probabilities.dtype) * log_probabilities, axis=-1)


def multi_hinge_loss(class_logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Multi-class hinge: `max(0, 1 + max_{c != label} logits_c - logits_label)`, 1 at zero logits.

    In the paper's conditional game samples are one class more, beside those of the data.

    >>> multi_hinge_loss(jnp.array([[2.0, 0.5, 1.5]]), jnp.array([0]))
    Array([0.5], dtype=float32)

    Args:
      class_logits: discriminator outputs, shape `[..., classes]`, at least two classes.
      labels: integers `[...]` from 0 to `classes - 1` (any other costs NaN).

    Returns:
      Per-example losses `[...]`.

    Raises:
      ValueError: the shapes do not fit.

    References:
      Kavalerov et al., A Multi-Class Hinge Loss for Conditional GANs, https://arxiv.org/abs/1912.04216, 2019.
      Crammer and Singer, On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines,
      https://www.jmlr.org/papers/v2/crammer01a.html, 2001.
    """
    wanted = _of_label(class_logits, labels)
    is_label = jax.nn.one_hot(labels, class_logits.shape[-1], dtype=bool)
    return jax.nn.relu(1.0 + largest(jnp.where(is_label, -jnp.inf, class_logits)) - wanted)


def projection_logits(logits: jax.Array, features: jax.Array, embeddings: jax.Array) -> jax.Array:
    """Logits of a projection discriminator: `psi(phi(x)) + <embedding(y), phi(x)>`, for any loss.

    Args:
      logits: the unconditional part, shape `[...]`.
      features: the discriminator's features `phi(x)`, `[..., features]`.
      embeddings: the embedding of each example's condition, same shape as the features.

    Returns:
      Conditional logits `[...]`.

    Raises:
      ValueError: the shapes do not fit.

    References:
      Miyato and Koyama, cGANs with Projection Discriminator, https://arxiv.org/abs/1802.05637, 2018, Section 3.
    """
    check_same_shape(features=features, embeddings=embeddings)
    inner = jnp.sum(features * embeddings, axis=-1)
    check_same_shape(logits=logits, inner_products=inner)
    return logits + inner


# InfoGAN's -log Q(c | x) for a categorical code is the classifier's loss with the code as the label.
categorical_information_loss = auxiliary_classifier_loss


def gaussian_information_loss(mean: jax.Array, log_std: jax.Array, codes: jax.Array) -> jax.Array:
    """InfoGAN's loss of continuous codes: `-log Q(c | x)` for a normal Q with independent dimensions.

    `sum_d (c_d - mean_d)^2 / (2 std_d^2) + log std_d + log(2 pi) / 2`. The entropy of the codes less its mean is a
    lower bound of the mutual information between codes and samples. Both players minimise it, the generator too:
    without its gradient nothing ties samples to codes. For categorical codes see `categorical_information_loss`.

    Args:
      mean: what the recogniser Q expects the codes to be, shape `[..., codes]`.
      log_std: natural logarithm of its standard deviations, same shape.
      codes: the codes that the samples were generated from, same shape.

    Returns:
      Per-example losses `[...]`, in nats.

    Raises:
      ValueError: the shapes differ.

    References:
      Chen et al., InfoGAN, https://arxiv.org/abs/1606.03657, 2016, Eq. 5.
    """
    check_same_shape(mean=mean, log_std=log_std, codes=codes)
    standardised = (codes - mean) * jnp.exp(-log_std)
    return jnp.sum(0.5 * standardised**2 + log_std + 0.5 * math.log(2.0 * math.pi), axis=-1)


def _of_label(values: jax.Array, labels: jax.Array) -> jax.Array:
    """The value of each example's label, NaN for a label that is no class."""
    if jnp.shape(labels) != values.shape[:-1]:
        raise ValueError(
            f"integer labels must have one entry for each example, shape {values.shape[:-1]}, got {jnp.shape(labels)}"
        )
    found = jnp.take_along_axis(values, labels[..., None], axis=-1, mode="fill", fill_value=jnp.nan)[..., 0]
    return jnp.where(labels < 0, jnp.nan, found)  # a negative index would count from the end
