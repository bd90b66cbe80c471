"""R3GAN: its sizes by the authors' layer lists, its first values, and its mathematics written out with `jax.lax`."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import penalties
from jaxgan.network import flax_network, in_precision
from jaxgan.networks import r3gan

LATENTS = 5
SMALL = {"blocks": 2, "expansion": 2, "group": 4}
GENERATOR = r3gan.Generator(channels=2, start=3, widths=(8, 6), classes=3, **SMALL)
DISCRIMINATOR = r3gan.Discriminator(widths=(6, 8), classes=3, **SMALL)
UNCONDITIONAL = r3gan.Discriminator(widths=(8, 8), **SMALL)
LABELS = np.array([0, 2, 1, 2])


def count(tree):
    return sum(math.prod(v.shape) for v in jax.tree.leaves(tree))


def parameters_of_stages(widths, cardinality):
    """Blocks (two a stage, twice the channels within, biases with the activations) and what changes the width."""
    blocks = sum(
        2 * (width * 2 * width + 3 * 3 * (2 * width // groups) * 2 * width + 2 * width * width + 2 * (2 * width))
        for width, groups in zip(widths, cardinality, strict=True)
    )
    return blocks + sum(a * b for a, b in zip(widths, widths[1:], strict=False) if a != b)


# The presets of `train.py`: widths and cardinalities of the generator's stages, classes, side, channels of a group.
PRESETS = {
    "CIFAR10": ([768] * 4, [96] * 4, 0, 32, 16),
    "CIFAR10, conditional": ([768] * 4, [96] * 4, 10, 32, 16),
    "FFHQ-64": ([768] * 4 + [384], [96] * 4 + [48], 0, 64, 16),
    "FFHQ-256": ([768] * 4 + [384, 192, 96], [96] * 4 + [48, 24, 12], 0, 256, 16),
    "ImageNet-32": ([1536] * 4, [96] * 4, 1000, 32, 32),
    "ImageNet-64": ([1536] * 5, [96] * 5, 1000, 64, 32),
}


@pytest.mark.parametrize("name", PRESETS)
def test_sizes_of_the_authors_presets(name):
    """`Networks.py` of brownvc/R3GAN; its resampling filters are buffers, and not counted."""
    widths, cardinality, classes, side, group = PRESETS[name]
    generator = r3gan.Generator(widths=tuple(widths), group=group, classes=classes)
    discriminator = r3gan.Discriminator(widths=tuple(reversed(widths)), group=group, classes=classes)
    z, cond = jax.ShapeDtypeStruct((2, 64), jnp.float32), None
    if classes:
        cond = jax.ShapeDtypeStruct((2,), jnp.int32)
    g_variables = jax.eval_shape(generator.init, jax.random.key(0), z, cond)
    x = jax.eval_shape(generator.apply, g_variables, z, cond)
    d_variables = jax.eval_shape(discriminator.init, jax.random.key(0), x, cond)
    logits = jax.eval_shape(discriminator.apply, d_variables, x, cond)
    assert (x.shape, logits.shape) == ((2, side, side, 3), (2,))
    stages = parameters_of_stages(widths, cardinality)
    embedded = 64 if classes else 0
    g_ends = (64 + embedded) * widths[0] + 4 * 4 * widths[0] + widths[-1] * 3 + classes * embedded
    d_ends = (
        3 * widths[-1] + 4 * 4 * widths[0] + (widths[0] * widths[0] + classes * widths[0] if classes else widths[0])
    )
    assert set(g_variables) == set(d_variables) == {"params"}
    assert (count(g_variables), count(d_variables)) == (stages + g_ends, stages + d_ends)
    if name == "FFHQ-256":
        assert (count(g_variables), count(d_variables)) == (23_057_952, 23_009_568)


def test_the_default_is_the_authors_for_cifar():
    assert r3gan.Generator() == r3gan.Generator(3, 4, (768,) * 4, 2, 2, 16, 0)
    assert r3gan.Discriminator() == r3gan.Discriminator((768,) * 4, 2, 2, 16, 0)


@functools.cache
def variables_of(module, side=6):
    """Initial variables, as numpy arrays."""
    first = np.zeros((4, LATENTS) if isinstance(module, r3gan.Generator) else (4, side, side, 2), np.float32)
    cond = LABELS if module.classes else None
    return jax.tree.map(np.asarray, jax.jit(module.init)(jax.random.key(0), first, cond))


def filled(variables, seed=0):
    """The same with nothing zero, so that every layer counts."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda v: (0.5 * rng.normal(size=v.shape)).astype(np.float32), variables)


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_blocks_start_as_the_identity_and_the_networks_as_linear_maps():
    z, x = numbers(0, 4, LATENTS), numbers(1, 4, 6, 6, 2)
    unlabelled = GENERATOR.clone(classes=0)
    for module, points in ((unlabelled, z), (UNCONDITIONAL, x)):
        variables = variables_of(module)
        blocks = [v for name, v in variables["params"].items() if name.startswith("Block")]
        assert len(blocks) == 4
        for block in blocks:
            assert not block["Dense_1"]["kernel"].any() and set(block["Dense_1"]) == {"kernel"}
            assert not block["Dense_0"]["bias"].any() and not block["GroupedConv_0"]["bias"].any()
        apply = jax.jit(functools.partial(module.apply, variables))
        other = np.flip(points, 0)
        np.testing.assert_allclose(
            apply(2.0 * points - 3.0 * other), 2.0 * apply(points) - 3.0 * apply(other), rtol=1e-3, atol=1e-4
        )
        assert np.std(apply(points)) > 1e-2


