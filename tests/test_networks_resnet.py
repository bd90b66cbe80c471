"""The residual family: sizes of the authors' networks, both networks by their definitions, and what conditions them."""

import functools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg

from jaxgan import experiment as experiments
from jaxgan import losses
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.layers import ConditionalBatchNorm, SelfAttention
from jaxgan.network import flax_network, in_precision
from jaxgan.networks import resnet

CLASSES = 3
LABELS = np.array([2, 0, 1, 2])


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def count(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def shapes(module, *inputs):
    """Shapes of the variables and of what comes out, without computing them."""
    variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return variables, jax.eval_shape(module.apply, variables, *inputs)


@functools.cache
def starts(module):
    """`(*inputs) -> variables`, compiled once for each module."""
    return jax.jit(lambda *inputs: module.init(jax.random.key(0), *inputs))


def stirred(module, *inputs):
    """Variables with noise on all parameters, so that nothing is at zero or one by chance; statistics as they start."""
    variables, generator = starts(module)(*inputs), np.random.default_rng(1)
    noisy = jax.tree.map(lambda v: v + 0.3 * generator.normal(size=v.shape).astype(np.float32), variables["params"])
    return {**variables, "params": noisy}


@functools.cache
def compiled(module, train=False):
    """`(variables, x, cond) -> (output, moved statistics)`, compiled once for each module."""
    if train:
        return jax.jit(lambda v, x, c: module.apply(v, x, c, train=True, mutable=["batch_stats"]))
    return jax.jit(lambda v, x, c: (module.apply(v, x, c), None))


def convolution(side, inputs, outputs):
    return side * side * inputs * outputs + outputs


def affine(channels):
    return 2 * channels


def block_of_256(affines):
    """c1, c2, c_sc, b1 and b2 of the generator's `Block(256, 256, upsample=True)`."""
    return 2 * convolution(3, 256, 256) + convolution(1, 256, 256) + 2 * affines


# The layers of `ResNetGenerator` (gen_models/resnet_32.py) and `SNResNetDiscriminator32` (dis_models/snresnet_32.py) of
# pfnet-research/sngan_projection, the authors' own, and of sngan_32.py, cgan_pd_32.py of torch-mimicry, after them. The
# authors' l5 has no bias where mimicry's and ours have one. Self-attention is the paper's: C/8 channels for f, g and h.
GENERATORS = {
    "SNGAN": (
        resnet.Generator(),
        128,
        {"l1": 128 * 4096 + 4096, "blocks": 3 * block_of_256(affine(256)), "b5": affine(256)},
        4_276_739,
    ),
    "conditional": (
        resnet.Generator(classes=10),
        128,
        {"l1": 128 * 4096 + 4096, "blocks": 3 * block_of_256(10 * affine(256)), "b5": affine(256)},
        4_304_387,
    ),
    "SAGAN": (
        resnet.Generator(attention=1, spectral_norm=True),
        128,
        {"l1": 128 * 4096 + 4096, "blocks": 3 * block_of_256(affine(256)), "b5": affine(256)}
        | {"attention": 3 * 256 * 32 + 32 * 256 + 1},
        4_309_508,
    ),
    # BigGAN.py of ajbrock/BigGAN-PyTorch at 32 pixels, G_shared, hier, shared_dim=128, dim_z=80: chunks of 20.
    "BigGAN": (
        resnet.Generator(classes=10, embedding=128),
        80,
        {"linear": 20 * 4096 + 4096, "blocks": 3 * block_of_256(affine((128 + 20) * 256)), "output bn": affine(256)}
        | {"shared": 10 * 128},
        4_287_235,
    ),
}
first = convolution(3, 3, 128) + convolution(3, 128, 128) + convolution(1, 3, 128)
second = 2 * convolution(3, 128, 128) + convolution(1, 128, 128)
BLOCKS = {"block1": first, "block2": second, "block3": 2 * convolution(3, 128, 128)}
BLOCKS |= {"block4": BLOCKS["block3"], "l5": 128 + 1}
DISCRIMINATORS = {
    "SNGAN": (resnet.Discriminator(), BLOCKS, 1_053_825),
    "projection": (resnet.Discriminator(classes=10), BLOCKS | {"l_y": 10 * 128}, 1_055_105),
    "SAGAN": (resnet.Discriminator(attention=1), BLOCKS | {"attention": 4 * 128 * 16 + 1}, 1_062_018),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_parameter_counts_of_the_generators(name):
    module, latents, layers, total = GENERATORS[name]
    labels = jnp.zeros(2, jnp.int32) if module.classes else None
    variables, images = shapes(module, jnp.zeros((2, latents)), labels)
    assert images.shape == (2, 32, 32, 3)
    assert count(variables["params"]) == sum(layers.values()) + convolution(3, 256, 3) == total
    spectral = (4096 + 1) + 9 * (256 + 1) + (3 * (32 + 1) + 256 + 1) + (3 + 1)  # u and the norm of every kernel
    moments = 7 * 2 * 256  # running means and variances
    assert count(variables["batch_stats"]) == moments + (spectral if module.spectral_norm else 0)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_parameter_counts_of_the_discriminators(name):
    module, layers, total = DISCRIMINATORS[name]
    labels = jnp.zeros(2, jnp.int32) if module.classes else None
    variables, logits = shapes(module, jnp.zeros((2, 32, 32, 3)), labels)
    assert logits.shape == (2,)
    assert count(variables["params"]) == sum(layers.values()) == total
    kernels = [v for v in jax.tree.leaves(variables["params"]) if v.ndim > 1]
    assert count(variables["batch_stats"]) == sum(v.shape[-1] + 1 for v in kernels)  # u and the norm of each


@pytest.mark.parametrize(
    "start, features, side", [(7, (8, 8), 28), (4, (8, 12, 16), 32), (4, (16, 8, 8, 8), 64), (3, (8,), 6)]
)
def test_shapes(start, features, side):
    _, images = shapes(resnet.Generator(1, start, features), jnp.zeros((2, 5)))
    assert images.shape == (2, side, side, 1)
    halvings = 1 if side == 6 else 2
    _, logits = shapes(resnet.Discriminator((8, 16, 8), halvings), jnp.zeros((2, side, side, 1)))
    assert logits.shape == (2,)


def convolved(x, layer):
    """`SAME` convolution of stride 1."""
    kernel = np.asarray(layer["kernel"])
    padded = np.pad(x, [(0, 0), (kernel.shape[0] // 2,) * 2, (kernel.shape[1] // 2,) * 2, (0, 0)])
    height, width = x.shape[1:3]
    taps = np.ndindex(kernel.shape[:2])
    return sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in taps) + np.asarray(layer["bias"])


def doubled(x):
    return np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)


def halved(x):
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def relu(x):
    return np.maximum(x, 0)


def normalised(x, layer):
    y = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    return y * layer["scale"] + layer["bias"]


def test_the_generator_by_its_definition():
    """Convolutions after enlargements, as the papers have them: ours change places, or are one with them."""
    module = resnet.Generator(channels=2, start=3, features=(8, 6))
    z = normal(4, 5)
    variables = stirred(module, z)
    params = jax.tree.map(np.asarray, variables["params"])
    x = (z @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]).reshape(4, 3, 3, 8)
    for name in ("Enlarging_0", "Enlarging_1"):
        block = params[name]
        y = convolved(doubled(relu(normalised(x, block["BatchNorm_0"]))), block["Conv_0"])
        y = convolved(relu(normalised(y, block["BatchNorm_1"])), block["Conv_1"])
        x = y + convolved(doubled(x), block["Conv_2"])
    expected = np.tanh(convolved(relu(normalised(x, params["BatchNorm_0"])), params["Conv_0"]))
    found, _ = compiled(module, True)(variables, z, None)
    assert 0.1 < np.abs(expected).mean() < 0.95
    np.testing.assert_allclose(found, expected, atol=2e-4)


def definition_of_phi(params, x):
    """What the last layer of `Discriminator((8, 8, 6))` sees."""
    for i in range(3):
        block = params[f"Judging_{i}"]
        y = convolved(x if i == 0 else relu(x), block["Conv_0"])
        y = convolved(relu(y), block["Conv_1"])
        x = convolved(x, block["Conv_2"]) if "Conv_2" in block else x
        x = halved(x) + halved(y) if i < 2 else x + y
    return relu(x).sum((1, 2))


@pytest.mark.parametrize("features", [(8, 8, 6), (8, 6, 6)], ids=["widened at the end", "an identity at the end"])
def test_the_discriminator_by_its_definition_and_the_projection(features):
    """Eq. 8: `w . phi + b + v_y . phi`, linear in the embedding."""
    module = resnet.Discriminator(features, classes=CLASSES, spectral_norm=False)
    x = normal(4, 8, 8, 2)
    variables = stirred(module, x, LABELS)
    params = jax.tree.map(np.asarray, variables["params"])
    assert ("Conv_2" in params["Judging_2"]) == (features[1] != features[2])
    phi = definition_of_phi(params, x)
    plain = phi @ params["Dense_0"]["kernel"][:, 0] + params["Dense_0"]["bias"]
    expected = plain + (params["embedding"]["kernel"][LABELS] * phi).sum(1)
    found, _ = compiled(module)(variables, x, LABELS)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-3)
    assert np.abs(expected - plain).min() > 0.1
    without = {**params, "embedding": {"kernel": jnp.zeros((CLASSES, features[-1]))}}
    np.testing.assert_allclose(compiled(module)({"params": without}, x, LABELS)[0], plain, rtol=2e-4, atol=1e-3)


def test_self_attention_by_its_formula():
    x, module = normal(2, 3, 4, 16), SelfAttention(reduction=4)
    params = stirred(module, x)["params"]
    kernels = {name: np.asarray(params[name]["kernel"], np.float64) for name in "fghv"}
    assert {name: kernel.shape for name, kernel in kernels.items()} == {
        **dict.fromkeys("fgh", (16, 4)),
        "v": (4, 16),
    }
    expected = np.zeros((2, 12, 16))
    for image, seen in zip(expected, x.astype(np.float64).reshape(2, 12, 16), strict=True):
        for j in range(12):
            scores = np.array([(seen[i] @ kernels["f"]) @ (seen[j] @ kernels["g"]) for i in range(12)])
            beta = np.exp(scores) / np.exp(scores).sum()
            mixed = sum(beta[i] * (seen[i] @ kernels["h"]) for i in range(12)) @ kernels["v"]
            image[j] = float(params["gamma"]) * mixed + seen[j]
    found = jax.jit(module.apply)({"params": params}, x)
    np.testing.assert_allclose(found, expected.reshape(x.shape), rtol=1e-4, atol=1e-4)
    assert np.abs(expected.reshape(x.shape) - x).max() > 0.1


def test_self_attention_starts_as_the_identity_and_leaves_it():
    x, module = normal(2, 3, 3, 8), SelfAttention()
    variables = starts(module)(x)
    apply = jax.jit(module.apply)
    np.testing.assert_array_equal(apply(variables, x), x)
    slope = jax.jit(jax.grad(lambda v: jnp.sum(jnp.sin(module.apply(v, x)))))(variables)["params"]
    assert abs(slope["gamma"]) > 1e-3
    with pytest.raises(ValueError, match="at least 1 output"):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((2, 3, 3, 7)))  # 7 // 8 channels


