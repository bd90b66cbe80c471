"""Checkpoints of any pytree, through Orbax: what is restored is what was saved, leaf by leaf, or an error.

A directory holds a folder `<step>/` for each checkpoint, which is whole, and on the disk, from the moment that it has
that name. Beside the state it holds a record: a note, and the dtype, shape and CRC-32 of every leaf, which tells
whether the state read is the state saved; and a seal: the CRC-32 of every file, which tells before anything else reads
them. A checkpoint that is not what was saved is never restored and never removed: it is set aside as `<step>.damaged`,
and the one before it is taken.
"""

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import shutil
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxgan.errors import DamagedError, InputError, UnwrittenError

PyTree = Any
KEEP = 3
"""Number of newest checkpoints that a directory holds."""
TEXT_BYTES = 2**26
"""Size of the largest file of metadata that is read; a state of a thousand leaves has some 100 KB of them."""
_PIECE = 2**20
_BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading JSON of another form than expected may raise."""
_UNFINISHED, _REMOVED, _DAMAGED = ".orbax-checkpoint-tmp", ".removed", ".damaged"
_SEALED, _SEAL = ("state", "record"), "seal.json"
_NUMBERS = "d"
"""Name of the folders whose files are the arrays' numbers; every other file is metadata."""


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints are written; `open_checkpoints` makes one.

    Attributes:
      directory: that holds them.
      writer: Orbax's, which writes one at a time, in the background.
    """

    directory: pathlib.Path
    writer: ocp.AsyncCheckpointer

    def wait(self) -> None:
        """Waits until what is being written is whole and on the disk.

        Raises:
          UnwrittenError: when it could not be written.
        """
        with _told(self.directory):
            self.writer.wait_until_finished()
            _flush(self.directory)


class Restored(NamedTuple):
    """What comes of a checkpoint.

    Attributes:
      step: its number.
      state: the pytree.
      note: what was said of it.
    """

    step: int
    state: PyTree
    note: dict[str, Any]


@contextlib.contextmanager
def open_checkpoints(directory: pathlib.Path) -> Iterator[Checkpoints]:
    """The checkpoints of a run, to be written by this process and no other; what a killed one left is removed.

    At the end of the context everything is written.

    Raises:
      UnwrittenError: when a checkpoint could not be written.
    """
    directory = directory.absolute()
    with _told(directory):
        directory.mkdir(parents=True, exist_ok=True)
        if jax.process_index() == 0:
            for path in directory.iterdir():
                if _UNFINISHED in path.name or path.name.endswith(_REMOVED):
                    _remove(path)
    sealing = ocp.options.AsyncOptions(post_finalization_callback=lambda: _seal(directory))
    writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler(), async_options=sealing)
    checkpoints = Checkpoints(directory, writer)
    try:
        yield checkpoints
    finally:
        checkpoints.wait()
        writer.close()


def steps(directory: pathlib.Path) -> list[int]:
    """The numbers of a directory's checkpoints, ascending; none where it is not there."""
    if not directory.is_dir():
        return []
    names = [path.name for path in directory.iterdir() if path.is_dir() or path.is_symlink()]
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and name == str(int(name)))


def save(checkpoints: Checkpoints, step: int, state: PyTree, note: dict[str, Any], *, best: int | None = None) -> None:
    """Writes a state in the background, with a note and the shape, dtype and CRC-32 of every leaf.

    What is written is the leaves by their paths, not the nodes above them: so a state whose type has since been given
    a field that is empty here is the same state. Older checkpoints are removed once a newer one is on the disk: all but
    the `KEEP` newest and the best.

    Args:
      checkpoints: from `open_checkpoints`.
      step: its number; later than all that are there.
      state: pytree of arrays.
      note: what JSON can hold.
      best: the step whose checkpoint is to be kept beside the newest ones, or None; it may be this one.

    Raises:
      UnwrittenError: when this checkpoint, or the one before, could not be written.
      RuntimeError: when there is such a step or a later one already.
    """
    checkpoints.wait()
    there = steps(checkpoints.directory)
    if there and there[-1] >= step:
        raise RuntimeError(f"checkpoint {step} was not written: {there[-1]} is there already")
    with _told(checkpoints.directory):
        if jax.process_index() == 0:
            _remove_superseded(checkpoints.directory, there)
        record = {"note": note, "best": best, "leaves": _signatures(state, with_digest=True)}
        items = ocp.args.Composite(state=ocp.args.StandardSave(_by_path(state)), record=ocp.args.JsonSave(record))
        checkpoints.writer.save(checkpoints.directory / str(step), args=items)


