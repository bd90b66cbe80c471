"""Run directories from a stranger, who also made the seals: nothing is executed, followed or waited for, and what is
read is bounded. A sound checkpoint is taken, or one line says what is wrong.
"""

import gc
import io
import json
import os
import pathlib
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
import zlib

import numpy as np
import pytest
import small_run
import tensorstore
from test_hostile_files import bounded, damaged

from jaxgan import checkpoint, monitor, run, seal
from jaxgan import experiment as experiments
from jaxgan.errors import InputError

# Orbax reads arrays side by side; where one fails, Python tells of each of the others that nobody waits for it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

QUICK, MANY = 50, 2000
"""Mutations of each file, usually and with `-m slow`."""
BYTES, SECONDS = 512 << 20, 20
"""What reading one hostile directory may add to the memory of this process, and take."""
WHOLE_BYTES = 1500 << 20
"""What a command may take in all, jax and its compiler included."""


MEASURED = """
import atexit, pathlib, re, sys
from jaxgan.cli import main
told, status = pathlib.Path(sys.argv.pop(1)), pathlib.Path("/proc/self/status")
atexit.register(lambda: told.write_text(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]))
main()
"""


@pytest.fixture
def workdir(made, tmp_path):
    """A run for a stranger to change."""
    return pathlib.Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture(autouse=True)
def alarm():
    """Whoever waits for a pipe is woken, and what Orbax leaves of reads that failed is not left to other tests."""

    def ring(number, frame):
        raise TimeoutError("still waiting")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(240)
    yield
    signal.alarm(0)
    gc.collect()


def reseal(folder):
    """Seals a checkpoint as it is now, as who changed it can."""
    names = {path.relative_to(folder).as_posix(): path for part in ("state", "record") for path in folder.rglob("*")}
    digests = {
        name: zlib.crc32(path.read_bytes())
        for name, path in names.items()
        if name.startswith(("state/", "record/")) and path.is_file() and not path.is_symlink()
    }
    (folder / "seal.json").write_text(json.dumps(digests))


def record_with(folder, **changes):
    path = folder / "record" / "metadata"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    reseal(folder)


def outcome(workdir, restored, truth):
    """The step that was taken, exact, or the one line of a refusal."""
    try:
        found = restored(workdir)
    except InputError as error:
        assert "\n" not in str(error) and str(error).isprintable() and len(str(error)) < 2000
        return str(error)
    assert found[:2] == truth[found[0]][:2]
    return found[0]


class Canary:
    """A pickle of it makes a file, when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def pickles(canary):
    """Contents that run code where somebody unpickles them: plain, PyTorch's, NumPy's."""
    plain = pickle.dumps(Canary(canary))
    torch, numpy = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(torch, "w") as archive:
        archive.writestr("archive/data.pkl", plain)
        archive.writestr("archive/version", "3\n")
    objects = np.empty(1, object)
    objects[0] = Canary(canary)
    np.save(numpy, objects, allow_pickle=True)
    return {"pickle": plain, "torch": torch.getvalue(), "numpy": numpy.getvalue()}


PLACES = ("seal.json", "record/metadata", "state/_METADATA", "state/_sharding", "state/manifest.ocdbt")
PLACES += ("state/array_metadatas/process_0", "state/ocdbt.process_0/manifest.ocdbt", "_CHECKPOINT_METADATA")


def test_no_pickle_is_opened(workdir, made, restored, truth, tmp_path):
    canary = tmp_path / "canary"
    contents = pickles(canary)
    pickle.loads(contents["pickle"])
    assert canary.exists()  # they do what they are feared for
    canary.unlink()
    folder, count = workdir / "checkpoints" / "20", 0
    largest = max((folder / "state").rglob("d/*"), key=lambda path: path.stat().st_size)
    for content in contents.values():
        for name in (*PLACES, largest.relative_to(folder).as_posix()):
            before = (folder / name).read_bytes()
            (folder / name).write_bytes(content)
            if name != "seal.json":
                reseal(folder)
            assert outcome(workdir, restored, truth) in (10, 20)
            if not folder.exists():
                (workdir / "checkpoints" / "20.damaged").rename(folder)
            (folder / name).write_bytes(before)
            reseal(folder)
            count += 1
        for name in ("checkpoints/30", "checkpoints/30.pt", "model.pkl", "checkpoints/20/model.pkl"):
            (workdir / name).write_bytes(content)
        assert outcome(workdir, restored, truth) == 20
        (workdir / "config.json").write_bytes(content)
        with pytest.raises(InputError, match="is not a run's configuration"):
            run.read(workdir)
        shutil.copy(made / "config.json", workdir)
    assert not canary.exists() and count == 27


@pytest.mark.parametrize("name", ["model.pkl", "model.pt"])
def test_a_pickle_is_no_run_directory(name, tmp_path, jaxgan):
    (tmp_path / name).write_bytes(pickles(tmp_path / "canary")["torch" if name == "model.pt" else "pickle"])
    for command in (["train", "--steps", "1"], ["sample", "--out", tmp_path / "x.npy"], ["evaluate"]):
        code, _, said = jaxgan(command[0], small_run.DIGITS, "--workdir", tmp_path / name, *command[1:])
        assert code == 2 and said.count("\n") == 1 and str(tmp_path / name) in said
    assert not (tmp_path / "canary").exists()


def zarray(folder, **changes):
    """Changes what stands of the largest arrays in TensorStore's own files, by TensorStore."""
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{folder}/state/"}).result()
    names = [name for name in store.list().result() if name.endswith(b"Dense_0/kernel/.zarray")]
    assert len(names) >= 5
    for name in names:
        described = json.loads(store.read(name).result().value)
        store.write(name, json.dumps(described | changes).encode()).result()
    reseal(folder)


