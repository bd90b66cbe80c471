"""The Flax adapter: what a module names is what it is given, and what it moves is what comes back."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.network import Network, flax_network


class Plain(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x)


class WithTrain(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(2)(x) + (100.0 if train else 0.0)


class WithCond(nn.Module):
    @nn.compact
    def __call__(self, x, cond):
        return nn.Dense(2)(x) + nn.Embed(3, 2)(cond)


class WithBoth(nn.Module):
    """`train` before `cond`, and a `cond` that may be missing: arguments are given by name."""

    @nn.compact
    def __call__(self, x, train=False, cond=None):
        y = nn.Dense(2)(x) + (100.0 if train else 0.0)
        return y if cond is None else y + nn.Embed(3, 2)(cond)


class Normalised(nn.Module):
    """Two collections beside the parameters: running moments, and the calls that were counted."""

    @nn.compact
    def __call__(self, x, train=False):
        calls = self.variable("counters", "calls", lambda: jnp.zeros((), jnp.int32))
        if train:
            calls.value = calls.value + 1
        return nn.BatchNorm(not train, momentum=0.5)(nn.Dense(2)(x))


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dropout(0.5, deterministic=not train)(x)


X = jnp.arange(12.0).reshape(4, 3)
COND = jnp.array([0, 1, 2, 1])
# module, whether it takes cond, whether it takes train
MODULES = [(Plain(), False, False), (WithTrain(), False, True), (WithCond(), True, False), (WithBoth(), True, True)]


@pytest.mark.parametrize("module, takes_cond, takes_train", MODULES)
def test_a_module_gets_what_it_names(module, takes_cond, takes_train, key):
    network = flax_network(module)
    assert isinstance(network, Network)
    cond = COND if takes_cond else None
    variables = network.init(key, X, cond)
    assert set(variables) == {"params"}
    evaluated, same = network.apply(variables, X, cond, key=key, train=False)
    trained, moved = network.apply(variables, X, cond, key=key, train=True)
    expected = module.apply(variables, X, **({"cond": COND} if takes_cond else {}))
    np.testing.assert_allclose(evaluated, expected, rtol=1e-6)
    np.testing.assert_allclose(trained - evaluated, np.full((4, 2), 100.0 if takes_train else 0.0), rtol=1e-5)
    # A module of parameters alone gives back what it was given.
    assert jax.tree.structure(same) == jax.tree.structure(moved) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, moved, variables)


@pytest.mark.parametrize("module", [Plain(), WithTrain()])
def test_a_cond_that_nobody_takes_is_refused(module, key):
    network = flax_network(module)
    with pytest.raises(ValueError, match=f"'cond'.*{type(module).__name__} does not take cond"):
        network.init(key, X, COND)
    variables = network.init(key, X, None)
    for train in (False, True):
        with pytest.raises(ValueError, match="'cond'"):
            network.apply(variables, X, COND, key=key, train=train)


def test_a_cond_that_may_be_missing(key):
    network = flax_network(WithBoth())
    variables = network.init(key, X, None)
    assert set(variables["params"]) == {"Dense_0"}
    output, _ = network.apply(variables, X, None, key=key, train=False)
    assert output.shape == (4, 2)


def test_every_collection_is_carried_and_moves_in_training_alone(key):
    network = flax_network(Normalised())
    variables = network.init(key, X, None)
    assert set(variables) == {"params", "batch_stats", "counters"}
    assert variables["counters"]["calls"] == 0  # initialising is no training
    _, kept = network.apply(variables, X, None, key=key, train=False)
    jax.tree.map(np.testing.assert_array_equal, kept, variables)
    apply = jax.jit(lambda variables: network.apply(variables, X, None, key=key, train=True))
    output, once = apply(variables)
    _, twice = apply(once)
    assert jax.tree.structure(twice) == jax.tree.structure(variables)  # a scan may carry it
    assert (once["counters"]["calls"], twice["counters"]["calls"]) == (1, 2)
    jax.tree.map(np.testing.assert_array_equal, twice["params"], variables["params"])
    hidden = X @ variables["params"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(once["batch_stats"]["BatchNorm_0"]["mean"], 0.5 * hidden.mean(0), rtol=1e-4)
    np.testing.assert_allclose(twice["batch_stats"]["BatchNorm_0"]["mean"], 0.75 * hidden.mean(0), rtol=1e-4)
    np.testing.assert_allclose(output.mean(0), np.zeros(2), atol=1e-5)


def test_the_key_is_that_of_dropout(key):
    network = flax_network(Noisy())
    variables = network.init(key, X, None)
    ones = jnp.ones((64, 8))
    one, same, other = (network.apply(variables, ones, None, key=jax.random.key(i), train=True)[0] for i in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    np.testing.assert_array_equal(network.apply(variables, ones, None, key=key, train=False)[0], ones)
