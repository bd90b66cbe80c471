"""The benchmark's figures against counts by hand, and what starts a process: flags, devices, the cache of programs."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from jaxgan import benchmark, chunks, comparison, cost, hardware, lift, startup
from jaxgan import experiment as experiments
from jaxgan.errors import InputError

EXPERIMENTS = pathlib.Path(__file__).parent.parent / "experiments"
RING = str(EXPERIMENTS / "ring.py")
SMALL = ["--width", "8", "--batch-size", "16", "--steps", "300", "--scan", "100"]
F32 = jax.ShapeDtypeStruct((64, 64), jnp.float32)
PRODUCT = 2 * 64**3


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """Standard output of one small benchmark, by the console script in a process of its own."""
    command = [sys.executable, "-c", "from jaxgan.cli import main; main()", "benchmark", RING, *SMALL]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    """What `--devices` changes in the environment, as it was at the end."""
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")


def last_line(out):
    return json.loads(out.strip().splitlines()[-1])


def test_a_benchmark_ends_in_one_object_that_says_what_was_run_on_what(ring):
    told = last_line(ring)
    for name in comparison.FIGURES:
        assert isinstance(told[name], float | int), name
        assert f"\n{name} " in "\n" + ring  # the table above it
    assert told["experiment"] == "ring.py" and told["options"]["width"] == 8
    assert (told["lift"], told["devices"], told["scan"], told["steps"], told["batch_size"]) == ("jit", 1, 100, 300, 16)
    assert told["backend"] == "cpu" and told["cpu"] and told["cores"] >= 1
    assert told["versions"].keys() >= {"jax", "jaxlib", "flax", "optax", "jaxgan", "python"}


def test_the_figures_fit_together(ring):
    told = last_line(ring)
    assert told["generator_parameters"] == 3 * 8 + 9 * 8 + 9 * 2  # 2 -> 8 -> 8 -> 2, biases too
    assert told["discriminator_parameters"] == 3 * 8 + 9 * 8 + 9 * 1
    assert told["step_ms_low"] <= told["step_ms"] <= told["step_ms_high"]
    assert told["examples_per_s"] == pytest.approx(16 / told["step_ms"] * 1e3)
    assert told["peak_fraction"] == pytest.approx(told["flops"] / told["step_ms"] * 1e3 / told["peak_flops_per_s"])
    assert 0 < told["peak_fraction"] < 1 and 0 <= told["input_wait_fraction"] < 1
    assert 0 < told["dispatch_fraction"] < 1
    assert 0 < told["compile_warm_s"] < told["compile_s"]
    assert 2**26 < told["peak_memory_bytes"] < 2**34  # the process's: Python and jax alone take 64 MiB


def test_a_comparison_gives_ratios_and_says_what_differs(jaxgan, ring, tmp_path):
    told = last_line(ring)
    before = tmp_path / "before.json"
    twice = {name: None if told[name] is None else 2 * told[name] for name in comparison.FIGURES}
    before.write_text("a table\n" + json.dumps(told | twice | {"cpu": "another"}) + "\n")
    code, out, err = jaxgan("benchmark", RING, *SMALL, "--compare", before)
    now = last_line(out)
    assert code == 0
    assert f"not the same as in {before}: cpu another -> {now['cpu']}" in err.splitlines()
    rows = {row[0]: row for row in (line.split() for line in out.splitlines()[1:-1])}
    for name in comparison.FIGURES:
        assert float(rows[name][-1]) == pytest.approx(2 * told[name] / now[name], rel=1e-3), name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--steps", "0"], "--steps"),
        (["--scan", "0"], "--scan"),
        (["--seed", "-1"], "--seed"),
        (["--compare", "absent.json"], "absent.json"),
        (["--compare", "words.json"], "its last line"),
        (["--compare", "other.json"], "has not all the figures"),
        (["--devices", "2"], "--lift mesh"),
        (["--devices", "3", "--lift", "mesh"], "shows 8"),
        (["--batch-size", "12", "--lift", "mesh"], "8 devices"),
        (["--widht", "3"], "--widht"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_compiles(jaxgan, arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.json").write_text("no object\n")
    (tmp_path / "other.json").write_text('{"step_ms": 1.0}\n')
    monkeypatch.setattr(benchmark, "measure", lambda *_, **__: pytest.fail("it went on"))
    code, out, err = jaxgan("benchmark", RING, *arguments)
    assert code == 2 and out == "" and err.count("\n") == 1 and says in err, err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pmap", "mesh"])
def test_several_devices_are_measured_too(jaxgan, name):
    arguments = ("benchmark", RING, "--width", "8", "--batch-size", "16", "--steps", "2", "--scan", "1")
    code, out, _ = jaxgan(*arguments, "--lift", name, "--devices", 8)
    assert code == 0 and last_line(out)["devices"] == 8
    assert (last_line(out)["temporary_bytes"] is None) == (name == "pmap")


def of_ring(width, batch_size):
    experiment = experiments.load(RING)(width=width, batch_size=batch_size)
    batch = experiment.data().batch_at(0, 0)
    state = jax.eval_shape(experiment.gan.init, jax.random.key(0), batch)
    return cost.of(experiment.gan.step, jax.random.key(0), state, batch)


def test_operations_of_a_step_scale_with_the_batch():
    assert of_ring(32, 256).flops / of_ring(32, 128).flops == pytest.approx(2, rel=0.05)


def test_operations_of_dense_layers_are_those_counted_by_hand():
    """Forward, and a product each for the gradients of weights and of inputs, which the first layer has no use for."""
    sizes, batch = (64, 256, 128, 32), 512
    weights = [jax.ShapeDtypeStruct(pair, jnp.float32) for pair in zip(sizes, sizes[1:], strict=False)]

    def loss(weights, x):
        for w in weights:
            x = jnp.tanh(x @ w)
        return x.sum()

    products = [2 * batch * a * b for a, b in zip(sizes, sizes[1:], strict=False)]
    x = jax.ShapeDtypeStruct((batch, sizes[0]), jnp.float32)
    counted = cost.of(jax.grad(loss), weights, x).flops
    assert counted == pytest.approx(3 * sum(products) - products[0], rel=0.02)


def test_operations_of_a_convolution_leave_the_padding_out():
    x, w = jax.ShapeDtypeStruct((2, 6, 6, 4), jnp.float32), jax.ShapeDtypeStruct((3, 3, 4, 8), jnp.float32)
    names = ("NHWC", "HWIO", "NHWC")
    counted = cost.of(lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=names), x, w)
    taps = (6 * 3 - 2) ** 2  # along each axis, two of the 18 taps fall on the padding
    assert counted.flops == 2 * 2 * taps * 4 * 8


@pytest.mark.parametrize("length", [5, 28, 29])
def test_what_all_turns_of_a_scan_share_is_done_once(length):
    """XLA takes `w @ w` out of the loop; a count of the body by itself would have it in every turn."""

    def loop(x, w):
        return jax.lax.scan(lambda x, _: (jnp.sin(x @ (w @ w)), None), x, None, length=length)[0]

    assert cost.of(loop, F32, F32).flops == pytest.approx((length + 1) * PRODUCT, rel=0.01)


@pytest.mark.parametrize("lengths", [(5, 3), (5, 28), (29, 3), (28, 28), (27, 10)])
def test_every_turn_of_a_scan_counts_also_of_one_in_another(lengths):
    def inner(x, w):
        return jax.lax.scan(lambda x, _: (jnp.sin(x @ w), None), x, None, length=lengths[0])[0]

    def outer(x, w):
        return jax.lax.scan(lambda x, _: (inner(x, w), None), x, None, length=lengths[1])[0]

    def beside(x, w):
        return inner(x, w), outer(jnp.cos(x), w)

    assert cost.of(jax.jit(inner), F32, F32).flops == pytest.approx(lengths[0] * PRODUCT, rel=0.01)
    assert cost.of(outer, F32, F32).flops == pytest.approx(lengths[0] * lengths[1] * PRODUCT, rel=0.01)
    assert cost.of(beside, F32, F32).flops == pytest.approx(lengths[0] * (lengths[1] + 1) * PRODUCT, rel=0.01)


def test_the_times_are_of_the_loop_that_trains(monkeypatch):
    """What chunks.run yields is what is reported, but for the first chunk, which is not timed."""
    experiment = experiments.load(RING)(width=8, batch_size=16)
    data, where = experiment.data(), chunks.machine(experiment.gan.step, "jit")
    seconds, waits = iter([100.0, 1.0, 2.0, 4.0]), iter([50.0, 0.25, 0.5, 1.0])
    whole = chunks.run
    monkeypatch.setattr(
        chunks, "run", lambda *a: (c._replace(seconds=next(seconds), waited=next(waits)) for c in whole(*a))
    )
    key = jax.random.key(0)
    state = jax.jit(experiment.gan.init)(key, data.batch_at(0, 0))
    load = chunks.loader(data, 0, 2, where)
    took = benchmark.loop(where, load, key, state, load(0, 1), 2, 3)
    assert took.steps == [0.5, 1.0, 2.0] and took.waited == 0.25


def test_a_program_that_the_cache_does_not_give_back_has_no_warm_time(monkeypatch, tmp_path):
    where = chunks.machine(lambda key, state, batch: (state + batch.sum(), {"generator/loss": state}), "jit")

    def warm_time():
        # On the devices by request, as states and batches of a run are: where they lie is a part of the program.
        arrays = jax.device_put((jax.random.key(0), jnp.zeros(()), jnp.ones((1, 2))), where.whole)
        return benchmark.compile_times(where, *arrays)[1]["compile_warm_s"]

    assert warm_time() > 0
    monkeypatch.setattr(benchmark, "fresh_cache", lambda: contextlib.nullcontext(tmp_path))
    assert warm_time() is None


def test_the_peak_is_of_a_product_of_matrices():
    assert 1e9 < hardware.matrix_peak("float32", repeats=1) < 1e15


def test_flags_that_the_user_gave_stay(monkeypatch):
    monkeypatch.setattr(startup, "XLA_FLAGS", ("--xla_a=1", "--xla_b=2"))
    monkeypatch.setenv("XLA_FLAGS", "--xla_b=3 --xla_c")
    startup.set_flags()
    assert os.environ["XLA_FLAGS"].split() == ["--xla_b=3", "--xla_c", "--xla_a=1"]


PROGRAM = """
import sys
import jax, jax.numpy as jnp
from jaxgan import startup
startup.prepare()
step = jax.jit(lambda x: jnp.sin(x @ x) / jnp.linalg.norm(x))
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
value = step(jnp.linspace(-1, 1, 10000).reshape(100, 100))
print(jax.config.jax_compilation_cache_dir, sum("cache_hits" in name for name in hits), value.tobytes().hex()[:20000])
"""


def in_a_process(**environment):
    """Folder of the cache, hits and bytes of a program in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"} | environment
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert "Error" not in done.stderr, done.stderr
    folder, hits, value = done.stdout.split()
    return folder, int(hits), value


def test_a_second_process_finds_the_programs_of_the_first_and_computes_the_same_bits(tmp_path):
    always = {"XDG_CACHE_HOME": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    folder, hits, cold = in_a_process(**always)
    assert folder == str(tmp_path / "jaxgan") and hits == 0
    assert (tmp_path / "jaxgan").stat().st_mode & 0o77 == 0
    folder, hits, warm = in_a_process(**always)
    assert hits > 0 and warm == cold


def test_the_users_own_cache_is_left_and_none_is_no_hindrance(tmp_path):
    own = str(tmp_path / "own")
    assert in_a_process(JAX_COMPILATION_CACHE_DIR=own, XDG_CACHE_HOME=str(tmp_path))[0] == own
    (tmp_path / "file").write_text("in the way")
    assert in_a_process(XDG_CACHE_HOME=str(tmp_path / "file"))[:2] == ("None", 0)


def test_a_cpu_shows_as_many_devices_as_asked_for():
    code = "import jax; from jaxgan import startup; startup.use_devices(3, 'mesh'); print(jax.device_count())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "3\n"


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(InputError, match="--devices 5"):
        startup.use_devices(5, "mesh")
    startup.use_devices(jax.device_count(), "mesh")
    assert lift.data_mesh().size == jax.device_count()