def batch_norm(x, epsilon=1e-5):
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def one_hot(labels=LABELS):
    return np.eye(CLASSES, dtype=np.float32)[labels]


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 2, 5)], ids=str)
def test_conditional_normalisation_starts_as_plain_normalisation(shape):
    """A scale that starts at zero (a lost `1 +`) gives zeros, and no gradient to what is before it."""
    x, module = 2 + 3 * normal(*shape), ConditionalBatchNorm()
    variables = starts(module)(x, one_hot())
    found, moved = module.apply(variables, x, one_hot(), train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(found, batch_norm(x), atol=1e-5)
    stats, axes = moved["batch_stats"]["BatchNorm_0"], tuple(range(len(shape) - 1))
    np.testing.assert_allclose(stats["mean"], 0.1 * x.mean(axes), rtol=1e-4)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * x.var(axes), rtol=1e-4)
    still = module.apply(variables, x, one_hot())  # means 0 and variances 1 so far
    np.testing.assert_allclose(still, x / np.sqrt(1 + 1e-5), rtol=1e-5)


def test_each_class_has_a_scale_and_a_shift():
    x, module = normal(4, 3, 2, 5), ConditionalBatchNorm()
    variables = starts(module)(x, one_hot())
    scale, shift = normal(CLASSES, 5, seed=1), normal(CLASSES, 5, seed=2)
    params = {"scale": {"kernel": scale - 1}, "shift": {"kernel": shift}}
    found, _ = module.apply({**variables, "params": params}, x, one_hot(), train=True, mutable=["batch_stats"])
    expected = batch_norm(x) * scale[LABELS][:, None, None] + shift[LABELS][:, None, None]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_statistics_are_taken_over_a_mapped_axis():
    x, module = normal(4, 2, 2, 5), ConditionalBatchNorm(axis_name="devices")
    variables = starts(module)(x, one_hot())

    def normalise(x, cond):
        return module.apply(variables, x, cond, train=True, mutable=["batch_stats"])[0]

    parts = x.reshape(2, 2, 2, 2, 5), one_hot().reshape(2, 2, CLASSES)
    found = jax.vmap(normalise, axis_name="devices")(*parts)
    np.testing.assert_allclose(found.reshape(x.shape), batch_norm(x), atol=1e-5)


