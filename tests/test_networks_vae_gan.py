"""VAE-GANs: the divergence of the codes, the routes of the gradients, and what is made of what."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import integrate, stats

from jaxgan import losses
from jaxgan.game import Game
from jaxgan.gan import make_descent_gan
from jaxgan.latents import normal_latents
from jaxgan.losses import kl_to_standard_normal
from jaxgan.network import flax_network, in_precision
from jaxgan.networks import dcgan, vae_gan

B, N, SHAPE = 6, 3, (8, 8, 1)
X = jax.random.uniform(jax.random.key(2), (B, *SHAPE), minval=-1.0)
Z, NOISE = (jax.random.normal(jax.random.key(k), (B, N)) for k in (3, 4))
LATENTS = {"z": Z, "noise": NOISE, "x": X}
SMALL = {"start": 2, "features": (8, 4), "strides": (2, 2), "kernel_size": 3}
WEIGHT = 50.0


def latent(key, batch):
    k_prior, k_noise = jax.random.split(key)
    draw = normal_latents(N)
    return {"z": draw(k_prior, batch), "noise": draw(k_noise, batch), "x": batch["x"]}


def objective(key, step, generator, latents, made, batch):
    of_data, of_copies = (generator.rival(x)["features"] for x in (batch["x"], made["reconstruction"]))
    divergence = kl_to_standard_normal(made["mean"], made["log_variance"])
    return divergence + WEIGHT * losses.l2_loss(of_data, of_copies)


@functools.cache
def small_game(gamma=0.5, precision="float32", penalty=objective, **options):
    return Game(
        in_precision(flax_network(vae_gan.Generator(gamma, **(SMALL | options))), precision),
        in_precision(flax_network(vae_gan.Discriminator((4, 8), kernel_size=3)), precision),
        losses.non_saturating,
        latent,
        generator_penalty=penalty,
        sides=lambda batch, made: (batch["x"][:, None], made["fakes"]),
        shown=lambda made: made["fakes"][:, 0],
        logits=lambda output: jnp.broadcast_to(output["logits"], (len(output["logits"]), 2)),
    )


@functools.cache
def initial(game):
    """A state at the start, of a generator whose running statistics have moved."""
    key, tx = jax.random.key(0), optax.sgd(0.1)
    state = jax.jit(lambda: game.init(key, {"x": X}, tx, tx))()
    stats = jax.tree.map(lambda v: v + 0.1, state.generator.stats)
    return state._replace(generator=state.generator._replace(stats=stats), ema={**state.ema, **stats})


def gradients_of(game, state):
    params = state.discriminator.params, state.generator.params
    return game.gradients(jax.random.key(5), state, {"x": X}, params)[0]


@functools.cache
def gradients(game):
    return jax.jit(functools.partial(gradients_of, game))(initial(game))


def assert_trees_close(actual, expected, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), actual, expected)


@pytest.mark.parametrize("mean, log_variance", [(0.0, 0.0), (1.5, 0.0), (0.0, 2.0), (-2.0, -3.0), (0.3, 0.7)])
def test_the_divergence_is_its_integral(mean, log_variance):
    q, p = stats.norm(mean, np.exp(log_variance / 2)), stats.norm()
    low, high = q.ppf(1e-14), q.isf(1e-14)
    expected, _ = integrate.quad(lambda c: q.pdf(c) * (q.logpdf(c) - p.logpdf(c)), low, high, epsabs=1e-10)
    found = kl_to_standard_normal(jnp.array([mean]), jnp.array([log_variance]))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_the_divergence_is_the_mean_of_the_log_ratio_added_over_codes():
    random = np.random.default_rng(0)
    mean, log_variance = random.normal(size=(2, 2, 3))
    std = np.exp(log_variance / 2)
    codes = mean + std * random.normal(size=(400_000, 2, 3))
    ratio = stats.norm(mean, std).logpdf(codes) - stats.norm().logpdf(codes)
    found = kl_to_standard_normal(jnp.float32(mean), jnp.float32(log_variance))
    sums = ratio.sum(axis=-1)
    np.testing.assert_array_less(np.abs(found - sums.mean(axis=0)), 4 * sums.std(axis=0) / np.sqrt(len(codes)))


def test_the_divergence_keeps_its_digits_near_the_prior():
    """`v^2 / 4` to third order: exp(v) - 1 in float32 has none of it."""
    v = jnp.array([[1e-4], [-1e-4], [1e-3]])
    np.testing.assert_allclose(kl_to_standard_normal(0 * v, v), v[:, 0] ** 2 / 4, rtol=1e-2)
    assert kl_to_standard_normal(0 * v, 0 * v).max() == 0


def test_the_divergence_keeps_dtypes_and_refuses_other_shapes():
    for dtype in (jnp.bfloat16, jnp.float32):
        assert kl_to_standard_normal(jnp.ones((4, 2), dtype), jnp.ones((4, 2), dtype)).dtype == dtype
    with pytest.raises(ValueError, match=r"mean and log_variance must have the same shape, got \(4, 2\) and \(4, 1\)"):
        kl_to_standard_normal(jnp.ones((4, 2)), jnp.ones((4, 1)))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_samples_and_reconstructions_are_of_one_decoder(train, precision):
    game = small_game(precision=precision)
    variables = initial(game).ema
    made, moved = game.generator.apply(variables, LATENTS, None, key=jax.random.key(0), train=train)
    assert made["fakes"].shape == (B, 2, *SHAPE) and np.abs(made["fakes"]).max() <= 1
    assert made["mean"].shape == made["log_variance"].shape == (B, N)
    assert {leaf.dtype.name for leaf in jax.tree.leaves((made, moved))} == {"float32"}
    np.testing.assert_array_equal(made["reconstruction"], made["fakes"][:, 1])  # the same, but for their gradients
    # The sample of what was a code is that code's reconstruction.
    code = made["mean"] + jnp.exp(0.5 * made["log_variance"]) * NOISE
    again, _ = game.generator.apply(variables, {**LATENTS, "z": code}, None, key=jax.random.key(0), train=train)
    apart = {"float32": 1e-5, "bfloat16": 0.02}[precision]
    np.testing.assert_allclose(again["fakes"][:, 0], again["reconstruction"], atol=apart)


def test_what_is_made_of_what():
    """Trained, each of its own: samples of z, reconstructions of x and the noise, nothing of the rest of a batch."""
    game, variables = small_game(), initial(small_game()).ema
    generate = jax.jit(
        lambda latents: game.generator.apply(variables, latents, None, key=jax.random.key(0), train=False)[0]
    )
    made = generate(LATENTS)
    other = generate({**LATENTS, "z": -Z})
    np.testing.assert_array_equal(other["reconstruction"], made["reconstruction"])
    assert (other["fakes"][:, 0] != made["fakes"][:, 0]).any(axis=(1, 2, 3)).all()
    other = generate({**LATENTS, "x": -X, "noise": 0 * NOISE})
    np.testing.assert_array_equal(other["fakes"][:, 0], made["fakes"][:, 0])
    assert (other["mean"] != made["mean"]).all()
    other = generate({**LATENTS, "noise": 0 * NOISE})
    np.testing.assert_array_equal(other["mean"], made["mean"])
    assert (other["reconstruction"] != made["reconstruction"]).any(axis=(1, 2, 3)).all()
    alone = generate({**LATENTS, "x": X.at[1:].set(0.0)})
    np.testing.assert_allclose(alone["reconstruction"][0], made["reconstruction"][0], rtol=1e-5, atol=1e-6)


def test_the_encoder_mirrors_the_decoder():
    module = vae_gan.Generator(1.0, start=7, features=(16, 8, 4), strides=(1, 2, 2))
    latents = jax.eval_shape(lambda: {"z": Z, "noise": NOISE, "x": jnp.zeros((B, 28, 28, 3))})
    params = jax.eval_shape(module.init, jax.random.key(0), latents)["params"]
    kernels = {
        name: [layer["kernel"].shape for layer in part.values() if "kernel" in layer] for name, part in params.items()
    }
    assert sorted(kernels["encoder"]) == [(5, 5, 3, 4), (5, 5, 4, 8), (5, 5, 8, 16), (7 * 7 * 16, 2 * N)]
    assert sorted(kernels["decoder"]) == [(N, 7 * 7 * 16), (5, 5, 4, 3), (5, 5, 8, 4), (5, 5, 16, 8)]


def test_a_discriminator_judges_every_image_by_itself():
    module = vae_gan.Discriminator((4, 8), kernel_size=3)
    pairs = jnp.stack([X, -X], axis=1)
    variables = jax.jit(module.init)(jax.random.key(0), pairs)
    output = module.apply(variables, pairs)
    assert output["logits"].shape == (B, 2) and output["features"].shape == (B, 2, 2, 2, 8)
    for place in range(2):
        assert_trees_close(
            jax.tree.map(lambda v, place=place: v[:, place], output),
            module.apply(variables, pairs[:, place]),
            rtol=1e-4,
            atol=1e-6,
        )


def test_the_features_are_what_the_logits_are_of():
    """A linear map of them, whose kernel has the singular value one."""
    module = vae_gan.Discriminator((4, 8), kernel_size=3)
    variables = jax.jit(module.init)(jax.random.key(0), X)
    for _ in range(20):  # the power iteration of every kernel
        output, moved = module.apply(variables, X, train=True, mutable=["batch_stats"])
        variables = {**variables, **moved}
    kernel = np.asarray(variables["params"]["Dense_0"]["kernel"])
    expected = np.asarray(output["features"]).reshape(B, -1) @ (kernel / np.linalg.norm(kernel))
    np.testing.assert_allclose(output["logits"], expected[:, 0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("gamma", [0.2, 4.0])
def test_the_gradients_are_those_of_the_algorithm(gamma):
    """Of `L_prior + L_llike`, `gamma L_llike - L_GAN` and `L_GAN`, written out with an encoder and a decoder."""
    game = small_game(gamma)
    state = initial(game)
    encoder = vae_gan.Encoder(N, SMALL["features"][::-1], SMALL["strides"][::-1], kernel_size=3)
    decoder = dcgan.Generator(1, **SMALL)
    z, noise, x = (game.draw(game.keys(jax.random.key(5), 0, 1)[0][0], {"x": X})[name] for name in ("z", "noise", "x"))
    params, stats = state.generator.params, state.generator.stats["batch_stats"]

    def run(module, name, params, value):
        variables = {"params": params[name], "batch_stats": stats[name]}
        return module.apply(variables, value, train=True, mutable=["batch_stats"])[0]

    def encode(params):
        mean, log_variance = run(encoder, "encoder", params, x)
        return mean, log_variance, mean + jnp.exp(log_variance / 2) * noise

    def decode(params, code):
        images = run(decoder, "decoder", params, jnp.stack([z, code], axis=1).reshape(2 * B, N))
        return images[0::2], images[1::2]

    def judged(params, images):
        """Of all that is judged in a step, in its order: the discriminator's statistics move."""
        variables, outputs = {"params": params, **state.discriminator.stats}, []
        for value in images:
            output, variables = game.discriminator.apply(variables, value, None, key=jax.random.key(0), train=True)
            outputs.append(output)
        return outputs

    def l_gan(d_params, samples, copies):
        real, fakes = judged(d_params, (x, jnp.stack([samples, copies], axis=1)))
        real, fakes = real["logits"], fakes["logits"]
        d_loss = jnp.mean(-jax.nn.log_sigmoid(real)) - jnp.mean(jax.nn.log_sigmoid(-fakes))
        return d_loss, -jnp.mean(jax.nn.log_sigmoid(fakes))

    def l_llike(d_params, samples, copies):
        fakes = jnp.stack([samples, copies], axis=1)
        of_copies = judged(d_params, (x, fakes, copies))[-1]["features"]
        of_data = judged(d_params, (x, fakes, x))[-1]["features"]
        return WEIGHT * jnp.mean((of_data - of_copies) ** 2)

    d_params = state.discriminator.params
    code = encode(params)[-1]

    def of_encoder(params_of_encoder):
        mean, log_variance, code = encode({"encoder": params_of_encoder})
        prior = 0.5 * jnp.mean(jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance, axis=1))
        return prior + l_llike(d_params, *decode(params, code))

    def of_decoder(params_of_decoder):
        made = decode({"decoder": params_of_decoder}, code)
        return gamma * l_llike(d_params, *made) + l_gan(d_params, *made)[1]

    expected = jax.jit(
        lambda: (
            jax.grad(lambda d_params: l_gan(d_params, *decode(params, code))[0])(d_params),
            {"encoder": jax.grad(of_encoder)(params["encoder"]), "decoder": jax.grad(of_decoder)(params["decoder"])},
        )
    )()
    assert all(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(expected))
    assert_trees_close(gradients(game), expected, rtol=2e-3, atol=2e-5)


