"""StyleGAN2: its resampling against scipy's, its convolutions against naive ones, its sizes against the authors'."""

import functools
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jaxgan import experiment as experiments
from jaxgan import progress, run
from jaxgan.layers import blur, downsample, downsampled_convolve, modulated_convolve, upsample, upsampled_convolve
from jaxgan.network import flax_network, in_precision
from jaxgan.networks.stylegan2 import Discriminator, Generator, paper_features
from jaxgan.penalties import path_lengths

EXPERIMENT = pathlib.Path(__file__).parent.parent / "experiments" / "emoji_stylegan2.py"
FILTER = np.array([1, 3, 3, 1]) / 8
B, LATENTS, CLASSES = 4, 5, 3
SMALL = Generator(features=(8, 6), width=7, layers=2)
CONDITIONAL = Generator(features=(8, 6), width=7, layers=2, classes=CLASSES)
JUDGE = Discriminator(features=(8, 6))
CONDITIONAL_JUDGE = Discriminator(features=(8, 6), classes=CLASSES)


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def along_both(f, x):
    """A function of arrays and an axis, along height and then along width."""
    return f(f(x, 1), 2)


def filtered(x, low, high):
    """scipy's whole convolution with the filter, cut or zero-padded to what padding the image gives."""

    def one(x, axis):
        whole = np.moveaxis(scipy.signal.upfirdn(FILTER, x, axis=axis), axis, 0)
        whole = np.concatenate([np.zeros((9, *whole.shape[1:])), whole, np.zeros((9, *whole.shape[1:]))])
        count = x.shape[axis] + low + high - 3
        return np.moveaxis(whole[9 + 3 - low :][:count], 0, axis)

    return along_both(one, x)


@pytest.mark.parametrize("low, high", [(0, 0), (1, 2), (2, 3), (4, 1), (-1, 2)])
def test_the_filter_is_scipys(low, high):
    with jax.enable_x64(True):
        x = numbers(0, 2, 6, 5, 3)
        found = blur(((low, high), (low, high)), jnp.asarray(x))
        np.testing.assert_allclose(found, filtered(x, low, high), atol=1e-14)
        shifted = blur(((1, 2), (low, high)), jnp.asarray(x))  # the two directions are not exchanged
        assert shifted.shape == (2, 6, 5 + low + high - 3, 3)


