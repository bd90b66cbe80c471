"""Checkpoints that a disk, a copy or a person has damaged: the one before is taken, exactly, and nothing is ever wrong.

A checkpoint's own record is not what these tests compare with: each keeps the numbers of a sound one by itself.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
import threading
import zlib

import jax.numpy as jnp
import numpy as np
import pytest
import small_run

from jaxgan import checkpoint, seal
from jaxgan.errors import InputError, UnwrittenError

FLIPS, MANY_FLIPS = 100, 4000
"""Flipped bits, usually and with `-m slow`."""
UNSEALED = {"commit_success.txt", "_CHECKPOINT_METADATA"}
"""Files of a checkpoint that no seal covers: Orbax writes them after it, and nobody reads them."""


@pytest.fixture
def copy(made, tmp_path):
    """A run to damage; again and again, as it was."""

    def fresh():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return pathlib.Path(shutil.copytree(made, tmp_path / "run"))

    return fresh


def files(made):
    """The files of the newest checkpoint, by their names in it."""
    newest = made / "checkpoints" / "20"
    return [path.relative_to(newest).as_posix() for path in sorted(newest.rglob("*")) if path.is_file()]


def fell_back(workdir, restored, truth, capsys, *, harmless=False):
    """Whether the checkpoint before was taken, and said so in one line; else the newest has to be as it was."""
    capsys.readouterr()
    found, said = restored(workdir), capsys.readouterr().err
    there = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    if found == truth[20]:
        assert said == "" and "20" in there
        return False
    assert found == truth[10]
    assert said.count("\n") == 1 and said.startswith("checkpoint 20 is damaged: ") and "an older one is taken" in said
    assert "20" not in there and "20.damaged" in there
    return True


CUTS = {"to nothing": lambda content: b"", "to half": lambda c: c[: len(c) // 2], "by a byte": lambda c: c[:-1]}
OTHER = {
    "lost": None,
    "garbage": lambda content: np.random.default_rng(len(content)).bytes(len(content)),
    "zeros": lambda content: bytes(len(content)),
    "doubled": lambda content: content * 2,
}


@pytest.mark.parametrize("how", CUTS | OTHER)
def test_every_file_cut_lost_or_replaced(how, made, copy, restored, truth, capsys):
    change, count = (CUTS | OTHER)[how], 0
    for name in files(made):
        path = copy() / "checkpoints" / "20" / name
        if change is None:
            path.unlink()
        else:
            path.write_bytes(change(path.read_bytes()))
        assert fell_back(path.parents[name.count("/") + 2], restored, truth, capsys) == (name not in UNSEALED), name
        count += 1
    assert count >= 15


def test_every_folder_lost(made, copy, restored, truth, capsys):
    folders = [path for path in (made / "checkpoints" / "20").rglob("*") if path.is_dir()]
    assert len(folders) >= 5
    for folder in folders:
        workdir = copy()
        shutil.rmtree(workdir / folder.relative_to(made))
        assert fell_back(workdir, restored, truth, capsys), folder
    workdir = copy()
    shutil.rmtree(workdir / "checkpoints" / "20")
    assert restored(workdir) == truth[10]
    workdir = copy()
    for name in ("_METADATA", "_sharding", "array_metadatas/process_0", "manifest.ocdbt"):
        (workdir / "checkpoints" / "20" / "state" / name).unlink()
    assert fell_back(workdir, restored, truth, capsys)


@pytest.mark.parametrize("name", ["state/more", "state/d/more", "record/more", "state/ocdbt.process_1/manifest.ocdbt"])
def test_a_file_that_was_not_written(name, copy, restored, truth, capsys):
    workdir = copy()
    path = workdir / "checkpoints" / "20" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    assert fell_back(workdir, restored, truth, capsys)


def test_files_of_two_checkpoints_mixed(made, copy, restored, truth, capsys):
    """Half a copy of one over another: each file is whole."""
    for name in ("seal.json", "record/metadata", "state/_METADATA", "state/manifest.ocdbt"):
        workdir = copy()
        shutil.copy(made / "checkpoints" / "10" / name, workdir / "checkpoints" / "20" / name)
        same = (made / "checkpoints" / "10" / name).read_bytes() == (made / "checkpoints" / "20" / name).read_bytes()
        assert fell_back(workdir, restored, truth, capsys) != same, name


@pytest.mark.parametrize("count", [FLIPS, pytest.param(MANY_FLIPS, marks=pytest.mark.slow)])
def test_a_flipped_bit(count, made, copy, restored, truth, capsys):
    """At random over all bytes; every one is caught but those of files that nobody reads."""
    random, names = np.random.default_rng(count), files(made)
    sizes = np.array([(made / "checkpoints" / "20" / name).stat().st_size for name in names])
    workdir, caught, harmless = copy(), 0, 0
    newest = workdir / "checkpoints" / "20"
    for _ in range(count):
        name = names[random.choice(len(names), p=sizes / sizes.sum())]
        path, before = newest / name, (newest / name).read_bytes()
        after = bytearray(before)
        after[random.integers(len(after))] ^= 1 << random.integers(8)
        path.write_bytes(after)
        if fell_back(workdir, restored, truth, capsys):
            caught += 1
            (workdir / "checkpoints" / "20.damaged").rename(newest)
        else:
            assert name in UNSEALED
            harmless += 1
        path.write_bytes(before)
    print(f"{count} flips: {caught} caught, {harmless} harmless")
    assert caught + harmless == count and caught >= 0.95 * count
    assert restored(workdir) == truth[20]


@pytest.mark.parametrize("stride", [200, pytest.param(1, marks=pytest.mark.slow)])
def test_bytes_of_the_seal_and_of_the_record(stride, made, copy, restored, truth, capsys):
    """One by one: a digest that could be talked into another one would be none."""
    workdir = copy()
    newest = workdir / "checkpoints" / "20"
    for name in ("seal.json", "record/metadata"):
        before = (newest / name).read_bytes()
        for at in range(0, len(before), stride):
            after = bytearray(before)
            after[at] ^= 1 << at % 8
            (newest / name).write_bytes(after)
            assert fell_back(workdir, restored, truth, capsys), (name, at)
            (workdir / "checkpoints" / "20.damaged").rename(newest)
        (newest / name).write_bytes(before)
    assert restored(workdir) == truth[20]


def test_what_no_seal_covers_does_not_matter(copy, restored, truth, capsys):
    for name in sorted(UNSEALED):
        for content in (b"", b"{}", b"[" * 10**5, b'{"item_handlers": {"state": "os.system"}}', b"\xff" * 1000, None):
            workdir = copy()
            path = workdir / "checkpoints" / "20" / name
            path.unlink()
            if content is not None:
                path.write_bytes(content)
            assert not fell_back(workdir, restored, truth, capsys)


def test_all_damaged_is_refused_and_nothing_is_lost(copy, restored, capsys):
    workdir = copy()
    for step in ("10", "20"):
        (workdir / "checkpoints" / step / "seal.json").write_text("{}")
    for _ in range(2):
        with pytest.raises(InputError, match="no checkpoint in .* can be used, 2 damaged: bring one back"):
            restored(workdir)
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["10.damaged", "20.damaged"]
    for step in ("10", "20"):
        assert (workdir / "checkpoints" / f"{step}.damaged" / "state" / "_METADATA").stat().st_size > 1000


def litter(checkpoints):
    """Everything that is no checkpoint, and the steps of those that only seem to be one."""
    for name in ("99", "98", "007", "-1", "١٢", "²", "1e3", " 5", "5 ", "+7", "0x1f", "21.damaged", "x", "9" * 60):
        (checkpoints / name).mkdir()
    (checkpoints / "98" / "state").mkdir()
    (checkpoints / "98" / "seal.json").write_text('{"record/metadata": 0}')
    for name in ("200", "300", "22.removed", "23.orbax-checkpoint-tmp-1", "24.tmp", "seal.json"):
        (checkpoints / name).write_bytes(b"no checkpoint")
    (checkpoints / "23.orbax-checkpoint-tmp-2").mkdir()
    shutil.copytree(checkpoints / "20", checkpoints / "30")  # sound, but for its name
    (checkpoints / "97").symlink_to(checkpoints / "20")
    os.mkfifo(checkpoints / "400")
    return ["99", "98", "9" * 60, "30", "97"]


def test_what_is_no_checkpoint_is_passed_over(copy, restored, truth, capsys):
    workdir = copy()
    seeming = litter(workdir / "checkpoints")
    assert restored(workdir) == truth[20]
    said = capsys.readouterr().err.splitlines()
    assert sorted(line.split()[1] for line in said) == sorted(seeming)
    assert any("30 is damaged: by its record it is step 20" in line for line in said)
    for name in seeming:
        assert os.path.lexists(workdir / "checkpoints" / f"{name}.damaged")
    for name in ("007", "-1", "١٢", "200", "21.damaged", "400"):
        assert (workdir / "checkpoints" / name).exists()


@contextlib.contextmanager
def unprivileged(workdir):
    """As a user who is not root; root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    for path in (workdir, *workdir.rglob("*")):
        os.chown(path, 65534, 65534)
    try:
        os.seteuid(65534)
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("part", ["", "state", "state/_METADATA", "record", "record/metadata", "seal.json"])
def test_what_cannot_be_read_is_passed_over(part, made, restored, truth, capsys):
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        workdir = pathlib.Path(shutil.copytree(made, f"{place}/run"))
        os.chmod(workdir / "checkpoints" / "20" / part, 0)
        with unprivileged(workdir):
            assert fell_back(workdir, restored, truth, capsys)


