"""The run directory: what is written before the first step, and what another run in it is told."""

import inspect
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgan
from jaxgan import run
from jaxgan.errors import InputError

BATCH = {
    "x": np.zeros((8, 4, 4, 1), np.float32),
    "cond": {"label": np.zeros(8, np.int32), "views": (np.zeros((8, 2), jnp.bfloat16), np.zeros((8, 1), np.uint8))},
}
OPTIONS = {"learning_rate": 1e-4, "features": (64, 128), "dataset": "digits", "norm": True, "data_dir": ""}


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "digits.py"
    path.write_text("def experiment(*, learning_rate=1e-4): ...\n")
    return str(path)


def described(experiment, **changes):
    arguments = {"options": OPTIONS, "seed": 3, "batch": BATCH} | changes
    return run.describe(experiment, arguments["options"], arguments["seed"], arguments["batch"])


def test_what_is_written_is_read(experiment, tmp_path):
    workdir = tmp_path / "run"
    run.check_writable(workdir)
    assert run.read(workdir) is None
    now = described(experiment)
    run.write(workdir, now)
    assert run.read(workdir) == now  # tuples are lists on both sides
    run.check_same(workdir, run.read(workdir), described(experiment))
    assert sorted(path.name for path in workdir.iterdir()) == ["config.json"]  # nothing partial, no probe
    config = json.loads((workdir / "config.json").read_text())
    assert config["experiment"] == "digits.py"
    assert config["options"] == {**OPTIONS, "features": [64, 128]}
    assert config["seed"] == 3
    assert config["versions"]["jax"] == jax.__version__
    assert config["versions"]["jaxgan"] == jaxgan.__version__
    assert set(config["versions"]) == {*run.PACKAGES, "jaxgan", "python"}


def test_the_digest_is_that_of_the_file(experiment, tmp_path):
    before = described(experiment)
    with open(experiment, "a") as file:
        file.write("# changed\n")
    after = described(experiment)
    assert len(before.digest) == 64 and before.digest != after.digest
    run.check_same(tmp_path, before, after)  # a comment may change: the digest tells, it does not refuse


OTHER_BATCH = BATCH | {"x": np.zeros((16, 4, 4, 1), np.float32)}
CHANGES = [
    ({"seed": 4}, ["seed 3 -> 4"]),
    ({"options": OPTIONS | {"learning_rate": 1e-3}}, ["learning_rate 0.0001 -> 0.001"]),
    ({"options": OPTIONS | {"features": (64,)}}, [r"features \[64, 128\] -> \[64\]"]),
    ({"options": OPTIONS | {"new": 1}}, ["new absent -> 1"]),
    ({"options": {k: v for k, v in OPTIONS.items() if k != "norm"}}, ["norm True -> absent"]),
    ({"batch": OTHER_BATCH}, [r"batch .*\[8, 4, 4, 1\].* -> .*\[16, 4, 4, 1\]"]),
    ({"batch": BATCH | {"x": BATCH["x"].astype(np.float16)}}, ["batch .*float32.* -> .*float16"]),
    (
        {"seed": 5, "options": OPTIONS | {"norm": False, "dataset": "mnist"}},
        ["seed", "norm", "dataset digits -> mnist"],
    ),
]


@pytest.mark.parametrize("changes, named", CHANGES)
def test_each_difference_of_another_run_is_named(changes, named, experiment, tmp_path):
    before, now = described(experiment), described(experiment, **changes)
    with pytest.raises(InputError, match="holds another run") as refused:
        run.check_same(tmp_path, before, now)
    for words in named:
        assert refused.match(words)
    assert str(refused.value).count(" -> ") == len(named)  # and nothing else


def test_another_experiment_file_is_named(experiment, tmp_path):
    other = tmp_path / "ring.py"
    other.write_text("")
    with pytest.raises(InputError, match="experiment digits.py -> ring.py"):
        run.check_same(tmp_path, described(experiment), described(str(other)))


@pytest.mark.parametrize("name", ["experiment", "seed", "batch"])
def test_an_option_may_have_the_name_of_a_field(name, experiment, tmp_path):
    """An experiment that has an option `batch` or `seed` must not hide that the field, or the option, changed."""
    before = described(experiment, options=OPTIONS | {name: 1})
    with pytest.raises(InputError, match="holds another run"):
        run.check_same(tmp_path, before, described(experiment, options=OPTIONS | {name: 2}))
    with pytest.raises(InputError, match="holds another run"):
        run.check_same(tmp_path, before, described(experiment, options=OPTIONS | {name: 1}, seed=4, batch=OTHER_BATCH))
    with pytest.raises(InputError, match="seed"):
        run.check_same(tmp_path, before, described(experiment, options=OPTIONS | {name: 1}, seed=4))


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"experiment": "a.py"}', "[]", "null", "3", '{"experiment": "a", "and": 1}', "\x00", '"text"'],
)
def test_a_config_that_is_none_is_refused(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match="config.json is not a run's configuration"):
        run.read(tmp_path)


def test_a_config_of_bytes_that_are_no_text_is_refused(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="config.json is not a run's configuration"):
        run.read(tmp_path)


@pytest.mark.parametrize("value", ["1" * 100_000, [0.5] * 50_000, {"a\nb": None}])
def test_an_option_of_another_kind_is_told_in_a_line_however_long_it_is(experiment, value):
    offered = {"learning_rate": inspect.Parameter("learning_rate", inspect.Parameter.KEYWORD_ONLY, annotation=float)}
    before = described(experiment, options={"learning_rate": value})
    with pytest.raises(InputError, match="learning_rate, expected") as refused:
        run.check_options(experiment, before, offered)
    assert len(str(refused.value)) < 1000 and "\n" not in str(refused.value)
    with pytest.raises(InputError, match="holds another run") as refused:
        run.check_same(pathlib.Path("runs"), before, described(experiment))
    assert len(str(refused.value)) < 2000 and "\n" not in str(refused.value)


def test_a_directory_is_made_and_left_as_it_was(tmp_path):
    workdir = tmp_path / "a" / "b"
    run.check_writable(workdir)
    (workdir / "kept").write_text("kept")
    run.check_writable(workdir)
    assert [path.name for path in workdir.iterdir()] == ["kept"]


@pytest.mark.parametrize("below", ["", "sub"])
def test_a_directory_that_is_a_file_or_below_one_is_refused(below, tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(InputError, match="--workdir .*file.* cannot be written"):
        run.check_writable(file / below)
    assert file.read_text() == "kept"


def test_a_template_batch_has_the_shapes_and_dtypes_of_the_batch(experiment, tmp_path):
    run.write(tmp_path, described(experiment))
    made = run.template_batch(run.read(tmp_path))
    views = made["cond"]["views"]
    found = [made["x"], made["cond"]["label"], *views]
    wanted = [BATCH["x"], BATCH["cond"]["label"], *BATCH["cond"]["views"]]
    assert [(v.shape, v.dtype) for v in found] == [(v.shape, v.dtype) for v in wanted]
    assert not any(v.any() for v in found)
    assert set(made) == set(BATCH) and set(made["cond"]) == set(BATCH["cond"])


def test_a_batch_with_leaves_of_the_names_of_a_description(experiment):
    """A `cond` may be called "shape" or "dtype"; only both at once describe a leaf."""
    batch = {"x": np.zeros((2, 3), np.float32), "cond": {"shape": np.zeros(2, np.int32)}}
    made = run.template_batch(described(experiment, batch=batch))
    assert made["cond"]["shape"].shape == (2,) and made["x"].shape == (2, 3)