def small_critic(**attributes):
    return resnet.Discriminator((8,), 1, classes=CLASSES, attention=0, **attributes)


def test_all_kernels_of_the_discriminator_have_the_spectral_norm_one():
    """After power iterations: those of blocks, self-attention, the last layer and the embedding, against SciPy's."""
    x, module = normal(4, 4, 4, 2), small_critic()
    variables = stirred(module, x, LABELS)

    after = variables
    for _ in range(200):
        after = {**variables, **compiled(module, True)(after, x, LABELS)[1]}
    kernels = {
        "/".join(part.key for part in path): np.asarray(v, np.float64).reshape(-1, v.shape[-1])
        for path, v in jax.tree.leaves_with_path(variables["params"])
        if v.ndim > 1
    }
    assert len(kernels) == 3 + 4 + 1 + 1
    norms = {
        "/".join(part.key for part in path if not part.key.startswith("Spectral")).removesuffix("/sigma"): float(v)
        for path, v in jax.tree.leaves_with_path(after["batch_stats"])
        if v.ndim == 0
    }
    expected = {name: scipy.linalg.svdvals(kernel)[0] for name, kernel in kernels.items()}
    assert norms == pytest.approx(expected, rel=2e-3) and len(norms) == len(kernels)
    divided = jax.tree.map_with_path(
        lambda path, v: v / np.float32(expected["/".join(p.key for p in path)]) if v.ndim > 1 else v,
        variables["params"],
    )
    plain, _ = compiled(small_critic(spectral_norm=False))({"params": divided}, x, LABELS)
    np.testing.assert_allclose(compiled(module)(after, x, LABELS)[0], plain, rtol=1e-2, atol=1e-2)