def test_metadata_that_would_be_refused_is_not_written(tmp_path, monkeypatch):
    """More leaves than a reader takes: told when it is written, not when it is wanted back."""
    state = {"x": jnp.zeros(3)}
    with checkpoint.open_checkpoints(tmp_path) as checkpoints:
        checkpoint.save(checkpoints, 1, state, {})
    monkeypatch.setattr(seal, "TEXT_BYTES", 1000)
    with pytest.raises(UnwrittenError, match="too many leaves: .* the newest that is whole is step 1"):
        with checkpoint.open_checkpoints(tmp_path) as checkpoints:
            checkpoint.save(checkpoints, 2, {f"leaf{i}": state["x"] for i in range(100)}, {})
    assert checkpoint.steps(tmp_path) == [1]


@pytest.mark.parametrize("free", [0, 2**40])
def test_room_is_made_first_where_there_is_little(free, tmp_path, monkeypatch):
    """An older checkpoint is removed while a newer one is written, or before that, and never without a newer one."""
    begun, seen, remove = threading.Event(), [], checkpoint._remove
    room = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: room)
    monkeypatch.setattr(checkpoint, "_remove", lambda path: (free and begun.wait(60), remove(path)))
    with checkpoint.open_checkpoints(tmp_path) as checkpoints:
        write = checkpoints.writer.save

        def watched(path, **arguments):
            seen.append(sorted(path.name for path in tmp_path.iterdir()))
            if len(seen) > checkpoint.KEEP:
                begun.set()
            write(path, **arguments)

        monkeypatch.setattr(checkpoints.writer, "save", watched)
        for step in range(checkpoint.KEEP + 1):
            checkpoint.save(checkpoints, step, {"x": jnp.full(3, step)}, {})
    before = [str(step) for step in range(1, checkpoint.KEEP)]
    assert seen[-1] == (before if free == 0 else ["0.removed", *before])
    assert checkpoint.steps(tmp_path) == list(range(1, checkpoint.KEEP + 1))
    assert len(list(tmp_path.iterdir())) == checkpoint.KEEP


