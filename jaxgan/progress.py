"""Where a run stands: its state and what goes with it into a checkpoint, and back."""

import pathlib
from typing import Any, NamedTuple

import jax

from jaxgan import checkpoint, guard, monitor, processes, run
from jaxgan.errors import DivergedError, InputError
from jaxgan.experiment import Experiment
from jaxgan.schedule import Best

PyTree = Any
_BEST = ((int,), (int, float), (str,), (str,))
_NO_NOTE = "checkpoint {} does not tell of a run: remove it, or use another --workdir"


class Progress(NamedTuple):
    """What a run has to remember beside its state.

    Attributes:
      sums: of metrics since the last line; a checkpoint's are from before the line of its step.
      skips: steps in a row, up to the last, that left the finite numbers and were not taken.
      best: of the best evaluation, as of `schedule.Best`, or None.
    """

    sums: monitor.Sums
    skips: int
    best: list | None

    def told(self, step: int, values: dict[str, Any], best: Best | None) -> "Progress":
        """After the line of a step: it begins new sums where it told the old ones, and it may be the best."""
        if any(name.startswith("generator/") or name == "skipped_steps" for name in values):
            self = self._replace(sums=monitor.Sums({}, 0))
        return self._replace(best=best.of(self.best, step, values)) if best is not None else self


def newest(
    experiment: Experiment, config: run.Run, workdir: pathlib.Path, sharding: PyTree, *, set_aside: bool = False
) -> checkpoint.Restored | None:
    """The newest sound checkpoint of a run directory, or None where there is none at all.

    Args:
      experiment: whose state it is.
      config: of the run.
      workdir: the run directory.
      sharding: where the state is to lie, or one for each leaf.
      set_aside: as of `checkpoint.restore_newest`.

    Raises:
      InputError: as of `checkpoint.restore_newest`, or when it is of another run.
    """
    folder = workdir / "checkpoints"
    found = checkpoint.restore_newest(folder, template(experiment, config, sharding), set_aside=set_aside)
    with processes.agreed():
        if found is not None and processes.is_first():
            run.check_same(folder / str(found.step), noted(found)[0], config)
    return found


def noted(found: checkpoint.Restored) -> tuple[run.Run, Progress]:
    """The configuration that a checkpoint is of, and where that run stood.

    Raises:
      InputError: when its note tells of none.
    """
    note = found.note
    try:
        config, standing = (
            run.Run(**note["config"]),
            Progress(monitor.Sums(**note["sums"]), note["skips"], note["best"]),
        )
        run.check_kinds(config)
        sums, best = standing.sums, standing.best
        sound = all(type(number) is int for number in (standing.skips, sums.count, sums.skipped))
        sound &= all(type(total) is float for total in sums.totals.values())
        sound &= best is None or [type(value) in kinds for value, kinds in zip(best, _BEST, strict=True)] == [True] * 4
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(_NO_NOTE.format(found.step)) from error
    if not sound:
        raise InputError(_NO_NOTE.format(found.step))
    return config, standing


def template(experiment: Experiment, config: run.Run, sharding: PyTree) -> PyTree:
    """Shapes, dtypes and shardings (one, or one for each leaf) of a run's state."""
    shapes = jax.eval_shape(experiment.gan.init, jax.random.key(0), run.template_batch(config))
    return jax.tree.map(
        lambda v, where: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=where),
        shapes,
        jax.tree.broadcast(sharding, shapes),
    )


def start(
    experiment: Experiment, config: run.Run, workdir: pathlib.Path, key: jax.Array, sharding: PyTree
) -> tuple[PyTree, Progress]:
    """The state that a run goes on from and where it stands: the newest sound checkpoint's, or a new one.

    Raises:
      InputError: when there are checkpoints and none can be used, or the one that can is of another run.
    """
    found = newest(experiment, config, workdir, sharding, set_aside=True)
    if processes.is_first() and not (workdir / "config.json").exists():
        run.write(workdir, config)
    if found is None:
        init = jax.jit(experiment.gan.init, out_shardings=sharding)
        return init(key, run.template_batch(config)), Progress(monitor.Sums({}, 0), 0, None)
    return found.state, noted(found)[1]


def save(checkpoints: checkpoint.Checkpoints, config: run.Run, state: PyTree, progress: Progress) -> None:
    """Writes a checkpoint of a state.

    Raises:
      DivergedError: when the state is not finite; the checkpoints stay as they are.
      UnwrittenError: when it cannot be written, or the one before could not.
    """
    step, leaf = int(state.step), guard.first_nonfinite(state)
    if leaf is not None:
        raise DivergedError(f"step {step}: {leaf} is not finite; {kept(checkpoints)}; try a lower learning rate")
    note = {"config": config._asdict(), "sums": progress.sums._asdict(), "skips": progress.skips, "best": progress.best}
    checkpoint.save(checkpoints, step, state, note, best=progress.best and progress.best[0])


def kept(checkpoints: checkpoint.Checkpoints) -> str:
    """What there is to go on from, in words."""
    checkpoints.wait()
    there = checkpoint.steps(checkpoints.directory)
    return f"the last checkpoint is step {there[-1]}" if there else "there is no checkpoint"
