"""Weight clipping, whose bound holds after `optax.apply_updates`; orthogonal regularisation as an update."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.transforms import add_orthogonality, weight_clip

LIMIT = 0.01


def step(transform, params, updates):
    clipped, _ = transform.update(updates, transform.init(params), params)
    return optax.apply_updates(params, clipped)


def test_updates_are_clipped_outside_the_limit_and_kept_inside():
    params = {"w": jnp.array([0.25, -0.25, 0.5, 0.0]), "b": jnp.array([[0.75]])}
    updates = {"w": jnp.array([0.25, -1.5, 0.75, -0.125]), "b": jnp.array([[0.25]])}
    found = step(weight_clip(1.0), params, updates)  # all exact in binary
    np.testing.assert_array_equal(found["w"], [0.5, -1.0, 1.0, -0.125])
    np.testing.assert_array_equal(found["b"], [[1.0]])


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_bound_holds_to_one_unit_in_the_last_place(dtype, transform, key):
    k_params, k_updates = jax.random.split(key)
    params = jax.random.uniform(k_params, (100_000,), dtype, -LIMIT, LIMIT)
    updates = LIMIT * jax.random.normal(k_updates, (100_000,), dtype)
    found = transform(lambda p, u: step(weight_clip(LIMIT), p, u))(params, updates)
    assert found.dtype == dtype
    limit = jnp.array(LIMIT, dtype)
    assert jnp.abs(found).max() <= jnp.nextafter(limit, jnp.array(1, dtype))
    share_at_limit = float(jnp.mean(jnp.abs(found) >= limit * 0.99))
    assert 0.3 < share_at_limit < 0.6  # so the bound was tried
    free = jnp.abs(params + updates) < limit * 0.99
    np.testing.assert_allclose(
        np.asarray(found, np.float32)[free],
        np.asarray(params + updates, np.float32)[free],
        atol=float(limit) * float(jnp.finfo(dtype).eps),
    )


def test_weights_that_start_outside_come_in_at_once():
    params = jnp.array([10.0, -0.3, 0.02, 1e-3])
    found = step(weight_clip(LIMIT), params, jnp.zeros(4))
    # one rounding of the old parameter
    assert (jnp.abs(found) <= LIMIT + jnp.finfo(jnp.float32).eps * jnp.abs(params)).all()
    found = step(weight_clip(LIMIT), found, jnp.zeros(4))
    assert (jnp.abs(found) <= jnp.nextafter(jnp.float32(LIMIT), jnp.float32(1))).all()


def test_the_excess_does_not_accumulate_over_a_training():
    """Last in a chain, under scan, against a gradient that always points outwards."""
    tx = optax.chain(optax.rmsprop(3e-3), weight_clip(LIMIT))
    params = jnp.array([0.001, -0.004, 0.0])

    def body(carry, _):
        params, state = carry
        updates, state = tx.update(jnp.array([-1.0, 1.0, 0.0]), state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.jit(lambda p: jax.lax.scan(body, (p, tx.init(p)), length=500))(params)
    np.testing.assert_allclose(params, [LIMIT, -LIMIT, 0.0], rtol=2e-7)


def test_the_limit_may_be_traced():
    """A population over limits builds its optimiser inside the traced function."""
    found = jax.vmap(lambda limit: step(weight_clip(limit), jnp.zeros(1), jnp.ones(1)))(jnp.array([0.25, 0.5]))
    np.testing.assert_array_equal(found, [[0.25], [0.5]])


def test_without_parameters_it_raises():
    tx = weight_clip(LIMIT)
    with pytest.raises(ValueError, match="update\\(updates, state, params\\)"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


@pytest.mark.parametrize("diagonal", [True, False])
def test_orthogonality_adds_its_gradient(diagonal):
    """`d|W'W - I|^2 / dW = 4 W (W'W - I)`, and with the diagonal taken out of the bracket where lengths are free."""
    weight = np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 3.0]])
    inner = weight.T @ weight - np.eye(2)
    slope = 4 * weight @ (inner if diagonal else inner - np.diag(np.diag(inner)))
    params = {"kernel": jnp.asarray(weight, jnp.float32), "bias": jnp.ones(2)}
    updates = jax.tree.map(jnp.ones_like, params)
    tx = add_orthogonality(0.25, diagonal=diagonal)
    found, _ = jax.jit(tx.update)(updates, tx.init(params), params)
    np.testing.assert_allclose(found["kernel"], 1 + 0.25 * slope, rtol=1e-6)
    np.testing.assert_array_equal(found["bias"], 1.0)


def test_orthogonality_makes_kernels_orthonormal():
    tx = optax.chain(add_orthogonality(1.0), optax.sgd(0.02))
    params = {"kernel": 0.5 * jax.random.normal(jax.random.key(0), (5, 3))}

    def body(params, _):
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        return optax.apply_updates(params, updates), None

    params, _ = jax.jit(lambda p: jax.lax.scan(body, p, length=500))(params)
    np.testing.assert_allclose(params["kernel"].T @ params["kernel"], np.eye(3), atol=1e-4)


def test_orthogonality_without_parameters_raises():
    tx = add_orthogonality(1.0)
    with pytest.raises(ValueError, match="update\\(updates, state, params\\)"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
