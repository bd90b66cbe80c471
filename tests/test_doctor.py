"""`jaxgan doctor`: what is well is called so, and what is not is named and makes the exit code."""

import json
import pathlib
import shutil

import jax
import pytest

from jaxgan import cache, doctor, run
from jaxgan.checkpoint import steps

RING = pathlib.Path(__file__).parent.parent / "experiments" / "ring.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run directory with checkpoints 5 and 10."""
    from jaxgan import experiment, preflight, schedule, train

    workdir = tmp_path_factory.mktemp("trained")
    function = experiment.load(str(RING))
    options = {name: p.default for name, p in experiment.options(function).items()} | {"width": 8, "batch_size": 16}
    game = function(**options)
    config, data = preflight.prepare(game, str(RING), options, workdir, seed=0, lift_name="jit")
    when = schedule.Schedule(log=5, sample=10, checkpoint=5)
    train.train(game, config, data=data, workdir=workdir, steps=10, lift_name="jit", schedule=when)
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def findings(out):
    """`{about: (verdict, text)}` of what was printed."""
    rows = (line.split(maxsplit=1) for line in out.splitlines())
    return {rest[:12].strip(): (verdict, rest[13:]) for verdict, rest in rows}


def test_what_is_well(jaxgan, workdir):
    code, out, err = jaxgan("doctor", "--workdir", workdir)
    found = findings(out)
    assert code == 0 and err == "" and "bad" not in {verdict for verdict, _ in found.values()}
    assert f"jax {jax.__version__}" in found["versions"][1]
    assert found["devices"][1].startswith("8 cpu") and "sum over 8 devices" in found["collective"][1]
    assert "ring.py, seed 0" in found["run"][1] and found["metrics"][1] == "2 lines"
    assert [found[f"step {step}"] for step in steps(workdir / "checkpoints")] == [("ok", "sound")] * 2
    assert sorted(path.name for path in workdir.iterdir() if "probe" in path.name) == []


def test_what_is_not_well_is_named(jaxgan, workdir):
    largest = max((workdir / "checkpoints" / "5").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    (workdir / "checkpoints" / "3.damaged").mkdir()
    with (workdir / "metrics.jsonl").open("a") as lines:
        lines.write("no line\n")
    code, out, err = jaxgan("doctor", "--workdir", workdir)
    found = findings(out)
    assert code == 2 and err == "jaxgan: 2 of these will not do\n"
    assert found["step 5"][0] == "bad" and f"{largest.name} is not what was written" in found["step 5"][1]
    assert found["step 10"] == ("ok", "sound")
    assert found["metrics"] == ("bad", "2 lines, 1 are none of a run's")
    assert found["set aside"][0] == "note" and "3.damaged" in found["set aside"][1]


def test_nothing_is_changed(jaxgan, workdir):
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    jaxgan("doctor", "--workdir", workdir)
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before


def test_who_trains_there(workdir):
    with run.locked(workdir):
        assert [f for f in doctor.directory(workdir) if f.about == "lock"][0].text.startswith("in use by process")
    assert [f for f in doctor.directory(workdir) if f.about == "lock"][0].text == "nobody trains there"


def test_a_configuration_that_is_none(jaxgan, workdir):
    (workdir / "config.json").write_text(json.dumps({"experiment": 1}))
    code, out, _ = jaxgan("doctor", "--workdir", workdir)
    assert code == 2 and findings(out)["run"][0] == "bad"


def test_a_device_that_computes_wrong_numbers(monkeypatch):
    assert doctor.devices().verdict == "ok"
    monkeypatch.setattr(doctor.jnp, "matmul", lambda a, b: a @ b + 1)
    assert doctor.devices().verdict == "bad"


def test_a_file_that_goes_while_the_cache_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache.folder() / "programs"
    folder.mkdir()
    (folder / "a").write_bytes(bytes(3 * 2**20))
    (folder / "b").symlink_to(folder / "gone")  # listed, and not there when it is looked at
    found = doctor.kept()
    assert found.verdict == "ok" and found.text.startswith("3 MiB in ")


def test_a_place_that_cannot_be_written():
    finding = doctor.disk(pathlib.Path("/proc/nowhere"))
    assert finding.verdict == "bad" and "cannot be written" in finding.text


def test_prepared_sets_are_found_by_their_layout(tmp_path):
    """Not by a search through all that lies there, which may be the whole machine, and changes meanwhile."""
    for place in ("mnist/3.0.1", "celeb_a_hq/256/2.0.0", "runs/a/b/c", "."):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "dataset_info.json").touch()
    assert doctor.data(str(tmp_path)).text == f"celeb_a_hq, mnist in {tmp_path}"