def test_the_encoder_hears_nothing_of_the_game_and_the_discriminator_of_nothing_else():
    with_penalty, without = gradients(small_game()), gradients(small_game(penalty=None))
    assert_trees_close(with_penalty[0], without[0], rtol=1e-4, atol=1e-6)  # two programs, which round each in its way
    assert all(np.abs(leaf).max() == 0 for leaf in jax.tree.leaves(without[1]["encoder"]))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(without[1]["decoder"]))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(with_penalty[1]))


def test_samples_are_of_the_key_alone():
    game = small_game()
    sample = jax.jit(functools.partial(game.sample, state=initial(game)))
    one, same, other = (sample(jax.random.key(k), batch={"x": X}) for k in (1, 1, 2))
    assert one.shape == X.shape
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    np.testing.assert_array_equal(sample(jax.random.key(1), batch={"x": -X}), one)


def test_bfloat16_products_and_a_step_near_that_of_float32():
    wide, narrow = small_game(), small_game(precision="bfloat16")
    program = jax.make_jaxpr(functools.partial(gradients_of, narrow))(initial(narrow)).jaxpr
    convolutions = [line for line in str(program).splitlines() if "conv_general_dilated[" in line]
    assert convolutions and all("bf16" in line.split("=")[0] for line in convolutions)
    for expected, found in zip(gradients(wide), gradients(narrow), strict=True):
        expected, found = (jax.flatten_util.ravel_pytree(tree)[0] for tree in (expected, found))
        assert found.dtype == jnp.float32
        assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)


