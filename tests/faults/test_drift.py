"""A run that is gone on with otherwise: another configuration is refused, another number of devices is not."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import small_run
from jax.sharding import NamedSharding, PartitionSpec
from PIL import Image

from jaxgan import checkpoint, chunks, experiment, guard, lift, progress, run
from jaxgan.latents import normal_latents

SGD = '''
import optax
from jaxgan import losses
from jaxgan.experiment import image_experiment
from jaxgan.latents import normal_latents
from jaxgan.gan import make_gan
from jaxgan.network import flax_network
from jaxgan.networks import mlp


def experiment(*, batch_size: int = 16, width: int = 256, axis_name=None):
    """Stochastic gradient descent: rounding stays rounding, where Adam makes whole steps of it.

    Args:
      batch_size: images in a step.
      width: of the hidden layer.
      axis_name: mapped axis.
    """
    gan = make_gan(
        flax_network(mlp.Generator((8, 8, 1), widths=(width,))),
        flax_network(mlp.Discriminator(widths=(width,))),
        losses.non_saturating,
        generator_tx=optax.sgd(0.05),
        discriminator_tx=optax.sgd(0.05),
        latent=normal_latents(16),
        axis_name=axis_name,
    )
    return image_experiment(gan, "digits", size=8, channels=1, batch_size=batch_size)
'''
EVERY_STEP = ("--log-every", "1", "--sample-every", "5", "--checkpoint-every", "5")
CLOSE = 1e-5
"""Largest difference of a loss, of about 1, where sums are added up in another order."""


def tree(workdir):
    """Every file of a directory."""
    return {str(path.relative_to(workdir)): path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


@pytest.fixture
def workdir(made, tmp_path):
    return pathlib.Path(shutil.copytree(made, tmp_path / "run"))


def go_on(jaxgan, workdir, *options, steps=20, game=small_run.GAME):
    return jaxgan("train", small_run.DIGITS, "--workdir", workdir, "--steps", steps, *game, *options)


CHANGED = {
    "batch size": (("--batch-size", "32"), ["batch_size 16 -> 32", r"batch "]),
    "latents": (("--latents", "16"), ["latents 32 -> 16"]),
    "architecture": (("--features", "16"), ["features 8 -> 16"]),
    "learning rate": (("--learning-rate", "1e-4"), ["learning_rate 0.001 -> 0.0001"]),
    "penalty": (("--gamma", "2"), ["gamma 1.0 -> 2.0"]),
    "precision": (("--precision", "bfloat16"), ["precision float32 -> bfloat16"]),
    "seed": (("--seed", "1"), ["seed 0 -> 1"]),
    "several": (("--seed", "1", "--gamma", "2"), ["seed 0 -> 1", "gamma 1.0 -> 2.0"]),
}


@pytest.mark.parametrize("config", ["there", "lost"])
@pytest.mark.parametrize("change", CHANGED)
def test_another_configuration_is_refused_by_what_differs(change, config, workdir, jaxgan):
    """Where config.json is lost, the checkpoint itself knows."""
    options, named = CHANGED[change]
    if config == "lost":
        (workdir / "config.json").unlink()
    before = tree(workdir)
    code, _, said = go_on(jaxgan, workdir, *options, steps=30)
    assert code == 2 and said.count("\n") == 1, said
    fits = change not in ("latents", "architecture")
    if config == "there" or fits:
        assert said.count(" -> ") == len(named) and all(words in said for words in named), said
    else:
        assert "checkpoint 20 does not fit this architecture: " in said
    assert tree(workdir) == before


def test_what_may_change_does(workdir, jaxgan):
    options = ("--log-every", "1", "--sample-every", "7", "--checkpoint-every", "3", "--evaluate-every", "11")
    more = ("--samples", "64", "--keep-best", "evaluate/FD-pixels", "min", "--most-skips", "3")
    code, _, said = go_on(jaxgan, workdir, *options, *more, steps=23)
    assert code == 0 and "step 20 of 23" in said, said
    assert checkpoint.steps(workdir / "checkpoints")[-1] == 23
    lines = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert lines == [10, 20, 21, 22, 23]
    code, _, said = go_on(jaxgan, workdir, steps=5)
    assert code == 0 and "is at step 23: nothing to do" in said


@pytest.mark.parametrize("game, named", [(("--seed", "7"), "seed 7 -> 0"), (("--gamma", "3"), "gamma 3.0 -> 1.0")])
def test_a_checkpoint_of_another_run_is_refused(game, named, workdir, tmp_path, jaxgan):
    other = tmp_path / "other"
    code, _, said = go_on(jaxgan, other, *game, steps=21)
    assert code == 0, said
    shutil.copytree(other / "checkpoints" / "21", workdir / "checkpoints" / "21")
    code, _, said = go_on(jaxgan, workdir, steps=30)
    assert code == 2 and said.count("\n") == 1 and named in said and "checkpoints/21 holds another run" in said
    shutil.rmtree(workdir / "checkpoints" / "21")
    assert go_on(jaxgan, workdir)[0] == 0


@pytest.mark.parametrize("damage", ["empty", "half", "garbage", "another's", "no batch", "a folder"])
def test_a_damaged_configuration_is_refused(damage, workdir, jaxgan):
    path = workdir / "config.json"
    content = path.read_bytes()
    found = json.loads(content)
    changed = {
        "empty": b"",
        "half": content[: len(content) // 2],
        "garbage": np.random.default_rng(0).bytes(len(content)),
        "another's": json.dumps({"model": "dcgan"}).encode(),
        "no batch": json.dumps(found | {"batch": {"x": {"shape": [10**6, 10**6], "dtype": "float32"}}}).encode(),
    }
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    else:
        path.write_bytes(changed[damage])
    before = tree(workdir)
    code, _, said = go_on(jaxgan, workdir, steps=30)
    assert code == 2 and said.count("\n") == 1 and "config.json is not a run's configuration" in said
    assert tree(workdir) == before
    path.rmdir() if damage == "a folder" else path.unlink()
    path.write_bytes(content)
    assert go_on(jaxgan, workdir)[0] == 0


SIZES = {
    "empty": ((0, 8, 8, 1), (), "expected at least one image, got the shape [0, 8, 8, 1]"),
    "smaller than a batch": ((9, 8, 8, 1), (), "expected 1 to the 9 examples of the set, got 16: use 8, say"),
    "smaller than devices x batch": (
        (9, 8, 8, 1),
        ("--batch-size", "4", "--lift", "mesh"),
        "a batch of 4 examples does not split over 8 devices: use 8, say",
    ),
    "smaller than the devices": (
        (5, 8, 8, 1),
        ("--batch-size", "5", "--lift", "mesh"),
        "a batch of 5 examples does not split over 8 devices: use fewer, the set has 5",
    ),
    "no batch": ((9, 8, 8, 1), ("--batch-size", "0"), "got 0"),
    "of three channels": ((99, 8, 8, 3), (), "expected images of the shape [8, 8, 1], got [8, 8, 3]"),
    "of another size": ((99, 9, 8, 1), (), "expected images of the shape [8, 8, 1], got [9, 8, 1]"),
}


@pytest.mark.parametrize("case", SIZES)
def test_a_set_that_makes_no_batch_is_refused_before_anything_compiles(case, tmp_path, jaxgan, monkeypatch):
    shape, options, words = SIZES[case]
    np.save(tmp_path / "images.npy", np.zeros(shape, np.uint8))
    path = tmp_path / "own.py"
    path.write_text(SGD.replace('"digits"', repr(str(tmp_path / "images.npy"))))
    monkeypatch.setattr(chunks, "machine", lambda *arguments: pytest.fail("compiles"))
    code, _, said = jaxgan("train", path, "--workdir", tmp_path / "run", "--steps", 1, *options)
    assert code == 2 and said.count("\n") == 1 and words in said, said
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The file of a game with gradient descent, and a run of 20 steps of it on one device."""
    place = tmp_path_factory.mktemp("plain")
    (place / "sgd.py").write_text(SGD)
    code, said = small_run.finish(place / "run", 20, experiment=place / "sgd.py", game=(), every=EVERY_STEP)
    assert code == 0, said
    return place / "sgd.py", place / "run"


