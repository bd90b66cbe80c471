"""Recurrent GANs: against recurrences written out in numpy and Flax's own cells, and what depends on which frame."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import losses, penalties, sampling
from jaxgan.latents import normal_latents
from jaxgan.network import flax_network, in_precision
from jaxgan.networks import recurrent

B, T, N, FRAME = 3, 5, 2, (2, 2)
GENERATOR = recurrent.Generator(FRAME, (4, 3), jnp.tanh)
DISCRIMINATOR = recurrent.Discriminator((4, 3))


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


Z, X = numbers(0, B, T, N), numbers(1, B, T, *FRAME)


@functools.cache
def variables_of(module):
    """Variables with nothing zero, as numpy arrays."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), Z if isinstance(module, recurrent.Generator) else X)
    rng = np.random.default_rng(2)
    return jax.tree.map(lambda v: (0.7 * rng.normal(size=v.shape)).astype(np.float32), shapes)


def in_float64(tree):
    return jax.tree.map(lambda v: jnp.asarray(v, jnp.float64), tree)


@pytest.mark.parametrize("frame", [(), (1,), (7,), (3, 2), (2, 2, 3)])
def test_sequences_of_any_frames_are_as_long_as_their_latents(frame):
    generator, discriminator = recurrent.Generator(frame, (4,)), recurrent.Discriminator((4,))
    for length in (1, 6):
        z = jnp.ones((B, length, N))
        x, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), z)
        logits, _ = jax.eval_shape(discriminator.init_with_output, jax.random.key(0), x)
        assert (x.shape, logits.shape) == ((B, length, *frame), (B,))


def test_what_ends_a_frame_sees_its_shape():
    """Two tokens of three, each a distribution."""
    module = recurrent.Generator((2, 3), (4,), functools.partial(jax.nn.softmax, axis=-1))
    made, _ = module.init_with_output(jax.random.key(0), 3 * Z)
    np.testing.assert_allclose(made.sum(-1), np.ones((B, T, 2)), rtol=1e-5)
    assert made.std(-1).min() > 1e-3


def test_sizes_of_the_papers_networks():
    """Two layers of 350: four gates each of the input, the state and a bias; four numbers to an event, and latents."""

    def lstm(inputs):
        return 4 * 350 * (inputs + 350 + 1)

    def count(module, shape):
        made = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))
        assert set(made) == {"params"}
        return sum(math.prod(v.shape) for v in jax.tree.leaves(made))

    assert count(recurrent.Generator((4,)), (1, 9, 4)) == lstm(4 + 4) + lstm(350) + 350 * 4 + 4
    assert count(recurrent.Discriminator(), (1, 9, 4)) == 2 * lstm(4) + 2 * lstm(700) + 700 + 1


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def written_lstm(params, c, h, x):
    """One example's step, gate by gate."""
    width = len(h)
    y = x @ params["input"] + h @ params["recurrent"] + params["bias"]
    i, f, g, o = (y[k * width : (k + 1) * width] for k in range(4))
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    return c, sigmoid(o) * np.tanh(c)


def written_generator(params, z):
    made = []
    for example in z:
        frame, states = np.zeros(4), [(np.zeros(4), np.zeros(4)), (np.zeros(3), np.zeros(3))]
        for latents in example:
            states[0] = written_lstm(params["Kernels_0"], *states[0], np.concatenate([latents, frame]))
            states[1] = written_lstm(params["Kernels_1"], *states[1], states[0][1])
            frame = np.tanh(states[1][1] @ params["kernel"] + params["bias"])
            made.append(frame)
    return np.reshape(made, (len(z), T, *FRAME))


def written_discriminator(params, x):
    logits = []
    for example in x:
        frames = [frame.reshape(-1) for frame in example]
        for layer, width in ((0, 4), (2, 3)):
            both = []
            for way, order in ((0, 1), (1, -1)):
                c = h = np.zeros(width)
                outputs = []
                for frame in frames[::order]:
                    c, h = written_lstm(params[f"Kernels_{layer + way}"], c, h, frame)
                    outputs.append(h)
                both.append(outputs[::order])
            frames = [np.concatenate(pair) for pair in zip(*both, strict=True)]
        logits.append(np.mean([h @ params["Dense_0"]["kernel"][:, 0] + params["Dense_0"]["bias"][0] for h in frames]))
    return np.array(logits)


@pytest.mark.parametrize(
    "module, given, written", [(GENERATOR, Z, written_generator), (DISCRIMINATOR, X, written_discriminator)]
)
def test_a_network_is_what_numpy_makes_of_its_equations(module, given, written):
    with jax.enable_x64(True):
        variables = in_float64(variables_of(module))
        found = jax.jit(module.apply)(variables, in_float64(given))
        expected = written(jax.tree.map(np.asarray, variables["params"]), given.astype(np.float64))
        assert found.dtype == jnp.float64 and found.shape == expected.shape and np.std(found) > 0.05
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