def test_enlarging_and_halving_are_scipys():
    """`upfirdn` with up=2 and four times the filter, and with down=2; the authors' `upsample2d` and `downsample2d`."""
    with jax.enable_x64(True):
        x = numbers(0, 2, 6, 4, 3)

        def larger(x, axis):  # padding (2, 1): of the whole convolution the first and the last are cut
            whole = scipy.signal.upfirdn(2 * FILTER, x, up=2, axis=axis)
            return np.take(whole, np.arange(1, 2 * x.shape[axis] + 1), axis)

        def smaller(x, axis):  # padding (1, 1): the first two are cut
            whole = scipy.signal.upfirdn(FILTER, x, down=2, axis=axis)
            return np.take(whole, np.arange(1, x.shape[axis] // 2 + 1), axis)

        np.testing.assert_allclose(upsample(jnp.asarray(x)), along_both(larger, x), atol=1e-14)
        np.testing.assert_allclose(downsample(jnp.asarray(x)), along_both(smaller, x), atol=1e-14)


def convolutions(x, kernel, f):
    """`[B,H,W,C]` and `[k,k,C,F]` by a function of two planes, summed over channels."""
    planes = [
        [sum(f(image[..., c], kernel[..., c, o]) for c in range(kernel.shape[2])) for o in range(kernel.shape[3])]
        for image in x
    ]
    return np.array(planes).transpose(0, 2, 3, 1)


def naive_upsampled(x, kernel):
    """Zeros between the pixels, a whole convolution, the filter with one pixel of padding, four times as strong."""
    apart = along_both(lambda x, axis: scipy.signal.upfirdn([1.0], x, up=2, axis=axis), x)
    return 4 * filtered(convolutions(apart, kernel, scipy.signal.convolve2d), 1, 1)


def naive_downsampled(x, kernel):
    """The filter with two pixels of padding, a correlation without any, every second pixel."""
    valid = functools.partial(scipy.signal.correlate2d, mode="valid")
    return convolutions(filtered(x, 2, 2), kernel, valid)[:, ::2, ::2]


@pytest.mark.parametrize(
    "ours, naive", [(upsampled_convolve, naive_upsampled), (downsampled_convolve, naive_downsampled)]
)
def test_resampling_convolutions_are_scipys(ours, naive):
    with jax.enable_x64(True):
        x, kernel = numbers(0, 2, 6, 4, 3), numbers(1, 3, 3, 3, 2)
        np.testing.assert_allclose(ours(jnp.asarray(x), jnp.asarray(kernel)), naive(x, kernel), atol=1e-12)


def test_an_upsampled_convolution_is_one_of_the_enlarged_image():
    with jax.enable_x64(True):
        x, kernel = jnp.asarray(numbers(0, 1, 6, 6, 2)), jnp.asarray(numbers(1, 3, 3, 2, 2))
        turned = convolutions(np.asarray(upsample(x)), np.asarray(kernel), scipy.signal.convolve2d)[:, 1:-1, 1:-1]
        found = upsampled_convolve(x, kernel)
        np.testing.assert_allclose(found[:, 2:-2, 2:-2], turned[:, 2:-2, 2:-2], atol=1e-12)


@pytest.mark.parametrize(
    "resample",
    [
        upsample,
        downsample,
        lambda x: upsampled_convolve(x, jnp.asarray(numbers(1, 3, 3, 2, 1))),
        lambda x: downsampled_convolve(x, jnp.asarray(numbers(1, 3, 3, 2, 1))),
    ],
    ids=["upsample", "downsample", "upsampled_convolve", "downsampled_convolve"],
)
def test_derivatives_of_two_orders(resample):
    """Of a linear map A these are its transpose, `<y, A u> = <A^T y, u>` for all y and u, and then A again."""

    @jax.jit
    def derivatives(x, u):
        y, pull = jax.vjp(resample, x)
        weights = jnp.cos(7.0 * y)
        (gradient,), pull_again = jax.vjp(pull, weights)
        return resample(u), weights, gradient, pull_again((u,))[0]

    with jax.enable_x64(True):
        x, u = (jnp.asarray(numbers(seed, 1, 4, 6, 2)) for seed in (0, 1))
        mapped, weights, gradient, again = derivatives(x, u)
        np.testing.assert_allclose(np.sum(weights * mapped), np.sum(gradient * u), rtol=1e-12)
        np.testing.assert_allclose(again, mapped, atol=1e-13)


@pytest.mark.parametrize("upsampled", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_a_modulated_convolution_is_one_with_each_examples_own_kernel(upsampled, demodulate):
    with jax.enable_x64(True):
        x, kernel, styles = numbers(0, 3, 5, 4, 4), numbers(1, 3, 3, 4, 2), numbers(2, 3, 4)
        expected = []
        for image, style in zip(x, styles, strict=True):
            own = kernel * style[:, None]
            if demodulate:
                own = own / np.sqrt((own**2).sum(axis=(0, 1, 2)) + 1e-8)
            same = functools.partial(scipy.signal.correlate2d, mode="same")
            expected.append(naive_upsampled(image[None], own) if upsampled else convolutions(image[None], own, same))
        found = modulated_convolve(*map(jnp.asarray, (x, kernel, styles)), upsampled=upsampled, demodulate=demodulate)
        np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-12)


def test_demodulated_outputs_have_unit_variance():
    x, kernel = numbers(0, 3, 34, 34, 16), 7.0 * numbers(1, 3, 3, 16, 24)
    styles = np.array([0.01, 1.0, 50.0])[:, None] * np.exp(numbers(2, 3, 16))
    arrays = [jnp.asarray(v, jnp.float32) for v in (x, kernel, styles)]
    inner = np.asarray(modulated_convolve(*arrays))[:, 1:-1, 1:-1]
    np.testing.assert_allclose(inner.var(axis=(1, 2, 3)), np.ones(3), rtol=0.1)
    plain = np.asarray(modulated_convolve(*arrays, demodulate=False))[:, 1:-1, 1:-1]
    assert plain.var(axis=(1, 2, 3)).min() > 2 or plain.var(axis=(1, 2, 3)).max() > 100


def count(tree):
    return sum(math.prod(v.shape) for v in jax.tree.leaves(tree))


def authors_sizes(size, base, layers):
    """Parameters of the authors' networks, layer by layer, from training/networks.py of NVlabs/stylegan2-ada-pytorch.

    Noise constants and filters are buffers there and not counted; here there are none.
    """
    channels = {side: min(base // side, 512) for side in (2**i for i in range(2, size.bit_length()))}

    def synthesis_layer(inputs, outputs):  # affine, kernel, noise strength, bias
        return (512 * inputs + inputs) + 9 * inputs * outputs + 1 + outputs

    def to_rgb(inputs):  # affine, kernel, bias
        return (512 * inputs + inputs) + 3 * inputs + 3

    generator = layers * (512 * 512 + 512) + 16 * channels[4] + synthesis_layer(channels[4], channels[4])
    generator += to_rgb(channels[4])
    discriminator = 3 * channels[size] + channels[size]  # from RGB
    for side in list(channels)[1:]:
        small, large = channels[side // 2], channels[side]
        generator += synthesis_layer(small, large) + synthesis_layer(large, large) + to_rgb(large)
        discriminator += (9 * large * large + large) + (9 * large * small + small) + large * small
    last = channels[4]
    discriminator += 9 * (last + 1) * last + last + 16 * last * last + last + last + 1
    return generator, discriminator


@pytest.mark.parametrize(
    "size, base, published",
    [
        (256, 32768, None),
        (256, 16384, None),
        # What the authors' training script prints for 1024x1024 pixels and two layers of mapping.
        (1024, 32768, (28_794_124 + 6 * 262_656, 29_012_513)),
    ],
)
def test_sizes_of_the_authors_networks(size, base, published, key):
    features = paper_features(size, base)
    z, x = jax.ShapeDtypeStruct((4, 512), jnp.float32), jax.ShapeDtypeStruct((4, size, size, 3), jnp.float32)
    generator, discriminator = Generator(features=features), Discriminator(features=features)
    g_variables, d_variables = jax.eval_shape(generator.init, key, z), jax.eval_shape(discriminator.init, key, x)
    sizes = count(g_variables["params"]), count(d_variables["params"])
    assert sizes == authors_sizes(size, base, layers=8)
    assert published is None or sizes == published
    assert set(d_variables) == {"params"} and count(g_variables["batch_stats"]) == 512 + 1
    assert jax.eval_shape(generator.apply, g_variables, z).shape == x.shape
    assert jax.eval_shape(discriminator.apply, d_variables, x).shape == (4,)


def test_channels_of_the_authors_settings():
    assert paper_features(1024) == (512, 512, 512, 512, 512, 256, 128, 64, 32)
    assert paper_features(256, 16384) == (512, 512, 512, 512, 256, 128, 64)
    for size in (0, 2, 48):
        with pytest.raises(ValueError, match="power of two"):
            paper_features(size)


def test_sizes_with_classes(key):
    """A vector of 512 for each class and 512 more inputs of the mapping; the discriminator maps classes too."""
    features, z, cond = paper_features(32), jnp.zeros((4, 512)), jnp.zeros(4, jnp.int32)

    def sizes(classes):
        both = Generator(features=features, classes=classes), Discriminator(features=features, classes=classes)
        inputs, labels = (z, jnp.zeros((4, 32, 32, 3))), (cond,) if classes else ()
        return [count(jax.eval_shape(m.init, key, x, *labels)["params"]) for m, x in zip(both, inputs, strict=True)]

    (plain, judge), (more, more_judge) = sizes(0), sizes(10)
    embedding, dense = 10 * 512 + 512, 512 * 512 + 512
    assert more - plain == embedding + 512 * 512
    assert more_judge - judge == embedding + 8 * dense + (dense - 513)


@functools.cache
def initial(module, *inputs):
    """The variables of a small member, its noise strengths and biases not zero; inputs are shapes."""
    key, (first, *rest) = jax.random.key(1), inputs
    arguments = (jnp.zeros(first), *(jnp.zeros(shape, jnp.int32) for shape in rest))
    variables = jax.jit(module.init)(key, *arguments)
    return {**variables, "params": jax.tree.map(lambda v: v + 0.3 if v.ndim < 2 else v, variables["params"])}


def variables_of(module):
    shape = (B, LATENTS) if isinstance(module, Generator) else (B, 8, 8, 3)
    return initial(module, shape, *([(B,)] if module.classes else []))


def latents(seed=0):
    return numbers(seed, B, LATENTS).astype(np.float32)


@functools.cache
def compiled(module, train, method="__call__"):
    """`(variables, x, cond, key) -> (output, statistics)`, compiled once for all tests."""

    def run(variables, x, cond, key):
        labels = () if cond is None else (cond,)
        return module.apply(
            variables, x, *labels, train=train, rngs={"dropout": key}, mutable=["batch_stats"], method=method
        )

    return jax.jit(run)


def images(module, seed=0, train=False, key_seed=0, cond=None):
    return np.asarray(compiled(module, train)(variables_of(module), latents(seed), cond, jax.random.key(key_seed))[0])


def styles(module, train, key_seed=0, z=None):
    """Of members of any number of feature maps: the mapping, which alone is run, is the same."""
    run = compiled(module, train, "styles")
    return np.asarray(run(variables_of(SMALL), latents() if z is None else z, None, jax.random.key(key_seed))[0])


def test_images_are_not_squashed_and_differ():
    found = images(SMALL)
    assert found.shape == (B, 8, 8, 3) and np.isfinite(found).all() and np.abs(found).max() > 1
    assert np.std(found, axis=0).max() > 1e-2


def test_latents_are_normalised():
    """Pixel normalisation: their length does not count."""
    run = compiled(SMALL, False)
    found, _ = run(variables_of(SMALL), 7.0 * latents(), None, jax.random.key(0))
    np.testing.assert_allclose(found, images(SMALL), rtol=1e-4, atol=1e-5)


def test_mapped_styles_have_unit_variance():
    """Whatever the rate of the mapping's layers; a leaky ReLU adds 4 %, its outputs' mean comes on top."""
    module, z = Generator(features=(2,), width=256), numbers(0, 64, 256).astype(np.float32)
    variables = jax.jit(module.init)(jax.random.key(0), z)
    for name, values in variables["params"]["mapping"].items():
        assert 80 < np.std(values["kernel"]) < 120, name  # divided by the rate, 0.01
    w = np.asarray(jax.jit(functools.partial(module.apply, method="styles"))(variables, z))
    assert w.shape == (64, 2, 256) and 0.5 < np.mean(w**2) < 2


def test_styles_are_mixed_in_training_only():
    module = SMALL.clone(features=(8, 6, 4, 4, 4), mixing=1.0)
    own = styles(module, train=False)
    assert own.shape == (B, 10, 7)
    np.testing.assert_array_equal(own, np.repeat(own[:, :1], 10, axis=1))
    np.testing.assert_allclose(styles(module.clone(mixing=0.0), train=True), own, rtol=1e-5, atol=1e-6)
    starts = []
    for seed in range(8):
        mixed = styles(module, train=True, key_seed=seed)
        is_own = np.isclose(mixed, own, rtol=1e-4, atol=1e-5).all(axis=-1)
        for flags, ws in zip(is_own, mixed, strict=True):
            start = int(flags.sum())
            assert flags[:start].all()  # own styles first, one other's from there on
            np.testing.assert_array_equal(ws[start:], np.repeat(ws[start:][:1], 10 - start, axis=0))
            starts.append(start)
    assert min(starts) >= 1 and max(starts) <= 9 and len(set(starts)) > 4  # each example draws its own
    assert any(len(set(starts[i : i + B])) > 1 for i in range(0, len(starts), B))


def test_the_share_of_mixed_examples():
    many = 4096
    ws = styles(SMALL, train=True, z=numbers(3, many, LATENTS).astype(np.float32))
    mixed = (ws[:, 0] != ws[:, -1]).any(axis=-1).mean()
    assert abs(mixed - 0.9) < 4 * math.sqrt(0.09 / many)


def test_noise_is_drawn_in_training_only():
    module = SMALL.clone(mixing=0.0)
    np.testing.assert_array_equal(images(module, key_seed=0), images(module, key_seed=1))
    noisy = [images(module, train=True, key_seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert np.abs(noisy[0] - noisy[2]).max() > 1e-2
    # One draw for each pixel of each example, scaled by the strength: none where that is zero.
    variables = variables_of(module)
    quiet = jax.tree_util.tree_map_with_path(
        lambda path, v: 0.0 * v if path[-1].key == "strength" else v, variables["params"]
    )
    found, _ = compiled(module, True)({**variables, "params": quiet}, latents(), None, jax.random.key(0))
    np.testing.assert_allclose(found, images(module), rtol=1e-4, atol=1e-5)


def test_truncation_draws_styles_towards_their_mean():
    variables = variables_of(SMALL)
    mean = numbers(5, 7).astype(np.float32)
    variables = {**variables, "batch_stats": {"w_mean": mean, "truncation": jnp.ones(())}}

    def towards(truncation):
        return {**variables, "batch_stats": {"w_mean": mean, "truncation": jnp.full((), truncation)}}

    def truncated(truncation, method="__call__"):
        run = compiled(SMALL, False, method)
        return np.asarray(run(towards(truncation), latents(), None, jax.random.key(0))[0])

    own, ws = styles(SMALL, train=False), np.broadcast_to(mean, (B, 4, 7))
    np.testing.assert_allclose(truncated(0.3, "styles"), mean + 0.3 * (own - mean), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(truncated(0.0, "styles"), ws, rtol=1e-5, atol=1e-6)
    average = compiled(SMALL, False, "synthesise")(variables, ws, None, jax.random.key(0))[0]
    np.testing.assert_allclose(truncated(0.0), average, rtol=1e-4, atol=1e-4)
    assert np.std(average, axis=0).max() < 1e-4 < 1e-2 < np.std(images(SMALL), axis=0).max()
    # In training nothing is truncated.
    run = compiled(SMALL.clone(mixing=0.0), True, "styles")
    ws, moved = run(towards(0.0), latents(), None, jax.random.key(0))
    assert np.std(ws, axis=0).max() > 1e-2 and moved["batch_stats"]["truncation"] == 0.0
    np.testing.assert_array_equal(truncated(1.0, "styles"), own)


def test_the_mean_of_styles_moves_in_training_only(key):
    kept, moved = (
        compiled(SMALL, train, "styles")(variables_of(SMALL), latents(), None, key)[1]["batch_stats"]["w_mean"]
        for train in (False, True)
    )
    np.testing.assert_array_equal(kept, np.zeros(7))
    own = styles(SMALL, train=False)[:, 0]  # of the examples' latents, not of those that are mixed in
    np.testing.assert_allclose(moved, 0.005 * own.mean(0), rtol=1e-4, atol=1e-7)


judges = functools.cache(lambda module: jax.jit(module.apply))


def judged(module, x, cond=None):
    labels = () if cond is None else (cond,)
    return np.asarray(judges(module)(variables_of(module), x, *labels))


def test_logits_know_the_group_and_not_other_groups():
    x = numbers(0, 8, 8, 8, 3).astype(np.float32)
    logits = judged(JUDGE, x)
    assert logits.shape == (8,) and np.std(logits) > 1e-3
    others = np.concatenate([x[:4], 3.0 * x[4:]])
    np.testing.assert_allclose(judged(JUDGE, others)[:4], logits[:4], rtol=1e-4, atol=1e-5)
    beside = np.concatenate([x[:1], 3.0 * x[1:]])
    assert abs(judged(JUDGE, beside)[0] - logits[0]) > 1e-3
    alone = JUDGE.clone(group_size=1)
    np.testing.assert_allclose(judged(alone, beside)[0], judged(alone, x)[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="8x8"):
        judged(JUDGE, np.zeros((4, 16, 16, 3), np.float32))


def test_classes_change_images_and_logits():
    first, second = np.zeros(B, np.int32), np.full(B, 2, np.int32)
    one, other = (images(CONDITIONAL, cond=cond) for cond in (first, second))
    assert np.abs(one - other).max() > 1e-2
    x = numbers(0, B, 8, 8, 3).astype(np.float32)
    one, other = (judged(CONDITIONAL_JUDGE, x, cond) for cond in (first, second))
    assert one.shape == (B,) and np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("plain, conditional", [(SMALL, CONDITIONAL), (JUDGE, CONDITIONAL_JUDGE)])
def test_conditions_are_asked_for_or_refused(plain, conditional):
    x = jnp.zeros((B, LATENTS) if plain is SMALL else (B, 8, 8, 3))
    with pytest.raises(ValueError, match="no labels"):
        plain.apply(variables_of(plain), x, jnp.zeros(B, jnp.int32))
    with pytest.raises(ValueError, match="expected labels"):
        conditional.apply(variables_of(conditional), x)


def equations(jaxpr):
    """All equations of a program, those of its inner programs too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def test_no_convolution_is_grouped_or_dilated(key):
    """In both players' gradients, and in those of gradients: such convolutions are many times slower on a CPU."""

    def objective(g_params, d_params):
        fake = SMALL.apply(
            {**variables_of(SMALL), "params": g_params},
            latents(),
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )[0]
        slope = jax.grad(lambda x: JUDGE.apply({"params": d_params}, x).sum())(fake)
        return jnp.sum(slope**2)

    params = variables_of(SMALL)["params"], variables_of(JUDGE)["params"]
    program = jax.make_jaxpr(jax.grad(objective, (0, 1)))(*params)
    found = [e for e in equations(program.jaxpr) if e.primitive.name == "conv_general_dilated"]
    assert len(found) > 20
    for equation in found:
        assert equation.params["feature_group_count"] == equation.params["batch_group_count"] == 1
        for name in ("window_strides", "lhs_dilation", "rhs_dilation"):
            assert set(equation.params[name]) == {1}


@pytest.mark.parametrize("module", [SMALL, JUDGE])
def test_bfloat16_is_near_float32(module, key):
    x = latents() if module is SMALL else numbers(0, B, 8, 8, 3).astype(np.float32)
    network, variables = flax_network(module), variables_of(module)

    def output(precision):
        apply = functools.partial(in_precision(network, precision).apply, key=key, train=False)
        return np.asarray(jax.jit(apply)(variables, x, None)[0])

    exact, rounded = output("float32"), output("bfloat16")
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("train", [False, True])
def test_a_shift_is_added_to_the_styles_of_all_layers(train, key):
    variables, shift = variables_of(SMALL), numbers(6, B, 4, 7).astype(np.float32)
    found = compiled(SMALL, train)(variables, {"z": latents(), "shift": shift}, None, key)[0]
    ws = compiled(SMALL, train, "styles")(variables, latents(), None, key)[0]
    expected = compiled(SMALL, train, "synthesise")(variables, ws + shift, None, key)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found - images(SMALL, train=train)).max() > 0.1


def in_training(variables, x, key, method="__call__"):
    return SMALL.apply(variables, x, train=True, rngs={"dropout": key}, mutable=["batch_stats"], method=method)[0]


def test_path_lengths_in_w_are_the_authors(key):
    """NVlabs/stylegan2-ada-pytorch, training/loss.py, from a Jacobian of the images by all style vectors, written out.

    Half of the latents are taken, styles are mixed and noise is added as in training, and the mean moves first.
    """
    variables, z, before = variables_of(SMALL), numbers(4, 6, LATENTS).astype(np.float32), 0.1
    penalty = experiments.load(str(EXPERIMENT)).__globals__["PathLength"](weight=2.0, layers=4, width=7)

    @jax.jit
    def ours(z):
        return penalty.apply(before, key, 0, lambda x: in_training(variables, x, key), z, None, None)

    @jax.jit
    def jacobian(z):
        ws = in_training(variables, z, key, "styles")
        return jax.jacobian(lambda ws: in_training(variables, ws, key, "synthesise"))(ws)

    slopes = np.asarray(jacobian(z[::2]), np.float64)  # of three images by three times four style vectors
    assert slopes.shape == (3, 8, 8, 3, 3, 4, 7)
    y = np.asarray(jax.random.normal(jax.random.split(key, 1)[0], (3, 8, 8, 3)), np.float64) / math.sqrt(8 * 8)
    gradients = np.einsum("bhwc,bhwcnlk->nlk", y, slopes)  # an image has no slope by another's styles
    lengths = np.sqrt((gradients**2).sum(2).mean(1))
    mean = before + 0.01 * (lengths.mean() - before)
    found, moved = ours(z)
    np.testing.assert_allclose(moved, mean, rtol=1e-5)
    np.testing.assert_allclose(found, 2.0 * (lengths - mean) ** 2, rtol=1e-3)
    assert np.ptp(lengths) > 0.1 * lengths.mean()


def test_gradients_of_path_lengths_in_w_are_finite_differences(key):
    """By all parameters, the mapping's among them: lengths are taken at styles that it makes."""
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda v: v.astype(np.float64), jax.device_get(variables_of(SMALL)))
        z, shift, params = numbers(4, 3, LATENTS), jnp.zeros((3, 4, 7)), variables["params"]
        steps = jax.tree.map(lambda v: numbers(v.size, *v.shape), params)

        @jax.jit
        @jax.value_and_grad
        def length(t, part):
            """Along a line of one part's parameters, and its slope."""
            shares = {name: jax.tree.map(lambda v, name=name: part[name], params[name]) for name in params}
            moved = jax.tree.map(lambda v, step, share: v + t * share * step, params, steps, shares)

            def generator(shift):
                return in_training({**variables, "params": moved}, {"z": z, "shift": shift}, key)

            return path_lengths(key, generator, shift).sum()

        for part in ({"mapping": 1.0, "synthesis": 0.0}, {"mapping": 0.0, "synthesis": 1.0}):
            slope = length(0.0, part)[1]
            expected = (length(1e-5, part)[0] - length(-1e-5, part)[0]) / 2e-5
            assert abs(slope) > 1e-3
            np.testing.assert_allclose(slope, expected, rtol=1e-5)


def game_of(**options):
    return experiments.load(str(EXPERIMENT))(**options)


@pytest.mark.parametrize("size", [8, 64])
def test_the_experiment_makes_images_of_any_size(size, key):
    gan = game_of(size=size, width=4, batch_size=4, path_weight=2.0, augment="ada").gan
    batch = {"x": jax.ShapeDtypeStruct((4, size, size, 3), float)}
    state = jax.eval_shape(gan.init, key, batch)
    assert jax.eval_shape(gan.sample, key, state, batch).shape == (4, size, size, 3)
    assert set(state.generator.memory) == {"penalty"} and set(state.discriminator.memory) == {"augment"}


def test_the_experiment_without_its_memories(key):
    batch = {"x": jax.ShapeDtypeStruct((4, 8, 8, 3), float)}
    gan = game_of(size=8, width=4, batch_size=4).gan
    state, metrics = jax.eval_shape(gan.step, key, jax.eval_shape(gan.init, key, batch), batch)
    assert state.generator.memory == {} and state.discriminator.memory == {}
    assert "generator/penalty" not in metrics and "discriminator/augmentation" not in metrics


REMEMBERING = {"size": 4, "width": 4, "batch_size": 4, "learning_rate": 0.05, "augment_images": 40}
REMEMBERING |= {"path_weight": 2.0, "augment": "ada"}
WHITE = np.random.default_rng(0).integers(128, 256, (64, 4, 4, 3), np.uint8)


@pytest.mark.slow
def test_path_lengths_and_the_strength_of_augmentation_are_remembered(key):
    """7 + 7 steps against 14: lengths are taken at the steps 0, 4, 8 and 12, the strength moves at 4, 8 and 12."""
    gan, batches = game_of(**REMEMBERING).gan, WHITE[:56].reshape(14, 4, 4, 4, 3) / np.float32(127.5) - 1
    step, states, metrics = jax.jit(gan.step), [jax.device_get(jax.jit(gan.init)(key, {"x": batches[0]}))], []
    for x in batches:
        state, seen = jax.device_get(step(key, states[-1], {"x": x}))
        states.append(state)
        metrics.append(seen)
    lengths = np.array([state.generator.memory["penalty"] for state in states])
    assert lengths[0] == 0.0 and (lengths[1:] > 0).all()
    assert np.flatnonzero(np.diff(lengths)).tolist() == [0, 4, 8, 12]
    assert np.flatnonzero([seen["generator/penalty"] for seen in metrics]).tolist() == [0, 4, 8, 12]
    memories = [state.discriminator.memory["augment"] for state in states]
    assert [memory.batches for memory in memories] == [0, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2]
    strengths = [seen["discriminator/augmentation"] for seen in metrics]
    moves = [0.4 * np.sign(memories[i].signs / 4 - 0.6) for i in (4, 8, 12)]  # four batches of four of forty images
    by_hand = np.array([functools.reduce(lambda p, move: np.clip(p + move, 0, 1), moves[:n], 0.0) for n in range(4)])
    np.testing.assert_allclose(strengths, np.repeat(by_hand, 4)[:14], atol=1e-6)
    assert max(strengths) > 0
    again = states[7]
    for x in batches[7:]:
        again = jax.device_get(step(key, again, {"x": x}))[0]
    jax.tree.map(np.testing.assert_array_equal, again, states[14])


@pytest.mark.slow
def test_a_run_of_the_command_goes_on_where_it_stopped(tmp_path, jaxgan):
    """By the checkpoint on the disk, between two moves of both memories."""
    np.save(tmp_path / "white.npy", WHITE)
    options = REMEMBERING | {"dataset": str(tmp_path / "white.npy")}
    given = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]

    def go(name, steps):
        command = ("train", EXPERIMENT, "--workdir", tmp_path / name, "--steps", steps, "--log-every", 1, *given)
        assert jaxgan(*command)[0] == 0
        place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        return progress.newest(game_of(**options), run.read(tmp_path / name), tmp_path / name, place).state

    def lines(name):
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        times = {"examples_per_second", "input_wait_seconds"}
        return [{name: value for name, value in line.items() if name not in times} for line in lines]

    whole, half = go("whole", 14), go("parts", 7)
    assert half.generator.memory != whole.generator.memory
    assert half.discriminator.memory["augment"].batches == 3.0
    jax.tree.map(np.testing.assert_array_equal, go("parts", 14), whole)
    assert len(lines("whole")) == 14 and lines("parts") == lines("whole")
