"""experiments/peers: our side is the experiments' own, weights change their layout alone, and a difference is seen.

A peer takes part where `JAXGAN_TORCH_PYTHON` or `JAXGAN_TENSORFLOW_PYTHON` names an interpreter that has it.
"""

import importlib
import math
import os
import pathlib
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import experiment as experiments
from jaxgan import layers

EXPERIMENTS = pathlib.Path(__file__).parent.parent / "experiments"
NAMES = ("cases", "compare", "environments", "in_jaxgan", "layouts", "worker")


@pytest.fixture(scope="module")
def peers():
    """The modules of experiments/peers by name, as the command sees them: its folder is first on the path."""
    sys.path.insert(0, str(EXPERIMENTS / "peers"))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(EXPERIMENTS / "peers"))
        for name in NAMES:
            sys.modules.pop(name, None)


def two_steps(gan, shape, count):
    """The metrics of two steps, one list of numbers."""
    key = jax.random.key(0)
    x = jax.random.uniform(jax.random.key(1), (count, *shape), minval=-1.0)
    state, step, rows = jax.jit(gan.init)(key, {"x": x}), jax.jit(gan.step), []
    for _ in range(2):
        state, metrics = step(key, state, {"x": x})
        rows.append(metrics)
    return jax.device_get(rows)


@pytest.mark.parametrize(
    "case, experiment, options, batch",
    [
        ("dcgan", "mnist_dcgan", {}, 4),
        pytest.param("dcgan_simultaneous", "mnist_dcgan", {"simultaneous": True}, 4, marks=pytest.mark.slow),
        ("mlp_grid", "grid", {}, 16),
        pytest.param("wgan_gp", "mnist_wgan_gp", {}, 10, marks=pytest.mark.slow),
    ],
)
def test_our_side_is_the_experiment(peers, case, experiment, options, batch):
    chosen = peers["cases"].CASES[case]
    theirs = experiments.load(str(EXPERIMENTS / f"{experiment}.py"))(**options).gan
    assert two_steps(peers["in_jaxgan"].timed(chosen), chosen.shape, batch) == two_steps(theirs, chosen.shape, batch)


def test_the_residual_networks_have_the_paper_s_sizes(peers):
    case = peers["cases"].CASES["resnet_gp"]
    generator, discriminator = peers["in_jaxgan"].modules(case, 0.0)
    z, x = jnp.zeros((2, case.latent)), jnp.zeros((2, *case.shape))
    images, g_variables = jax.eval_shape(lambda: generator.init_with_output(jax.random.key(0), z))
    logits, d_variables = jax.eval_shape(lambda: discriminator.init_with_output(jax.random.key(0), x))
    assert images.shape == x.shape and logits.shape == (2,)

    def convolution(side, inputs, outputs):
        return side * side * inputs * outputs + outputs

    block = 2 * convolution(3, 256, 256) + convolution(1, 256, 256) + 2 * 2 * 256
    expected = 128 * 4096 + 4096 + 3 * block + 2 * 256 + convolution(3, 256, 3)
    assert sum(v.size for v in jax.tree.leaves(g_variables["params"])) == expected
    halving = [convolution(3, n, 128) + convolution(3, 128, 128) + convolution(1, n, 128) for n in (3, 128)]
    expected = sum(halving) + 2 * 2 * convolution(3, 128, 128) + 129
    assert sum(v.size for v in jax.tree.leaves(d_variables["params"])) == expected


def torch_convolution(x, weight, stride=1, padding=2):
    """PyTorch's `conv2d` by its definition, `[B, C, H, W]` and `[out, in, kh, kw]`."""
    return jax.lax.conv_general_dilated(x, weight, (stride,) * 2, [(padding, padding)] * 2, precision="highest")


def torch_transposed_convolution(x, weight):
    """PyTorch's `conv_transpose2d` of kernel 5, stride 2, padding 2, output padding 1, weight `[in, out, kh, kw]`."""
    kernel = jnp.flip(weight, (2, 3)).swapaxes(0, 1)
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), [(2, 3)] * 2, lhs_dilation=(2, 2), precision="highest")