ARRAYS = {
    "8 TB": {"shape": [2**20, 2**21]},
    "chunks of 8 TB": {"chunks": [2**20, 2**21]},
    "chunks of 4 GB": {"chunks": [2**16, 2**14]},
    "both of 8 TB": {"shape": [2**20, 2**21], "chunks": [2**20, 2**21]},
    "chunks beyond numbers": {"chunks": [2**62, 2**62]},
    "objects": {"dtype": "|O"},
    "a filter": {"filters": [{"id": "pickle"}]},
    "another compressor": {"compressor": {"id": "blosc"}},
    "none of it": {"zarr_format": 9},
}


@pytest.mark.parametrize("change", ARRAYS)
def test_arrays_of_another_kind_under_a_valid_seal(change, workdir, restored, truth):
    zarray(workdir / "checkpoints" / "20", **ARRAYS[change])
    with bounded(BYTES, SECONDS):
        assert outcome(workdir, restored, truth) == 10


def test_a_state_of_terabytes(workdir, restored, truth):
    """In the record, in the metadata, in both and in the arrays too; a reader without a template takes none either."""
    folder = workdir / "checkpoints" / "20"
    leaves = json.loads((folder / "record" / "metadata").read_text())["leaves"]
    for shape in ("1099511627776, 2", "9" * 4000, "-1", "32, 128, 1"):
        record_with(folder, leaves=leaves | {"generator/params/Dense_0/kernel": [f"float32[{shape}]", 0]})
        with bounded(BYTES, SECONDS):
            assert checkpoint.examine(workdir / "checkpoints", 20).startswith("checkpoint 20 is damaged: ")
            found = outcome(workdir, restored, truth)
            assert found == 10 or "does not fit this architecture: generator/params/Dense_0/kernel is float32[" in found
        if not folder.exists():
            (workdir / "checkpoints" / "20.damaged").rename(folder)
    record_with(folder, leaves=leaves)
    path = folder / "state" / "_METADATA"
    path.write_text(re.sub(r"\d+", "1099511627776", path.read_text()))
    reseal(folder)
    with bounded(BYTES, SECONDS):
        assert outcome(workdir, restored, truth) in (10, 20)


def test_a_file_of_a_terabyte_is_not_read(workdir, restored, truth):
    folder = workdir / "checkpoints" / "20"
    for path in (folder / "state" / "d" / "more", next((folder / "state" / "ocdbt.process_0" / "d").iterdir())):
        size = path.stat().st_size if path.exists() else 0
        with path.open("ab") as file:
            file.truncate(2**40)  # no bytes on the disk
        with bounded(BYTES, SECONDS):
            assert outcome(workdir, restored, truth) == 10
        (workdir / "checkpoints" / "20.damaged").rename(folder)
        os.truncate(path, size)


LINKS = ("config.json", "metrics.jsonl", "samples", "checkpoints", "lock", "lock.json", "samples/real.png")
LINKS += ("config.json.partial", "metrics.jsonl.partial", "metrics.jsonl.damaged", "samples/real.png.partial")


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_a_link_out_of_a_run(kind, name, workdir, tmp_path, jaxgan):
    """What it leads to is neither read nor written."""
    outside = tmp_path / "outside"
    if kind == "folder":
        shutil.copytree(workdir / "checkpoints", outside)
    elif kind == "file":
        outside.write_text("precious")
    path = workdir / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(outside)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, _, said = jaxgan("train", small_run.DIGITS, "--workdir", workdir, "--steps", 30, *small_run.GAME)
    assert code == 2 and said.count("\n") == 1 and f"{path} is a symbolic link" in said
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["20", "20/state", "20/record", "20/state/d", "20/seal.json", "20/record/metadata"])
def test_a_link_in_a_checkpoint(name, workdir, restored, truth, tmp_path):
    """Even where what it leads to is right."""
    path = workdir / "checkpoints" / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert outcome(workdir, restored, truth) == 10
    assert (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["../../../secret", "/etc/hostname", "state/../../10/seal.json", "a\nb", "\x1b[31m"])