def goes_on(workdir, uninterrupted, damage):
    """Damages a run, starts its command again, and compares what is left with a run that nothing happened to."""
    damage(workdir)
    code, said = small_run.finish(workdir, 30)
    assert code == 0, said
    assert small_run.left(workdir) == uninterrupted(30)
    return [line for line in said.splitlines() if "damaged" in line]


def cut(name, how):
    def damage(workdir):
        path = workdir / "checkpoints" / "20" / name
        path.write_bytes(CUTS[how](path.read_bytes()))

    return damage


def flip(workdir):
    random, names = np.random.default_rng(zlib.crc32(b"flip")), files(workdir)
    path = workdir / "checkpoints" / "20" / names[random.integers(len(names))]
    content = bytearray(path.read_bytes())
    content[random.integers(len(content))] ^= 1
    path.write_bytes(content)


RUNS = {
    "litter": (lambda workdir: litter(workdir / "checkpoints"), 5),
}
MORE_RUNS = {
    "no configuration": (lambda workdir: (workdir / "config.json").unlink(), 0),
    "cut to nothing": (cut("state/_METADATA", "to nothing"), 1),
    "cut to half": (cut("record/metadata", "to half"), 1),
    "cut by a byte": (cut("state/manifest.ocdbt", "by a byte"), 1),
    "flipped": (flip, 1),
    "lost": (lambda workdir: shutil.rmtree(workdir / "checkpoints" / "20"), 0),
    "not sealed": (lambda workdir: (workdir / "checkpoints" / "20" / "seal.json").unlink(), 1),
}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in MORE_RUNS]


@pytest.mark.parametrize("name", [*RUNS, *SLOW])
def test_a_damaged_run_ends_as_one_that_nothing_happened_to(name, copy, uninterrupted):
    damage, lines = (RUNS | MORE_RUNS)[name]
    assert len(goes_on(copy(), uninterrupted, damage)) == lines


@pytest.mark.slow
@pytest.mark.parametrize("how", CUTS)
def test_a_run_with_any_file_cut_ends_as_one_that_nothing_happened_to(how, made, copy, uninterrupted):
    for name in files(made):
        assert len(goes_on(copy(), uninterrupted, cut(name, how))) == (name not in UNSEALED)