def test_first_kernels_have_the_authors_variances():
    """MSR: `gain / sqrt(fan-in)`; within blocks the gain is the leaky ReLU's, times `blocks ** -1/4` for each layer."""
    generator = r3gan.Generator(channels=3, start=4, widths=(64, 32), blocks=1, classes=10)
    discriminator = r3gan.Discriminator(widths=(32, 64), blocks=1, classes=10)
    z, x, cond = np.zeros((1, 64), np.float32), np.zeros((1, 8, 8, 3), np.float32), np.zeros(1, int)
    g, d = (jax.jit(m.init)(jax.random.key(1), v, cond)["params"] for m, v in ((generator, z), (discriminator, x)))
    gain = math.sqrt(2 / (1 + 0.2**2)) * 2**-0.25
    expected = [
        (g["basis"], 1.0),
        (g["Dense_0"]["kernel"], 10**-0.5),  # classes to 64 numbers
        (g["Dense_1"]["kernel"], 128**-0.5),
        (g["Block_0"]["Dense_0"]["kernel"], gain * 64**-0.5),
        (g["Block_0"]["GroupedConv_0"]["kernel"], gain * (9 * 16) ** -0.5),
        (g["Dense_2"]["kernel"], 64**-0.5),
        (d["basis"], 1 / 4),
        (d["Block_1"]["GroupedConv_0"]["kernel"], gain * (9 * 16) ** -0.5),
        (d["Dense_2"]["kernel"], 64**-0.5 * 10**-0.5),
        (d["Dense_3"]["kernel"], 64**-0.5),
    ]
    for values, deviation in expected:
        error = 5 / math.sqrt(2 * values.size)  # five standard errors of a deviation
        np.testing.assert_allclose(np.std(values), deviation, rtol=error)