class Judge(nn.Module):
    """A discriminator with one layer of 4, of Flax's own parts."""

    @nn.compact
    def __call__(self, x):
        ways = (nn.RNN(nn.OptimizedLSTMCell(4, param_dtype=x.dtype)) for _ in range(2))
        x = nn.Bidirectional(*ways)(x.reshape(*x.shape[:2], -1))
        return jnp.mean(nn.Dense(1)(x)[..., 0], axis=1)


def for_flax(params, forget):
    """Its parameters, a kernel a gate, and a constant added to the forget gates' biases."""
    renamed = {"Dense_0": params["Dense_0"]}
    for i in range(2):
        kernels = {name: jnp.split(v, 4, axis=-1) for name, v in params[f"Kernels_{i}"].items()}
        kernels["bias"][1] = kernels["bias"][1] + forget
        cell = {}
        for j, gate in enumerate("ifgo"):
            cell[f"i{gate}"] = {"kernel": kernels["input"][j]}
            cell[f"h{gate}"] = {"kernel": kernels["recurrent"][j], "bias": kernels["bias"][j]}
        renamed[f"OptimizedLSTMCell_{i}"] = cell
    return renamed


def test_the_discriminator_is_flaxs_with_its_gradient_penalty():
    """Logits, R1, and R1's gradient to every kernel and bias: second derivatives through both loops."""

    def all_of(module, params, x):
        def penalty(params):
            norms = penalties.gradient_squared_norm(lambda x: module.apply({"params": params}, x), x)
            return jnp.sum(norms), norms

        slope, norms = jax.grad(penalty, has_aux=True)(params)
        return module.apply({"params": params}, x), norms, slope

    module = recurrent.Discriminator((4,))
    with jax.enable_x64(True):
        params, x = in_float64((variables_of(module)["params"], X))
        *found, slope = jax.jit(functools.partial(all_of, module))(params, x)
        *expected, written = jax.jit(functools.partial(all_of, Judge()))(for_flax(params, 1.0), x)
        found, expected = (found, for_flax(slope, 0.0)), (expected, written)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), found, expected)
        flat = [name for name, leaf in leaves(slope) if np.abs(leaf).max() < 1e-6]
        assert flat == ["bias of Dense_0"]  # which moves no gradient


def leaves(tree):
    return [(f"{path[-1].key} of {path[0].key}", leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def test_a_frame_is_of_the_latents_up_to_it():
    variables = variables_of(GENERATOR)
    slopes = jax.jit(jax.jacobian(functools.partial(GENERATOR.apply, variables)))(Z[:1])[0, :, :, :, 0]
    moved = np.abs(slopes).max((1, 2, 4))  # [frame, latents]
    np.testing.assert_array_equal(moved > 1e-6, np.tril(np.ones((T, T), bool)))
    np.testing.assert_array_equal(moved[np.triu_indices(T, 1)], 0)
    # So a longer sequence goes on from a shorter one.
    longer = GENERATOR.apply(variables, np.concatenate([Z, numbers(3, B, 4, N)], axis=1))
    np.testing.assert_allclose(longer[:, :T], GENERATOR.apply(variables, Z), rtol=1e-5, atol=1e-6)


def test_a_frame_is_of_the_frame_before():
    """Without what the first layer takes of it, the first frame stays and the others do not."""
    variables = variables_of(GENERATOR)
    blind = jax.tree.map(np.copy, variables)
    blind["params"]["Kernels_0"]["input"][N:] = 0
    one, other = (np.asarray(GENERATOR.apply(v, Z)) for v in (variables, blind))
    np.testing.assert_array_equal(one[:, 0], other[:, 0])
    assert np.abs(one - other)[:, 1:].reshape(B, T - 1, -1).max(-1).min() > 1e-4


@pytest.mark.parametrize("widths", [(4,), (4, 3)])
def test_the_logit_of_a_frame_is_of_all_frames(widths):
    module = recurrent.Discriminator(widths)
    variables = variables_of(module)

    def of_frames(x):
        _, kept = module.apply(variables, x, capture_intermediates=True, mutable="intermediates")
        return kept["intermediates"]["Dense_0"]["__call__"][0][:, 0, 0]

    slopes = np.abs(jax.jit(jax.jacobian(of_frames))(X[:1])[:, 0]).max((2, 3))  # [logit, frame]
    assert slopes.shape == (T, T) and (slopes > 1e-6).all()
    np.testing.assert_allclose(np.mean(of_frames(X[:1])), module.apply(variables, X[:1])[0], rtol=1e-5, atol=1e-6)


def test_a_sequence_from_its_end_is_judged_as_one_by_the_directions_exchanged():
    module = recurrent.Discriminator((4,))
    params = variables_of(module)["params"]
    exchanged = {
        "Kernels_0": params["Kernels_1"],
        "Kernels_1": params["Kernels_0"],
        "Dense_0": {**params["Dense_0"], "kernel": np.roll(params["Dense_0"]["kernel"], 4, axis=0)},
    }
    logits = np.asarray(module.apply({"params": params}, X))
    np.testing.assert_allclose(module.apply({"params": exchanged}, X[:, ::-1]), logits, rtol=1e-5, atol=1e-6)
    assert np.abs(module.apply({"params": params}, X[:, ::-1]) - logits).min() > 1e-4


def test_each_example_is_by_itself():
    for module, given in ((GENERATOR, Z), (DISCRIMINATOR, X)):
        apply = jax.jit(functools.partial(module.apply, variables_of(module)))
        whole = np.asarray(apply(given))
        np.testing.assert_allclose(np.concatenate([apply(v[None]) for v in given]), whole, rtol=1e-5, atol=1e-6)


def test_latents_that_all_frames_share_stay_so_along_a_line():
    """An arc between repeated latents is the arc between those that are repeated, and its samples are theirs."""
    one, other = (np.repeat(numbers(k, B, 1, N), T, axis=1) for k in (4, 5))
    for t in (0.0, 0.3, 1.0):
        along = sampling.spherical(t, one, other)
        np.testing.assert_allclose(along, np.repeat(along[:, :1], T, axis=1), atol=1e-6)
        np.testing.assert_allclose(along[:, 0], sampling.spherical(t, one[:, 0], other[:, 0]), rtol=1e-3)


@pytest.mark.parametrize("module, given", [(GENERATOR, Z), (DISCRIMINATOR, X)])
def test_bfloat16(module, given):
    """Near float32's values, and in bfloat16 throughout: nothing within widens what follows."""
    variables = variables_of(module)
    wide, narrow = (in_precision(flax_network(module), name) for name in ("float32", "bfloat16"))
    exact, rounded = (
        np.asarray(jax.jit(lambda net=net: net.apply(variables, given, None, key=jax.random.key(0), train=True)[0])())
        for net in (wide, narrow)
    )
    np.testing.assert_allclose(rounded, exact, atol=0.04 * np.abs(exact).max())
    inside = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, jnp.bfloat16), (variables, given))
    assert jax.eval_shape(module.apply, *inside).dtype == jnp.bfloat16