def restore(directory: pathlib.Path, step: int, template: PyTree) -> Restored:
    """Reads a state into the structure, shapes, dtypes and shardings of a template, and its note.

    Nothing is executed or guessed: arrays are restored into a structure that is given.

    Args:
      directory: of the checkpoints.
      step: which one.
      template: pytree of `jax.ShapeDtypeStruct` (with shardings).

    Raises:
      InputError: when the checkpoint holds other leaves, shapes or dtypes than the template.
      DamagedError: when it is not what was saved.
    """
    folder = directory.absolute() / str(step)
    record = _record(folder)
    held, wanted = record["leaves"], _signatures(template, with_digest=False)
    for leaf in sorted(held.keys() | wanted.keys()):
        there, here = held.get(leaf, ["nothing"])[0], wanted.get(leaf, ["nothing"])[0]
        if there != here:
            raise InputError(
                f"checkpoint {step} does not fit this architecture: {leaf} is {there} there, {here} here; "
                "resume with the options it was made with, or use another --workdir"
            )
    found = _arrays(folder, _by_path(template))
    state = jax.tree.unflatten(jax.tree.structure(template), [found[path] for path in _by_path(template)])
    for leaf, signature in _signatures(state, with_digest=True).items():
        if signature != held[leaf]:
            raise DamagedError(f"checkpoint {step} is damaged: {leaf} is not what was saved")
    return Restored(step, state, record["note"])


def restore_newest(directory: pathlib.Path, template: PyTree, *, set_aside: bool) -> Restored | None:
    """The newest checkpoint that is what was saved, or None where there is none at all.

    Args:
      directory: of the checkpoints.
      template: as of `restore`.
      set_aside: whether to rename damaged ones, which only who writes there may do; else they are passed over.

    Raises:
      InputError: when the newest does not fit the template, or all are damaged.
    """
    there = steps(directory)
    for step in reversed(there):
        try:
            return restore(directory, step, template)
        except DamagedError as error:
            kept = _set_aside(directory / str(step)) if set_aside else directory / str(step)
            print(f"{error}; it stays as {kept}, and an older one is taken", file=sys.stderr)
    damaged = len(there) or (len(list(directory.glob(f"*{_DAMAGED}*"))) if directory.is_dir() else 0)
    if damaged:
        raise InputError(
            f"no checkpoint in {directory} can be used, {damaged} damaged: "
            "bring one back from a copy, or start over with another --workdir"
        )
    return None


def best_step(directory: pathlib.Path) -> int | None:
    """The step of the best checkpoint, as the newest one that is sound has it."""
    for step in reversed(steps(directory)):
        with contextlib.suppress(DamagedError):
            return _record(directory / str(step))["best"]
    return None


def examine(directory: pathlib.Path, step: int) -> str:
    """Reads a whole checkpoint, and says "sound" or what is wrong with it."""
    folder = directory.absolute() / str(step)
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    try:
        held = _record(folder)["leaves"]
        template = {}
        for leaf, (signature, _) in held.items():
            dtype, _, shape = signature.partition("[")
            lengths = tuple(int(length) for length in shape.rstrip("]").split(",") if length)
            template[leaf] = jax.ShapeDtypeStruct(lengths, dtype, sharding=place)
        restore(directory, step, template)
    except DamagedError as error:
        return str(error)
    return "sound"


def _record(folder: pathlib.Path) -> dict[str, Any]:
    """What stands in a checkpoint beside the state: its note, the best step, dtype, shape and digest of every leaf.

    Raises:
      DamagedError: when a file of the checkpoint is not what was written, or missing.
    """
    _check_seal(folder)
    try:
        record = json.loads((folder / "record" / "metadata").read_bytes())
        record["note"], record["best"], record["leaves"].items()
    except _BROKEN as error:
        raise DamagedError(f"checkpoint {folder.name} is damaged: its record is none") from error
    return record


def _check_seal(folder: pathlib.Path) -> None:
    """Compares every file of a checkpoint with what was written.

    Raises:
      DamagedError: names the first that is another, missing, a link, or too large to be read as metadata.
    """
    damaged = f"checkpoint {folder.name} is damaged: "
    inside = [folder, *sorted(folder.rglob("*"))]
    for path in inside:
        if path.is_symlink():
            raise DamagedError(f"{damaged}{path.relative_to(folder.parent)} is a symbolic link")
        if path.is_file() and path.parent.name != _NUMBERS and path.stat().st_size > TEXT_BYTES:
            raise DamagedError(f"{damaged}{path.relative_to(folder.parent)} has {path.stat().st_size} bytes")
    try:
        sealed = dict(json.loads((folder / _SEAL).read_bytes()))
    except _BROKEN as error:
        raise DamagedError(f"{damaged}its seal ({_SEAL}) is missing or broken") from error
    try:
        found = _digests(folder)
    except OSError as error:
        raise DamagedError(f"{damaged}it cannot be read ({error.strerror})") from error
    for name in sorted(found.keys() | sealed.keys()):
        if name not in found:
            raise DamagedError(f"{damaged}{folder.name}/{name} is missing")
        if found[name] != sealed.get(name):
            raise DamagedError(f"{damaged}{folder.name}/{name} is not what was written")
    if "record/metadata" not in sealed:
        raise DamagedError(f"{damaged}it has no record")