@pytest.mark.parametrize("kind", ["strided", "transposed", "plain transposed"])
def test_pytorch_s_layers_see_our_images_mirrored(peers, key, kind):
    layouts = peers["layouts"]
    x = np.asarray(jax.random.normal(key, (2, 6, 6, 3)))
    kernel = np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (5, 5, 3, 4)))
    if kind == "strided":
        ours = layers.strided_convolve(x, kernel, 2)
        theirs = torch_convolution(layouts.mirrored(x), layouts.convolution(kernel), stride=2)
    elif kind == "transposed":
        ours = layers.transposed_convolve(x, kernel, 2)
        theirs = torch_transposed_convolution(layouts.mirrored(x), layouts.transposed_convolution(kernel))
    else:  # of stride 1 it is a convolution with the kernel turned
        ours = layers.transposed_convolve(x, kernel, 1)
        weight = layouts.transposed_convolution(kernel).swapaxes(0, 1)[:, :, ::-1, ::-1]
        theirs = torch_convolution(layouts.mirrored(x), weight)
    np.testing.assert_allclose(layouts.mirrored(np.asarray(ours)), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels_last", [False, True])
def test_flat_feature_maps_are_mirrored_as_images_are(peers, channels_last):
    x = np.arange(2 * 3 * 3 * 4.0).reshape(2, 3, 3, 4)
    flat = x.reshape(2, -1)[:, peers["layouts"].pixel_order(3, 4, channels_last)]
    theirs = peers["layouts"].mirrored(x)
    np.testing.assert_array_equal(flat, (theirs.transpose(0, 2, 3, 1) if channels_last else theirs).reshape(2, -1))


def test_points_are_not_mirrored(peers):
    x = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(peers["layouts"].mirrored(x), x)


def test_a_difference_is_seen(peers):
    deviation = peers["compare"].deviation
    rows = [{"loss": 2.0, "norm": 1.0}, {"loss": -1e-3, "norm": 0.0}]
    assert deviation(rows, rows, ("loss", "norm")) == 0.0
    other = [{"loss": 2.0, "norm": 3.0}, {"loss": -1.01e-3, "norm": 0.0}]
    assert deviation(rows, other, ("loss",)) == pytest.approx(1e-5 / 1.01e-3)
    assert deviation(rows, other, ("loss", "norm")) == pytest.approx(2 / 3)
    assert deviation(rows, rows[:1], ("loss",)) == math.inf
    assert deviation(rows, [{"loss": 2.0}, {"loss": -1e-3}], ("loss",)) == math.inf
    assert deviation(rows, [{"loss": math.nan, "norm": 1.0}, rows[1]], ("loss",)) == math.inf


def test_the_table_gives_ratios_round_by_round(peers):
    MIB = 2**20
    memory = {"loaded": 100 * MIB, "peak": 150 * MIB}
    results = {
        "jaxgan jit": {"step_ms": [100.0, 200.0, 100.0], "memory": memory, "flops": 3e9},
        "torch eager": {"step_ms": [150.0, 200.0, 300.0], "memory": memory},
    }
    text = peers["compare"].table("dcgan", results)
    assert "dcgan, batch 128, 3 GFLOP a step" in text
    assert "| torch eager | 200 (150 - 300) | 1.50 (1.00 - 3.00) | 150 | 50 |" in text


def test_the_checked_step_reports_the_same_however_it_is_run(peers, tmp_path):
    cases, ours = peers["cases"], peers["in_jaxgan"]
    case, weights = cases.CASES["mlp_grid"], str(tmp_path / "weights.npz")
    assert ours.weights(case, weights)["parameters"] == (2 * 128 + 128 * 128 + 128 * 2 + 258) + (
        2 * 128 + 128 * 128 + 128 + 257
    )
    for dtype in ("float32", "float64"):
        check = cases.Check("sgd", dtype, 8)
        rows = [ours.figures(case, form, check, weights) for form in ("jit", "scan")]
        assert len(rows[0]) == cases.CHECKED_STEPS and set(rows[0][0]) == set(cases.FIGURES)
        assert peers["compare"].deviation(*rows, cases.FIGURES) < 1e-5


def test_every_turn_is_a_whole_number_of_scans(peers):
    for case in peers["cases"].CASES.values():
        assert case.turn % case.scan == 0
        assert not (case.penalty and any("compile" in name for name in case.programs if name.startswith("torch")))


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_peer_does_our_arithmetic(peers, framework):
    """All of the machinery: a worker of ours and one of the peer, and its figures against ours."""
    variable = f"JAXGAN_{framework.upper()}_PYTHON"
    if not os.environ.get(variable):
        pytest.skip(f"{variable} does not name an interpreter that has {framework}")
    program = {"torch": "torch eager", "tensorflow": "tensorflow graph"}[framework]
    pythons = {"jaxgan": sys.executable, framework: os.environ[variable]}
    found = peers["compare"].compare("mlp_grid", [program], pythons)
    assert max(found[program].values()) < 1e-3


def test_an_environment_is_made_once_for_its_requirements(peers, monkeypatch, tmp_path):
    made, failing = [], []

    def run(command, env):
        made.append(command[command.index("-r") + 1])
        return types.SimpleNamespace(returncode=bool(failing))

    environments = peers["environments"]
    monkeypatch.setattr(environments, "HERE", tmp_path)
    monkeypatch.setattr(environments.venv, "create", lambda place, **_: place.mkdir(parents=True, exist_ok=True))
    monkeypatch.setattr(environments.subprocess, "run", run)
    requirements = tmp_path / "torch.txt"
    requirements.write_text("one==1\n")
    assert environments.python_of("jaxgan", tmp_path / "venvs") == sys.executable and not made
    for _ in range(2):
        assert environments.python_of("torch", tmp_path / "venvs") == str(tmp_path / "venvs/torch/bin/python")
    assert made == [requirements]
    requirements.write_text("one==2\n")
    failing.append(True)
    for _ in range(2):  # what was not finished is begun again
        with pytest.raises(SystemExit, match="--torch-python"):
            environments.python_of("torch", tmp_path / "venvs")
    assert len(made) == 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--programs", "torch"], "expected some of"),
        (["--torch-python", "/no/python"], "no interpreter '/no/python'"),
        (["--rounds", "0"], "expected at least 1, got 0"),
        (["--cases", "mnist"], "invalid choice: 'mnist'"),
    ],
)
def test_a_bad_command_is_refused(peers, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["compare.py", *arguments])
    with pytest.raises(SystemExit) as end:
        peers["compare"].main()
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_a_program_that_cannot_be_imported_ends_the_command(peers, monkeypatch):
    monkeypatch.setattr(peers["environments"], "HERE", pathlib.Path(os.devnull).parent)
    with peers["compare"].Worker("jaxgan jit", "dcgan", sys.executable) as worker, pytest.raises(SystemExit) as end:
        worker.ask("about")
    assert "jaxgan jit of dcgan ended with status 2 when asked to about" in str(end.value)