def losses(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 21))
    return np.array([[line["discriminator/loss"], line["generator/loss"]] for line in lines])


def leaves(workdir, step):
    return json.loads((workdir / "checkpoints" / str(step) / "record" / "metadata").read_text())["leaves"]


def placed(workdir, path, step, count, name):
    """Bits of every leaf of a checkpoint, restored to so many devices under a lift."""
    game, mesh = experiment.load(str(path))(), jax.sharding.Mesh(jax.devices()[:count], (lift.AXIS,))
    config = run.read(workdir)
    place = NamedSharding(mesh, PartitionSpec())
    shapes = progress.template(game, config, place)
    sharding = lift.spread(shapes, mesh) if name == "fsdp" else place
    found = checkpoint.restore(workdir / "checkpoints", step, progress.template(game, config, sharding))
    assert all(len(leaf.sharding.device_set) == count for leaf in jax.tree.leaves(found.state))
    spread = any(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(found.state))
    assert spread == (name == "fsdp" and count > 1)
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(found.state)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mesh", "fsdp"])
def test_a_run_moves_from_8_devices_to_1_to_4_to_8(name, plain, tmp_path):
    path, alone = plain
    workdir, there = tmp_path / "run", {}
    for step, count in ((5, 8), (10, 1), (15, 4), (20, 8)):
        options = ("--lift", name, "--devices", str(count))
        code, said = small_run.finish(workdir, step, *options, experiment=path, game=(), every=EVERY_STEP)
        assert code == 0 and f"on {count} cpu device(s)" in said, said
        assert (f"step {step - 5} of {step}" in said) and "damaged" not in said
        assert all(leaves(workdir, before) == digests for before, digests in there.items() if before > step - 15)
        there[step] = leaves(workdir, step)
    # What is restored is exact wherever it is restored to.
    for step in (10, 20):
        everywhere = [placed(workdir, path, step, count, kind) for count in (1, 4, 8) for kind in ("mesh", "fsdp")]
        assert all(bits == everywhere[0] for bits in everywhere)
    np.testing.assert_allclose(losses(workdir), losses(alone), rtol=0, atol=CLOSE)
    # Samples of the same latents: but for rounding to a byte, the same pictures.
    drawn = [np.asarray(Image.open(of / "samples" / "0000020.png"), np.int32) for of in (workdir, alone)]
    assert np.abs(drawn[0] - drawn[1]).max() <= 1 and drawn[0].std() > 10