def test_bfloat16_sums_over_long_sequences_are_exact():
    """In bfloat16 a sum of ones stops at 256; kernels that are zero leave nothing but the sum."""
    module, length = recurrent.Generator((1,), (2,)), 1000
    network = in_precision(flax_network(module), "bfloat16")
    z = jnp.ones((1, length, 1))
    variables = jax.tree.map(jnp.zeros_like, network.init(jax.random.key(0), z, None))
    variables["params"]["Kernels_0"]["bias"] = jnp.full(8, 20.0)  # gates open: the cell counts the frames, h is 1

    def total(params):
        made, _ = network.apply({"params": params}, z, None, key=jax.random.key(0), train=True)
        return jnp.sum(made)

    slopes = jax.jit(jax.grad(total))(variables["params"])
    np.testing.assert_array_equal(slopes["bias"], length)
    np.testing.assert_allclose(slopes["kernel"], length, rtol=1e-3)  # tanh of a count: 0.76 at the first frame


def test_gradients_of_long_sequences_are_finite():
    """Both players' gradients, with a gradient penalty, at four hundred frames and at large numbers."""
    generator, discriminator = recurrent.Generator((3,), (8,)), recurrent.Discriminator((8,))
    keys = jax.random.split(jax.random.key(0), 4)
    z, x = (jax.random.normal(key, (2, 400, 3)) for key in keys[:2])
    params = generator.init(keys[2], z), discriminator.init(keys[3], x)

    @jax.jit
    def slopes(g, d, z, x):
        def generator_loss(g):
            return jnp.mean(losses.non_saturating.generator(discriminator.apply(d, generator.apply(g, z))))

        def discriminator_loss(d):
            critic = functools.partial(discriminator.apply, d)
            penalty = penalties.gradient_squared_norm(critic, x)
            return jnp.mean(losses.non_saturating.discriminator(critic(x), critic(generator.apply(g, z))) + penalty)

        return jax.grad(generator_loss)(g), jax.grad(discriminator_loss)(d)

    for scale in (1.0, 1e4):
        for leaf in jax.tree.leaves(slopes(*params, scale * z, scale * x)):
            assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


def test_latents_without_frames_are_refused():
    with pytest.raises(ValueError, match=r"expected latents \[B, T, n\], some for each frame, got .* \(3, 2\)"):
        GENERATOR.init(jax.random.key(0), normal_latents(N)(jax.random.key(0), {"x": X}))