def _digests(folder: pathlib.Path) -> dict[str, int]:
    """CRC-32 of every file of the state and the record in a checkpoint's folder, by its name there."""
    paths = [path for part in _SEALED for path in sorted((folder / part).rglob("*")) if path.is_file()]

    def crc(path):
        value = 0
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                value = zlib.crc32(piece, value)
        return value

    with ThreadPoolExecutor() as threads:  # zlib lets go of the interpreter
        return {
            path.relative_to(folder).as_posix(): value
            for path, value in zip(paths, threads.map(crc, paths), strict=True)
        }


def _seal(directory: pathlib.Path) -> None:
    """Ends the writing of a checkpoint that has its temporary name still: digests, and everything on the disk."""
    for folder in directory.glob(f"*{_UNFINISHED}*"):
        (folder / _SEAL).write_text(json.dumps(_digests(folder)))
        for path in (*sorted(folder.rglob("*"), reverse=True), folder):  # files, then the folders that name them
            _flush(path)


def _arrays(folder: pathlib.Path, template: dict[str, Any]) -> dict[str, jax.Array]:
    """The arrays of a checkpoint, not yet compared with their digests."""
    with contextlib.closing(ocp.Checkpointer(ocp.CompositeCheckpointHandler())) as reader:
        try:
            return reader.restore(folder, ocp.args.Composite(state=ocp.args.StandardRestore(template)))["state"]
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise  # of this machine, not of the checkpoint
        except Exception as error:  # Orbax and TensorStore raise many kinds, a bare Exception among them
            why = " ".join(str(error).split())[:200]
            raise DamagedError(f"checkpoint {folder.name} is damaged: its state cannot be read ({why})") from error


def _by_path(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree by their paths, in their order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _signatures(tree: PyTree, *, with_digest: bool) -> dict[str, list]:
    """`[dtype and shape, CRC-32]` of every leaf, by its path."""
    leaves = _by_path(tree)
    signatures = {path: [f"{leaf.dtype}{list(leaf.shape)}"] for path, leaf in leaves.items()}
    if with_digest:
        with ThreadPoolExecutor() as threads:  # zlib lets go of the interpreter
            for path, crc in zip(leaves, threads.map(_crc, map(_on_host, leaves.values())), strict=True):
                signatures[path].append(crc)
    return signatures


def _on_host(leaf: jax.Array) -> np.ndarray:
    """A leaf, whole, in this process' memory; on a CPU it is not copied."""
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return np.asarray(leaf)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(leaf, tiled=True)


def _crc(leaf: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(leaf))


def _remove_superseded(directory: pathlib.Path, there: list[int]) -> None:
    """Makes room for one more: removes all but the newest `KEEP - 1`, which are on the disk, and the best."""
    kept = {*there[-(KEEP - 1) :], best_step(directory)}
    for step in there:
        if step not in kept:
            # By another name first: killed half-way, it leaves nothing that looks like a checkpoint.
            removed = directory / f"{step}{_REMOVED}"
            (directory / str(step)).replace(removed)
            _remove(removed)


def _set_aside(folder: pathlib.Path) -> pathlib.Path:
    """Renames a damaged checkpoint to `<step>.damaged`, or `<step>.damaged-2` and so on where that is taken."""
    names = [f"{folder.name}{_DAMAGED}", *(f"{folder.name}{_DAMAGED}-{i}" for i in range(2, 1000))]
    free = next(folder.with_name(name) for name in names if not os.path.lexists(folder.with_name(name)))
    return folder.rename(free)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextlib.contextmanager
def _told(directory: pathlib.Path) -> Iterator[None]:
    """Tells an error of writing as one: what there is to go on from, and what to do.

    Raises:
      UnwrittenError: for any error in the context.
    """
    try:
        yield
    except Exception as error:  # Orbax and TensorStore raise many kinds
        there = steps(directory)
        kept = f"the newest that is whole is step {there[-1]}" if there else "there is none yet"
        full = "RESOURCE_EXHAUSTED" in str(error) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if full else " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UnwrittenError(f"a checkpoint in {directory} could not be written ({why}); {kept}") from error


def _flush(path: pathlib.Path) -> None:
    """Makes the system put a file or a folder on the disk, where it can."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that has no such thing
            raise
    finally:
        os.close(handle)