def test_in_the_generator_neither_the_embedding_nor_scales_and_shifts_are_divided():
    module = resnet.Generator(1, 2, (8,), CLASSES, embedding=4, attention=0, spectral_norm=True)
    variables, _ = shapes(module, jnp.zeros((2, 6)), jnp.zeros(2, jnp.int32))
    paths = [jax.tree_util.keystr(path) for path, v in jax.tree.leaves_with_path(variables["batch_stats"])]
    divided = [path for path in paths if path.endswith("sigma']")]
    assert len(divided) == 1 + 3 + 4 + 1  # dense, a block, self-attention and the image
    assert not [path for path in divided if "embedding" in path or "scale" in path or "shift" in path]


@pytest.mark.parametrize("train", [False, True])
def test_the_discriminator_judges_each_example_by_itself(train):
    x, module = normal(4, 4, 4, 2), small_critic()
    variables = stirred(module, x, LABELS)

    def judge(x, labels):
        return np.asarray(compiled(module, train)(variables, x, labels)[0])

    logits, order = judge(x, LABELS), [2, 3, 0, 1]
    np.testing.assert_allclose(judge(x[order], LABELS[order]), logits[order], rtol=1e-5, atol=1e-5)
    others = np.concatenate([x[:1], 5 * x[1:]])
    beside = judge(others, np.array([LABELS[0], 1, 2, 0]))
    np.testing.assert_allclose(beside[0], logits[0], rtol=1e-5, atol=1e-5)
    assert np.abs(beside[1:] - logits[1:]).min() > 1e-3


