"""StyleGAN2: its resampling against scipy's, its convolutions against naive ones, its sizes against the authors'."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jaxgan.layers import blur, downsample, downsampled_convolve, modulated_convolve, upsample, upsampled_convolve
from jaxgan.network import flax_network, in_precision
from jaxgan.networks.stylegan2 import Discriminator, Generator, paper_features

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
