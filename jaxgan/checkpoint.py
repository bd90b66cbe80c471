"""Checkpoints of any pytree, through Orbax: what is restored is what was saved, leaf by leaf, or an error."""

import json
import pathlib
import zlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxgan.errors import InputError

PyTree = Any
KEEP = 3
"""Number of checkpoints that a run directory holds."""


def open_checkpoints(directory: pathlib.Path) -> ocp.CheckpointManager:
    """The checkpoints of a run, `directory/<step>/`; a context manager that waits for what is being written.

    Nothing is executed or guessed when a checkpoint is read: arrays are restored into a given structure.
    """
    options = ocp.CheckpointManagerOptions(max_to_keep=KEEP, cleanup_tmp_directories=True)
    return ocp.CheckpointManager(directory.absolute(), options=options)


def save(checkpoints: ocp.CheckpointManager, step: int, state: PyTree, note: dict) -> None:
    """Writes a state in the background, with a note and the shape, dtype and CRC-32 of every leaf.

    What is written is the leaves by their paths, not the nodes above them: so a state whose type has since been given
    a field that is empty here is the same state.

    Args:
      checkpoints: from `open_checkpoints`.
      step: its number; later than all that are there.
      state: pytree of arrays.
      note: what JSON can hold.

    Raises:
      RuntimeError: when the checkpoint was refused.
    """
    leaves = _signatures(jax.device_get(state), with_digest=True)
    record = {"note": note, "note_digest": _digest(note), "leaves": leaves}
    items = ocp.args.Composite(state=ocp.args.StandardSave(_by_path(state)), record=ocp.args.JsonSave(record))
    if not checkpoints.save(step, args=items):
        raise RuntimeError(f"checkpoint {step} was not written: {checkpoints.latest_step()} is there already")


def restore(checkpoints: ocp.CheckpointManager, step: int, template: PyTree) -> tuple[PyTree, dict]:
    """Reads a state into the structure, shapes, dtypes and shardings of a template, and its note.

    Args:
      checkpoints: from `open_checkpoints`.
      step: which one.
      template: pytree of `jax.ShapeDtypeStruct` (with shardings).

    Returns:
      The state and its note.

    Raises:
      InputError: when the checkpoint holds other leaves, shapes or dtypes than the template, or was damaged.
    """
    record = checkpoints.restore(step, args=ocp.args.Composite(record=ocp.args.JsonRestore()))["record"]
    damaged = f"checkpoint {step} is damaged: %s is not what was saved; remove that step to use an older one"
    if record["note_digest"] != _digest(record["note"]):
        raise InputError(damaged % "its note")
    held, wanted = record["leaves"], _signatures(template, with_digest=False)
    for leaf in sorted(held.keys() | wanted.keys()):
        there, here = held.get(leaf, ["nothing"])[0], wanted.get(leaf, ["nothing"])[0]
        if there != here:
            raise InputError(
                f"checkpoint {step} does not fit this architecture: {leaf} is {there} there, {here} here; "
                "resume with the options it was made with, or use another --workdir"
            )
    items = ocp.args.Composite(state=ocp.args.StandardRestore(_by_path(template)))
    found = checkpoints.restore(step, args=items)["state"]
    state = jax.tree.unflatten(jax.tree.structure(template), [found[path] for path in _by_path(template)])
    for leaf, signature in _signatures(jax.device_get(state), with_digest=True).items():
        if signature != held[leaf]:
            raise InputError(damaged % leaf)
    return state, record["note"]


def _by_path(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree by their paths, in their order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _signatures(tree: PyTree, *, with_digest: bool) -> dict[str, list]:
    """`[dtype and shape, CRC-32]` of every leaf, by its path."""
    return {
        path: [f"{leaf.dtype}{list(leaf.shape)}"] + ([zlib.crc32(np.ascontiguousarray(leaf))] if with_digest else [])
        for path, leaf in _by_path(tree).items()
    }


def _digest(note: dict) -> int:
    """CRC-32 of a note as JSON."""
    return zlib.crc32(json.dumps(note, sort_keys=True).encode())