def test_a_name_that_leads_elsewhere(name, workdir, restored, truth, tmp_path, capsys):
    """In the seal, in the record and as the best step: it is never opened, and shown on one line."""
    secret = tmp_path / "secret"
    os.mkfifo(secret)  # who opens it waits
    folder = workdir / "checkpoints" / "20"
    sealed = json.loads((folder / "seal.json").read_text())
    leaves = json.loads((folder / "record" / "metadata").read_text())["leaves"]
    (folder / "seal.json").write_text(json.dumps(sealed | {name: 0}))
    assert outcome(workdir, restored, truth) == 10
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said[:-1].isprintable()
    (workdir / "checkpoints" / "20.damaged").rename(folder)
    record_with(folder, leaves=leaves | {name: ["float32[2]", 0]})
    assert "does not fit this architecture" in outcome(workdir, restored, truth)
    record_with(folder, leaves=leaves, best=name)
    assert outcome(workdir, restored, truth) == 10
    assert checkpoint.best_step(workdir / "checkpoints") is None


def pipe_at(path):
    os.mkfifo(path)


def device_at(path):
    try:
        os.mknod(path, 0o20666, os.makedev(1, 5))  # /dev/zero: a file without an end
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize("make", [pipe_at, device_at])
def test_what_is_no_file_in_a_checkpoint(make, workdir, restored, truth):
    folder = workdir / "checkpoints" / "20"
    for name in (*PLACES, "commit_success.txt", "more", "state/more", "state/d/more"):
        kept = (folder / name).read_bytes() if (folder / name).exists() else None
        (folder / name).unlink(missing_ok=True)
        make(folder / name)
        signal.alarm(60)
        assert outcome(workdir, restored, truth) == 10, name
        (workdir / "checkpoints" / "20.damaged").rename(folder)
        (folder / name).unlink()
        if kept is not None:
            (folder / name).write_bytes(kept)


@pytest.mark.parametrize("name", [name for name in LINKS if "/" not in name or "partial" in name])
@pytest.mark.parametrize("make", [pipe_at, device_at])
def test_what_is_no_file_in_a_run(make, name, workdir, jaxgan):
    path = workdir / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    make(path)
    signal.alarm(60)
    code, _, said = jaxgan("train", small_run.DIGITS, "--workdir", workdir, "--steps", 30, *small_run.GAME)
    assert code == 2 and said.count("\n") == 1 and str(path) in said


