"""What the convolutional family makes of labels, of latents in parts, and of further heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.network import flax_network, unconditioned
from jaxgan.networks import dcgan

B, CLASSES = 6, 3
LABELS = jnp.arange(B) % CLASSES
GENERATOR = {"start": 3, "features": (4,), "strides": (2,), "kernel_size": 3, "norm": False}
DISCRIMINATOR = {"features": (4,), "strides": (2,), "kernel_size": 3}
X = jax.random.uniform(jax.random.key(2), (B, 6, 6, 1), minval=-1.0)


def applied(module, x, cond=None):
    network = flax_network(module)
    variables = network.init(jax.random.key(0), x, cond)
    return variables, lambda x, cond: network.apply(variables, x, cond, key=jax.random.key(1), train=False)[0]


def test_a_label_is_a_one_hot_latent():
    z = jax.random.normal(jax.random.key(1), (B, 5))
    variables, conditional = applied(dcgan.Generator(**GENERATOR, classes=CLASSES), z, LABELS)
    joined = {"a": z, "b": jax.nn.one_hot(LABELS, CLASSES)}
    network = flax_network(dcgan.Generator(**GENERATOR))
    plain, _ = network.apply(variables, joined, None, key=jax.random.key(1), train=False)
    np.testing.assert_array_equal(conditional(z, LABELS), plain)
    assert variables["params"]["Dense_0"]["kernel"].shape[0] == 5 + CLASSES
    assert (conditional(z, LABELS) != conditional(z, (LABELS + 1) % CLASSES)).any(axis=(1, 2, 3)).all()


def test_a_label_is_a_plane_beside_the_pixels():
    variables, conditional = applied(dcgan.Discriminator(**DISCRIMINATOR, classes=CLASSES), X, LABELS)
    planes = np.zeros((B, 6, 6, CLASSES), np.float32)
    planes[np.arange(B), :, :, np.asarray(LABELS)] = 1
    network = flax_network(dcgan.Discriminator(**DISCRIMINATOR))
    plain, _ = network.apply(variables, jnp.concatenate([X, planes], -1), None, key=jax.random.key(1), train=False)
    np.testing.assert_array_equal(conditional(X, LABELS), plain)
    assert (conditional(X, LABELS) != conditional(X, (LABELS + 1) % CLASSES)).all()


def test_heads_are_linear_in_the_last_feature_maps():
    variables, judge = applied(dcgan.Discriminator(**DISCRIMINATOR, heads=(("class", 4), ("codes", 2))), X)
    output = judge(X, None)
    assert {name: v.shape for name, v in output.items()} == {"logits": (B,), "class": (B, 4), "codes": (B, 2)}
    params = variables["params"]
    plain, _ = flax_network(dcgan.Discriminator(**DISCRIMINATOR)).apply(
        {"params": {name: params[name] for name in ("Conv_0", "Dense_0")}}, X, None, key=jax.random.key(1), train=False
    )
    np.testing.assert_array_equal(output["logits"], plain)
    # With the kernel of the logits a head gives the logits.
    same = {**params, "class": {"kernel": jnp.tile(params["Dense_0"]["kernel"], 4), "bias": jnp.zeros(4)}}
    network = flax_network(dcgan.Discriminator(**DISCRIMINATOR, heads=(("class", 4), ("codes", 2))))
    output, _ = network.apply({"params": same}, X, None, key=jax.random.key(1), train=False)
    np.testing.assert_allclose(output["class"], np.tile(plain[:, None], 4), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("classes", "labels"), [(0, LABELS), (CLASSES, None)])
def test_labels_without_classes_and_classes_without_labels_are_refused(classes, labels):
    for module, x in (
        (dcgan.Generator(**GENERATOR, classes=classes), jnp.ones((B, 5))),
        (dcgan.Discriminator(**DISCRIMINATOR, classes=classes), X),
    ):
        with pytest.raises(ValueError, match=f"classes={classes}: expected (no )?labels, got"):
            flax_network(module).init(jax.random.key(0), x, labels)


def test_an_unconditioned_network_is_not_told():
    network = unconditioned(flax_network(dcgan.Discriminator(**DISCRIMINATOR)))
    variables = network.init(jax.random.key(0), X, LABELS)
    found, _ = network.apply(variables, X, LABELS, key=jax.random.key(1), train=False)
    plain = flax_network(dcgan.Discriminator(**DISCRIMINATOR))
    np.testing.assert_array_equal(found, plain.apply(variables, X, None, key=jax.random.key(1), train=False)[0])