def test_a_compiled_step_decodes_once():
    """The two decodings have one value: without the second, the forward pass has as many operations."""
    game = small_game()
    state = initial(game)

    def flops(*names):
        def generate(latents):
            made, _ = game.generate(jax.random.key(0), state, {"x": X}, latents, state.generator.params)
            return [made[name] for name in names]

        return jax.jit(generate).lower(LATENTS).compile().cost_analysis()["flops"]

    assert flops("fakes", "reconstruction") == flops("fakes")


@pytest.mark.slow
def test_it_learns_to_reconstruct_and_to_sample():
    """Bright and dark squares on one of the four quarters of an image: copies and samples become such images."""
    corners = np.full((4, 4, 4, 1), -0.8, np.float32)
    for i in range(4):
        corners[i, 2 * (i // 2) : 2 * (i // 2) + 2, 2 * (i % 2) : 2 * (i % 2) + 2] = 0.8
    game = small_game(gamma=0.1, start=1, features=(16, 16))
    gan = make_descent_gan(
        game, generator_tx=optax.adam(2e-3, b1=0.5), discriminator_tx=optax.adam(1e-3, b1=0.5), simultaneous=True
    )
    key = jax.random.key(0)

    def batch(i):
        return {"x": jnp.asarray(corners)[jax.random.randint(jax.random.fold_in(key, i), (32,), 0, 4)]}

    def step(state, i):
        return gan.step(key, state, batch(i))

    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(1000)))(gan.init(key, batch(0)))
    nothing = jnp.zeros((4, N))
    latents = {"z": nothing, "noise": nothing, "x": jnp.asarray(corners)}
    made, _ = game.generator.apply(state.ema, latents, None, key=key, train=False)
    assert np.mean((made["reconstruction"] - corners) ** 2) < 0.2 * np.var(corners, axis=0).mean()
    samples = np.asarray(gan.sample(key, state, {"x": jnp.zeros((200, 4, 4, 1))}))
    errors = np.mean((samples[:, None] - corners) ** 2, axis=(2, 3, 4))
    assert np.mean(errors.min(axis=1) < 0.2) > 0.5
    assert (np.bincount(errors.argmin(axis=1), minlength=4) > 10).all()