def test_other_latents_or_batches_would_be_seen(plain, tmp_path, jaxgan):
    """What the comparison of losses above allows is far less than another seed makes."""
    path, alone = plain
    code, _, said = jaxgan("train", path, "--workdir", tmp_path / "run", "--steps", 20, "--seed", 1, *EVERY_STEP)
    assert code == 0, said
    assert (np.abs(losses(tmp_path / "run") - losses(alone)).max(1) > 100 * CLOSE).mean() > 0.9


@pytest.mark.parametrize("count", [4, 8])
def test_batches_and_latents_do_not_see_the_devices(count, plain):
    """To the last bit, so that what differs between numbers of devices is the rounding of sums alone."""
    path, _ = plain
    game = experiment.load(str(path))()
    data, mesh = game.data(), jax.sharding.Mesh(jax.devices()[:count], (lift.AXIS,))
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(None, lift.AXIS))
    where = chunks.machine(guard.finite(game.gan.step), "jit")
    one = chunks.loader(data, 3, 5, where)(7, 5)
    many = chunks.loader(data, 3, 5, where._replace(whole=whole, batches=split))(7, 5)
    assert np.asarray(one["x"]).tobytes() == np.asarray(many["x"]).tobytes()
    latents = jax.jit(jax.vmap(normal_latents(16), in_axes=(None, 0)))
    made = [latents(jax.random.key(5), batches) for batches in (one, many)]
    assert np.asarray(made[0]).tobytes() == np.asarray(made[1]).tobytes()