def lax_filter(x, up):
    """The authors' resampling: depthwise, `[1, 3, 3, 1] / 8` each way, on every second pixel or between pixels."""
    one = jnp.array([1.0, 3.0, 3.0, 1.0], x.dtype) / 8
    kernel = jnp.tile((4 if up else 1) * jnp.outer(one, one)[:, :, None, None], (1, 1, 1, x.shape[-1]))
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1, 1) if up else (2, 2),
        [(2, 2)] * 2 if up else [(1, 1)] * 2,
        lhs_dilation=(2, 2) if up else (1, 1),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def lax_block(params, x):
    def leaky(y, bias):
        y = y + bias.reshape(1, 1, 1, -1)
        return jnp.where(y > 0, y, 0.2 * y)

    def convolution(y, kernel, groups=1):
        return jax.lax.conv_general_dilated(
            y, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
        )

    first, middle = params["Dense_0"], params["GroupedConv_0"]
    y = leaky(convolution(x, first["kernel"][None, None]), first["bias"])
    y = leaky(convolution(y, middle["kernel"], y.shape[-1] // SMALL["group"]), middle["bias"])
    return x + convolution(y, params["Dense_1"]["kernel"][None, None])


def written_generator(params, z, cond):
    z = jnp.concatenate([z, params["Dense_0"]["kernel"][cond]], axis=1)
    x = params["basis"] * (z @ params["Dense_1"]["kernel"])[:, None, None, :]
    for name in ("Block_0", "Block_1"):
        x = lax_block(params[name], x)
    x = lax_filter(x @ params["Dense_2"]["kernel"], up=True)
    for name in ("Block_2", "Block_3"):
        x = lax_block(params[name], x)
    return x @ params["Dense_3"]["kernel"]


def written_discriminator(params, x, cond):
    x = x @ params["Dense_0"]["kernel"]
    for name in ("Block_0", "Block_1"):
        x = lax_block(params[name], x)
    x = lax_filter(x, up=False) @ params["Dense_1"]["kernel"]
    for name in ("Block_2", "Block_3"):
        x = lax_block(params[name], x)
    x = jnp.einsum("bhwc,hwc->bc", x, params["basis"][0])
    return jnp.einsum("bc,bc->b", x @ params["Dense_3"]["kernel"], params["Dense_2"]["kernel"][cond])


def in_float64(tree):
    return jax.tree.map(lambda v: jnp.asarray(v, jnp.float64), tree)


def test_the_generator_written_out():
    with jax.enable_x64(True):
        variables, z = in_float64((filled(variables_of(GENERATOR)), numbers(0, 4, LATENTS)))
        found = jax.jit(GENERATOR.apply)(variables, z, LABELS)
        expected = jax.jit(written_generator)(variables["params"], z, LABELS)
        assert found.shape == (4, 6, 6, 2) and found.dtype == jnp.float64 and np.abs(found).max() > 1
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_the_discriminator_written_out_with_its_gradient_penalty():
    """Logits, R1 and R1's gradient to every parameter."""
    with jax.enable_x64(True):
        variables, x = in_float64((filled(variables_of(DISCRIMINATOR)), numbers(1, 4, 6, 6, 2)))

        def all_of(judge):
            def penalty(params):
                norms = penalties.gradient_squared_norm(lambda x: judge(params, x), x)
                return jnp.sum(norms), norms

            slope, norms = jax.grad(penalty, has_aux=True)(variables["params"])
            return judge(variables["params"], x), norms, slope

        found = jax.jit(lambda: all_of(lambda params, x: DISCRIMINATOR.apply({"params": params}, x, LABELS)))()
        expected = jax.jit(lambda: all_of(lambda params, x: written_discriminator(params, x, LABELS)))()
        assert found[0].shape == (4,)
        for ours, written in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(ours, written, rtol=1e-8, atol=1e-8)
        moved = {name for name, v in found[2].items() if any(np.abs(leaf).max() > 1e-6 for leaf in jax.tree.leaves(v))}
        assert moved == set(variables["params"])


def test_each_example_is_judged_by_itself():
    """Nothing is normalised, so gradient penalties are of the function that is meant."""
    variables, x = filled(variables_of(UNCONDITIONAL)), numbers(2, 4, 6, 6, 2)
    assert set(variables) == {"params"}
    judge = jax.jit(functools.partial(UNCONDITIONAL.apply, variables))
    logits = np.asarray(judge(x))
    others = np.concatenate([x[:1], 5.0 * x[1:]])
    np.testing.assert_allclose(judge(others)[0], logits[0], rtol=1e-4, atol=1e-5)
    assert np.abs(judge(others)[1:] - logits[1:]).max() > 1e-2
    np.testing.assert_allclose(np.concatenate([judge(v[None]) for v in x]), logits, rtol=1e-4, atol=1e-5)


def test_classes_count():
    variables, x = filled(variables_of(DISCRIMINATOR)), numbers(3, 4, 6, 6, 2)
    judge = jax.jit(functools.partial(DISCRIMINATOR.apply, variables))
    one, other = (np.asarray(judge(x, cond)) for cond in (LABELS, np.array([0, 1, 1, 2])))
    np.testing.assert_array_equal(one != other, [False, True, False, False])


@pytest.mark.parametrize("module, first", [(GENERATOR, (4, LATENTS)), (DISCRIMINATOR, (4, 6, 6, 2))])
def test_bfloat16(module, first):
    """Near float32's values, and in bfloat16 throughout: nothing within widens what follows."""
    variables, x = filled(variables_of(module)), numbers(4, *first)
    narrow, wide = (in_precision(flax_network(module), name) for name in ("bfloat16", "float32"))
    key = jax.random.key(0)
    exact, rounded = (
        np.asarray(jax.jit(lambda net=net: net.apply(variables, x, LABELS, key=key, train=True)[0])())
        for net in (wide, narrow)
    )
    np.testing.assert_allclose(rounded, exact, atol=0.04 * np.abs(exact).max())
    inside = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, jnp.bfloat16), (variables, x))
    assert jax.eval_shape(lambda variables, x: module.apply(variables, x, LABELS), *inside).dtype == jnp.bfloat16


def test_what_does_not_fit_is_refused():
    z, x, key = jnp.zeros((4, LATENTS)), jnp.zeros((4, 6, 6, 2)), jax.random.key(0)
    with pytest.raises(ValueError, match="classes=3: expected labels, got none"):
        GENERATOR.init(key, z)
    with pytest.raises(ValueError, match="classes=0: expected no labels, got some"):
        UNCONDITIONAL.init(key, x, LABELS)
    with pytest.raises(ValueError, match=r"2 stages: expected sides that 2 divides, got \(6, 5\)"):
        UNCONDITIONAL.init(key, x[:, :, :5])
    with pytest.raises(ValueError, match="a stage of 8 channels: expected 2 times as many, 16, to split .* of 12"):
        UNCONDITIONAL.clone(group=12).init(key, x)
