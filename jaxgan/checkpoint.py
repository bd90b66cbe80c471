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
import re
import shutil
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from jaxgan import leaves, processes, seal
from jaxgan.errors import DamagedError, InputError, UnwrittenError, shown

PyTree = Any
KEEP = 3
"""Number of newest checkpoints that a directory holds."""
_SIGNATURE = re.compile(r"\w+\[(\d+(, \d+)*)?\]", re.ASCII)
_UNFINISHED, _REMOVED, _DAMAGED = ".orbax-checkpoint-tmp", ".removed", ".damaged"
_RECORD = "record/metadata"


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints are written; `open_checkpoints` makes one.

    Attributes:
      directory: that holds them.
      writer: Orbax's, which writes one at a time, in the background.
      remover: a thread that removes older ones meanwhile; it takes as long as writing them did.
      removals: what that thread has still to do.
    """

    directory: pathlib.Path
    writer: ocp.AsyncCheckpointer
    remover: ThreadPoolExecutor
    removals: list[Future] = dataclasses.field(default_factory=list)

    def wait(self) -> None:
        """Waits until what is being written is whole and on the disk.

        Raises:
          UnwrittenError: when it could not be written.
        """
        with _told(self.directory):
            self.writer.wait_until_finished()
            while self.removals:
                self.removals.pop().result()
            seal.flush(self.directory)


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
        _remove_leftovers(directory)
    sealing = ocp.options.AsyncOptions(post_finalization_callback=lambda: _seal(directory))
    writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler(), async_options=sealing)
    with ThreadPoolExecutor(1) as remover:
        checkpoints = Checkpoints(directory, writer, remover)
        try:
            yield checkpoints
        finally:
            try:
                checkpoints.wait()
            finally:
                writer.close()
                with contextlib.suppress(OSError):  # the next process to open them will see to it
                    _remove_leftovers(directory)


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
        if processes.is_first():
            removed = _rename_superseded(checkpoints.directory, there)
            checkpoints.removals.extend(checkpoints.remover.submit(_remove, folder) for folder in removed)
            if shutil.disk_usage(checkpoints.directory).free < 2 * leaves.size(state):
                for removal in checkpoints.removals:
                    removal.result()
        record = {"step": step, "note": note, "best": best, "leaves": leaves.signatures(state, with_digest=True)}
        items = ocp.args.Composite(state=ocp.args.StandardSave(leaves.by_path(state)), record=ocp.args.JsonSave(record))
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
    with processes.agreed():
        record = _record(folder) if processes.is_first() else None
    record = processes.from_first(record)
    held, wanted = record["leaves"], leaves.signatures(template, with_digest=False)
    for leaf in sorted(held.keys() | wanted.keys()):
        there, here = held.get(leaf, ["nothing"])[0], wanted.get(leaf, ["nothing"])[0]
        if there != here:
            raise InputError(
                f"checkpoint {step} does not fit this architecture: {shown(leaf)} is {shown(there)} there, "
                f"{here} here; resume with the options it was made with, or use another --workdir"
            )
    with processes.agreed():
        if processes.is_first():
            seal.check(folder, leaves.size(template))
    with processes.agreed():
        found = _arrays(folder, leaves.by_path(template))
    state = jax.tree.unflatten(jax.tree.structure(template), [found[path] for path in leaves.by_path(template)])
    with processes.agreed():
        for leaf, signature in leaves.signatures(state, with_digest=True).items():
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
      UnwrittenError: when a damaged one cannot be renamed.
    """
    there = processes.from_first(steps(directory))
    for step in reversed(there):
        try:
            return restore(directory, step, template)
        except DamagedError as error:
            if processes.is_first():
                kept = directory / str(step)
                if set_aside:
                    with _told(directory):
                        kept = _set_aside(kept)
                print(f"{error}; it stays as {kept}, and an older one is taken", file=sys.stderr)
    damaged = len(there) or (len(list(directory.glob(f"*{_DAMAGED}*"))) if directory.is_dir() else 0)
    if damaged := processes.from_first(damaged):
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
        template = {}
        for leaf, (signature, _) in _record(folder)["leaves"].items():
            dtype, _, shape = signature.partition("[")
            lengths = tuple(int(length) for length in shape.rstrip("]").split(",") if length)
            try:
                template[leaf] = jax.ShapeDtypeStruct(lengths, dtype, sharding=place)
            except seal.BROKEN as error:
                raise DamagedError(f"checkpoint {step} is damaged: {shown(leaf)} is {signature}") from error
        restore(directory, step, template)
    except DamagedError as error:
        return str(error)
    return "sound"


def _record(folder: pathlib.Path) -> dict[str, Any]:
    """What stands in a checkpoint beside the state: its note, the best step, dtype, shape and digest of every leaf.

    Raises:
      DamagedError: when it is not what was written, or of another step, or missing.
    """
    sealed, path = seal.read(folder), folder / _RECORD
    try:
        content = path.read_bytes()
        if zlib.crc32(content) != sealed[_RECORD]:
            raise DamagedError(f"checkpoint {folder.name} is damaged: {folder.name}/{_RECORD} is not what was written")
        record = json.loads(content)
        sound = type(record["step"]) is int and isinstance(record["note"], dict) and record["leaves"]
        sound = sound and (record["best"] is None or type(record["best"]) is int)
        for signature, digest in record["leaves"].values():
            sound = sound and _SIGNATURE.fullmatch(signature) and type(digest) is int
    except seal.BROKEN as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"checkpoint {folder.name} is damaged: its record is none") from error
    if not sound:
        raise DamagedError(f"checkpoint {folder.name} is damaged: its record is none")
    if str(record["step"]) != folder.name:
        raise DamagedError(f"checkpoint {folder.name} is damaged: by its record it is step {record['step']}")
    return record


def _seal(directory: pathlib.Path) -> None:
    """Seals what is being written."""
    for folder in directory.glob(f"*{_UNFINISHED}*"):
        seal.write(folder)


def _arrays(folder: pathlib.Path, template: dict[str, Any]) -> dict[str, jax.Array]:
    """The arrays of a checkpoint, not yet compared with their digests."""
    with contextlib.closing(ocp.Checkpointer(ocp.CompositeCheckpointHandler())) as reader:
        try:
            return reader.restore(folder, ocp.args.Composite(state=ocp.args.StandardRestore(template)))["state"]
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise  # of this machine, not of the checkpoint
        except Exception as error:  # Orbax and TensorStore raise many kinds, a bare Exception among them
            why = f"checkpoint {folder.name} is damaged: its state cannot be read ({shown(error)})"
            raise DamagedError(why) from error


def _rename_superseded(directory: pathlib.Path, there: list[int]) -> list[pathlib.Path]:
    """Makes room for one more: all but the newest `KEEP - 1`, which are on the disk, and the best are to be removed.

    Returns:
      Their names now: killed while it removes them, a process leaves nothing that looks like a checkpoint.
    """
    kept = {*there[-(KEEP - 1) :], best_step(directory)}
    superseded = [directory / str(step) for step in there if step not in kept]
    return [folder.replace(f"{folder}{_REMOVED}") for folder in superseded]


def _remove_leftovers(directory: pathlib.Path) -> None:
    """Removes what could not be written to its end, or not be removed to its end."""
    if processes.is_first():
        for path in directory.iterdir():
            if _UNFINISHED in path.name or path.name.endswith(_REMOVED):
                _remove(path)


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
        why = "the disk is full" if full else shown(f"{type(error).__name__}: {error}")
        raise UnwrittenError(f"a checkpoint in {directory} could not be written ({why}); {kept}") from error