def large(kind):
    """A gigabyte of nothing, 10 MB of brackets, and the JSON that takes the most memory for its size."""
    if kind == "a gigabyte":
        return None
    return b"[" * 10**7 if kind == "deep" else b'{"leaves": [' + b"[]," * (seal.TEXT_BYTES // 3 - 20) + b"[]]}"


@pytest.mark.parametrize("kind", ["a gigabyte", "deep", pytest.param("wide", marks=pytest.mark.slow)])
def test_large_texts(kind, workdir, restored, truth, capsys):
    folder, content = workdir / "checkpoints" / "20", large(kind)
    for name in PLACES[:3] if kind == "wide" else PLACES:
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(content or b"{}")
        if name != "seal.json":
            reseal(folder)
        if content is None:  # no bytes on the disk
            os.truncate(folder / name, 2**30)
        with bounded(BYTES, SECONDS):
            found = outcome(workdir, restored, truth)
        # Texts that nobody has to believe may be passed over, but not where reading them is what they are there for.
        assert found == 10 or (found == 20 and content is not None and name in PLACES[2:]), name
        assert (content is None) == (f"20/{name} has 1073741824 bytes" in capsys.readouterr().err)
        if found == 10:
            (workdir / "checkpoints" / "20.damaged").rename(folder)
        (folder / name).write_bytes(before)
        reseal(folder)
    (workdir / "config.json").write_bytes(content or b"")
    if content is None:
        os.truncate(workdir / "config.json", 2**30)
    with bounded(BYTES, SECONDS), pytest.raises(InputError, match="is not a run's configuration"):
        run.read(workdir)


@pytest.mark.parametrize("kind", ["a gigabyte", "deep", "wide"])
def test_large_metrics(kind, workdir):
    path, content = workdir / "metrics.jsonl", large(kind)
    sound = path.read_bytes()
    with path.open("ab") as file:
        file.write(content or b"")
        if content is None:
            file.truncate(2**30)
    with bounded(BYTES, SECONDS):
        assert monitor.line_of(workdir, 21) == {}
        with monitor.open_monitor(workdir, 20, 30):
            pass
    assert path.read_bytes() == sound


def measured(*arguments):
    """Exit code, standard error and most memory of a command, which it writes down itself at its end.

    What the system tells a parent counts the parent's own memory in, from before the child was another program.
    """
    with tempfile.NamedTemporaryFile() as file:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, file.name, *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr, int(file.read()) << 10


def fill(workdir):
    """The worst of all at once."""
    folder = workdir / "checkpoints" / "20"
    (folder / "state" / "_METADATA").write_bytes(large("wide"))
    reseal(folder)
    for step, kind in ((30, "deep"), (40, "wide"), (50, "a gigabyte")):
        copy = shutil.copytree(folder, workdir / "checkpoints" / str(step))
        (copy / "record" / "metadata").write_bytes(large(kind) or b"")
        if kind == "a gigabyte":
            os.truncate(copy / "state" / "_METADATA", 2**30)
        reseal(copy)
    with (workdir / "metrics.jsonl").open("ab") as file:
        file.truncate(2**28)


@pytest.mark.slow
def test_the_memory_of_a_command(workdir, tmp_path):
    fill(workdir)
    out = tmp_path / "samples.npy"
    code, said, most = measured("sample", small_run.DIGITS, "--workdir", workdir, "--out", out)
    assert code == 0 and "64 samples of step 10" in said and np.load(out).shape == (64, 8, 8, 1)
    assert said.count("is damaged: ") == 4 and most < WHOLE_BYTES, (said, most)
    (workdir / "config.json").write_bytes(b"[" * 2**19)
    code, said, most = measured("evaluate", small_run.DIGITS, "--workdir", workdir)
    assert code == 2 and said.count("\n") == 1 and most < WHOLE_BYTES


@pytest.mark.parametrize("count", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sealed", [True, False])
def test_mutated_checkpoints(sealed, count, made, restored, truth, tmp_path, capfd):
    """Each file in turn; under a valid seal, too, what is restored is exact."""
    random, seen = np.random.default_rng([count, sealed]), {}
    workdir = pathlib.Path(shutil.copytree(made, tmp_path / "run"))
    folder = workdir / "checkpoints" / "20"
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    contents, seals = {name: (folder / name).read_bytes() for name in names}, 0
    with bounded(BYTES, SECONDS + 0.5 * count):
        for i in range(count):
            name = names[i % len(names)]
            (folder / name).write_bytes(damaged(random, contents[name]))
            if sealed and name != "seal.json":
                reseal(folder)
                seals += 1
            signal.alarm(60)  # for each alone: all together may take longer than other tests
            found = outcome(workdir, restored, truth)
            seen[found if isinstance(found, int) else "refused"] = seen.get(found, 0) + 1
            if found == 10:
                (workdir / "checkpoints" / "20.damaged").rename(folder)
            (folder / name).write_bytes(contents[name])
            (folder / "seal.json").write_bytes(contents["seal.json"])
    print(f"{count} mutations, {seals} sealed: {seen}")
    assert seen[10] > 0 and outcome(workdir, restored, truth) == 20


@pytest.mark.parametrize("count", [QUICK, pytest.param(MANY * 10, marks=pytest.mark.slow)])
def test_mutated_configurations(count, made, tmp_path):
    random, content, refused = np.random.default_rng(count), (made / "config.json").read_bytes(), 0
    offered = experiments.options(experiments.load(str(small_run.DIGITS)))
    with bounded(BYTES, SECONDS + 0.05 * count):
        for _ in range(count):
            (tmp_path / "config.json").write_bytes(damaged(random, content))
            try:
                found = run.read(tmp_path)
                run.check_options("digits.py", found, offered)
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 2000
                refused += 1
            else:
                assert isinstance(found, run.Run) and set(found.options) <= set(offered)
    print(f"{count} mutations: {refused} refused")
    assert count // 2 < refused


@pytest.mark.parametrize("count", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])
def test_mutated_metrics(count, made, tmp_path, capsys):
    """Lines that are whole stay; nothing else does, and a run goes on."""
    random, content = np.random.default_rng(count), (made / "metrics.jsonl").read_bytes()
    path = tmp_path / "metrics.jsonl"
    with bounded(BYTES, SECONDS + 0.1 * count):
        for _ in range(count):
            path.write_bytes(damaged(random, content))
            values = monitor.line_of(tmp_path, 20)
            assert isinstance(values, dict) and "step" not in values
            with monitor.open_monitor(tmp_path, 20, 30) as watch:
                watch.line(30, {"a": 1.0})
            lines = [json.loads(line) for line in path.read_bytes().splitlines()]
            assert lines[-1] == {"step": 30, "a": 1.0}
            assert all(type(line["step"]) is int and line["step"] <= 20 for line in lines[:-1])
            capsys.readouterr()
            for other in tmp_path.iterdir():
                if other.is_file():
                    other.unlink()