@pytest.mark.parametrize(
    "module, shape",
    [(resnet.Generator(1, 2, (8,), CLASSES), (4, 6)), (small_critic(), (4, 4, 4, 2))],
    ids=["generator", "discriminator"],
)
def test_labels_change_samples_and_logits(module, shape):
    x = normal(*shape)
    variables = stirred(module, x, LABELS)
    others = np.where(LABELS == 1, 0, LABELS)
    one, other = (np.asarray(compiled(module)(variables, x, labels)[0]) for labels in (LABELS, others))
    changed = np.abs(one - other).reshape(4, -1).max(1)
    assert changed[2] > 1e-3
    np.testing.assert_array_equal(changed[LABELS != 1], 0.0)


def test_every_block_of_the_generator_has_a_chunk_of_the_latents_beside_the_class():
    """As in BigGAN; before scales and shifts have moved, only the dense layer's chunk is seen, and no class."""
    module, z = resnet.Generator(1, 2, (8, 8), CLASSES, embedding=4), normal(4, 9)
    start = starts(module)(z, LABELS)
    assert start["params"]["Enlarging_1"]["ConditionalBatchNorm_0"]["scale"]["kernel"].shape == (4 + 3, 8)
    for variables, chunks, classes in (
        (start, [True, False, False], False),
        (stirred(module, z, LABELS), [True, True, True], True),
    ):
        make = functools.partial(compiled(module), variables)
        images = make(z, LABELS)[0]
        for i, seen in enumerate(chunks):
            changed = make(z + (np.arange(9) // 3 == i)[None].astype(np.float32), LABELS)[0]
            assert (np.abs(changed - images).max() > 1e-3) == seen
        others = make(z, (LABELS + 1) % CLASSES)[0]
        assert (np.abs(others - images).max() > 1e-3) == classes


def test_a_generator_starts_alike_for_all_classes_and_learns_to_tell_them():
    module, z = resnet.Generator(1, 2, (8,), CLASSES), normal(4, 6)
    variables = starts(module)(z, LABELS)
    np.testing.assert_array_equal(*(compiled(module)(variables, z, labels)[0] for labels in (LABELS, 0 * LABELS)))

    def objective(params):
        images, _ = compiled(module, True)({**variables, "params": params}, z, LABELS)
        return jnp.sum(jnp.sin(3 * images + z[:, 0, None, None, None]))

    slope = jax.jit(jax.grad(objective))(variables["params"])["Enlarging_0"]
    for name in ("ConditionalBatchNorm_0", "ConditionalBatchNorm_1"):
        assert np.abs(slope[name]["scale"]["kernel"]).max() > 1e-4
        assert np.abs(slope[name]["shift"]["kernel"]).max() > 1e-4
    for name in ("Conv_0", "Conv_1"):  # which a scale of zero would hold still
        assert np.abs(slope[name]["kernel"]).max() > 1e-4


def summed(module, params, *inputs, **stats):
    """The gradient, in bfloat16, of the sum of all that comes out to the parameters."""

    def total(params, inputs, weights):
        return jnp.sum(weights * module.apply({"params": params, **stats}, *inputs), dtype=jnp.float32)

    narrow = jax.tree.map(lambda v: v.astype(jnp.bfloat16), params)
    assert jax.eval_shape(module.apply, {"params": narrow, **stats}, *inputs).dtype == jnp.bfloat16
    # All are arguments: XLA works out sums of constants in other ways.
    slope = jax.jit(jax.grad(total))(narrow, inputs, jnp.ones_like(inputs[0]))
    return jax.tree.map(lambda v: np.asarray(v, np.float32), slope)


def test_half_precision_keeps_the_sums_over_pixels_in_float32():
    """1,024 gradients of 1 are 1,024; a sum of them in bfloat16 stops at 256."""
    x, cond = jnp.ones((1, 32, 32, 8), jnp.bfloat16), jnp.ones((1, 1), jnp.bfloat16)
    zeros = {"kernel": jnp.zeros((1, 8))}
    moments = {"BatchNorm_0": {"mean": jnp.zeros(8), "var": jnp.ones(8)}}
    slope = summed(ConditionalBatchNorm(), {"scale": zeros, "shift": zeros}, x, cond, batch_stats=moments)
    np.testing.assert_array_equal(slope["shift"]["kernel"], np.full((1, 8), 1024))
    np.testing.assert_array_equal(slope["scale"]["kernel"], np.full((1, 8), 1024))
    mixing = {name: {"kernel": jnp.full((8, 1), 1 / 8)} for name in "fgh"}  # what is mixed is 1 everywhere
    params = {**mixing, "v": {"kernel": jnp.ones((1, 8))}, "gamma": jnp.zeros(())}
    slope = summed(SelfAttention(), params, x)
    assert slope["gamma"] == 32 * 32 * 8


@pytest.mark.parametrize(
    "module, inputs, message",
    [
        (resnet.Generator(1, 2, (8,), CLASSES), (jnp.zeros((2, 4)),), "classes=3: expected labels, got none"),
        (
            resnet.Generator(1, 2, (8,)),
            (jnp.zeros((2, 4)), jnp.zeros(2, int)),
            "classes=0: expected no labels, got some",
        ),
        (small_critic(), (jnp.zeros((2, 4, 4, 1)),), "classes=3: expected labels, got none"),
        (
            small_critic(),
            (jnp.zeros((2, 4, 4, 1)), jnp.zeros((2, 1), int)),
            r"one for each example, \[batch\], got \[2, 1\]",
        ),
        (resnet.Discriminator((8,), 1, attention=1), (jnp.zeros((2, 4, 4, 1)),), "attention=1: .*0 to 0"),
        (
            resnet.Generator(1, 2, (8, 8), CLASSES, embedding=4),
            (jnp.zeros((2, 8)), jnp.zeros(2, int)),
            "8 latents do not split into 3 chunks",
        ),
        (resnet.Generator(1, 2, (8,), embedding=4), (jnp.zeros((2, 8)),), "embedding=4: expected classes"),
    ],
)
def test_what_does_not_fit_raises(module, inputs, message):
    with pytest.raises(ValueError, match=message) as error:
        jax.eval_shape(module.init, jax.random.key(0), *inputs)
    assert "\n" not in str(error.value)


def test_a_conditional_game_takes_a_step(key):
    """Its labels reach both networks, and in bfloat16 too a state has the shapes and dtypes of the one before."""
    generator = resnet.Generator(1, 2, (8,), CLASSES, attention=0, spectral_norm=True)
    gan = make_gan(
        in_precision(flax_network(generator), "bfloat16"),
        in_precision(flax_network(small_critic()), "bfloat16"),
        losses.hinge,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(6),
    )
    batch = {"x": jnp.asarray(normal(4, 4, 4, 1)), "cond": jnp.asarray(LABELS, jnp.int32)}
    before = jax.eval_shape(gan.init, key, batch)
    after, _ = jax.eval_shape(gan.step, key, before, batch)
    kinds = [jax.tree.map(lambda v: (v.shape, v.dtype), state) for state in (before, after)]
    assert kinds[0] == kinds[1]
    assert jax.eval_shape(gan.sample, key, before, batch).shape == (4, 4, 4, 1)
    with pytest.raises(ValueError, match="expected labels, got none"):
        jax.eval_shape(gan.init, key, {"x": batch["x"]})


@pytest.mark.parametrize(("name", "shape"), [("generator", (4, 60)), ("discriminator", (4, 28, 28, 1))])
def test_biggan_starts_orthogonal(name, shape):
    """By SciPy's singular values, so spectral norms change nothing yet; scales and shifts start at zero."""
    file = pathlib.Path(__file__).parent.parent / "experiments" / "fashion_biggan.py"
    network = getattr(experiments.load(str(file))(width=8).gan.game, name)
    start = jax.jit(network.init)(jax.random.key(0), jnp.zeros(shape), jnp.asarray(LABELS, jnp.int32))
    kernels = {path: np.asarray(v) for path, v in jax.tree.leaves_with_path(start["params"]) if v.ndim > 1}
    affine = [path for path in kernels if path[-2].key in ("scale", "shift")]
    assert len(affine) == (2 * 4 if name == "generator" else 0)  # of two layers in each of two blocks
    assert not any(kernels.pop(path).any() for path in affine)
    for path, kernel in kernels.items():
        values = scipy.linalg.svdvals(kernel.reshape(-1, kernel.shape[-1]).astype(np.float64))
        np.testing.assert_allclose(values, 1.0, atol=1e-5, err_msg=str(path))
    assert len({kernel.tobytes() for kernel in kernels.values()}) == len(kernels) > 10
