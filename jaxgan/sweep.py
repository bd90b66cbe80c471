"""A sweep: every combination of some options with every seed, trained as one program and measured."""

import functools
import itertools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from jaxgan import checkpoint, monitor, population, preflight, progress, report, run, summary
from jaxgan.data import Data
from jaxgan.errors import InputError
from jaxgan.evaluation import Wanted
from jaxgan.experiment import Experiment

PyTree = Any
CONFIG = "sweep.json"
"""Name of the file that tells what is swept."""


def settings_of(swept: dict[str, Sequence[float]]) -> list[dict[str, float]]:
    """Every combination of the values of some options.

    >>> settings_of({"learning_rate": (1e-4, 2e-4), "gamma": (1.0,)})
    [{'learning_rate': 0.0001, 'gamma': 1.0}, {'learning_rate': 0.0002, 'gamma': 1.0}]
    """
    return [dict(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())]


def name_of(member: population.Member) -> str:
    """The run directory of a member: its setting and its seed."""
    return ",".join(f"{name}={value}" for name, value in [*member.setting.items(), ("seed", member.seed)])


def prepare(
    function: Callable[..., Experiment],
    path: str,
    options: dict[str, Any],
    swept: dict[str, Sequence[float]],
    workdir: pathlib.Path,
) -> tuple[list[Experiment], Data]:
    """Refuses whatever can be refused before anything compiles.

    Returns:
      The experiment of every setting, and the data of them all.

    Raises:
      InputError: when something given cannot be used.
    """
    for name, values in swept.items():
        if not all(isinstance(value, float) for value in values):
            raise InputError(f"option {name} takes one value: only an option that is a float can be swept")
        if len(set(values)) < len(values):
            raise InputError(f"option {name} is given a value twice: {', '.join(map(str, values))}")
    run.check_writable(workdir)
    there = {path.name for path in workdir.iterdir()}
    if there - set(run.LOCKS) and CONFIG not in there:
        raise InputError(f"{workdir} holds something else than a sweep: give it a --workdir of its own")
    try:
        experiments = [function(**options, **setting) for setting in settings_of(swept)]
    except ValueError as error:  # the game refuses its options
        raise InputError(f"{path}: {error}") from error
    data = experiments[0].data()
    preflight.check_memory(experiments[0], data, 0)
    batch = data.batch_at(0, 0)
    preflight.check_batch(experiments[0], data, batch, 1)
    first = options | {name: values[0] for name, values in swept.items()}
    for name, values in swept.items():
        _check_sweepable(lambda value, name=name: function(**first | {name: value}), name, values, batch)
    return experiments, data


def _check_sweepable(
    experiment_of: Callable[[Any], Experiment], name: str, values: Sequence[float], batch: PyTree
) -> None:
    """Tries a step with a number that is not known yet as an option, and the data with each of its values.

    Raises:
      InputError: when the experiment must know the number while it is built, or makes other data of it.
    """

    def play(value):
        gan, key = experiment_of(value).gan, jax.random.key(0)
        return gan.step(key, gan.init(key, batch), batch)

    try:
        jax.eval_shape(play, jax.ShapeDtypeStruct((), jnp.float32))
    except TypeError as error:  # of JAX, where Python is to decide or to compute by a traced number
        why = str(error).split(". ")[0].splitlines()[0]
        raise InputError(f"option {name} cannot be swept, the experiment must know it to be built: {why}") from error
    for value in values[1:]:
        other = experiment_of(value).data().batch_at(0, 0)
        if not jax.tree.all(jax.tree.map(np.array_equal, batch, other)):
            raise InputError(f"option {name} cannot be swept, it changes the data: members of a sweep share theirs")


def sweep(
    function: Callable[..., Experiment],
    path: str,
    options: dict[str, Any],
    swept: dict[str, Sequence[float]],
    *,
    seeds: int,
    steps: int,
    workdir: pathlib.Path,
    wanted: Wanted,
    checkpoint_every: int,
) -> dict[str, Any]:
    """Trains every member from where the directory stands, writes and measures it.

    A member is a setting of the swept options with a seed; its run directory is that of `jaxgan train` with these, and
    its figures are those of `jaxgan evaluate` there.

    Args:
      function: of the experiment file.
      path: the experiment file.
      options: all options but the swept ones.
      swept: the values of each option that is swept.
      seeds: number of seeds, from 0.
      steps: the step to reach.
      workdir: an empty directory, none yet, or one of the same sweep.
      wanted: what the evaluations measure.
      checkpoint_every: steps between checkpoints of all members together.

    Returns:
      What `results.json` holds then: every member, and for every setting the means over its seeds.

    Raises:
      InputError: when something given cannot be used, or the directory holds another sweep.
      UnwrittenError: when a checkpoint cannot be written.
      Stopped: when a signal has ended the sweep; it is saved.
    """
    experiments, data = prepare(function, path, options, swept, workdir)
    evaluate = experiments[0].evaluate(wanted)  # refuses before anything compiles; the data are the same for all
    batch = data.batch_at(0, 0)
    with run.locked(workdir):
        _begin(workdir, run.describe(path, options | swept | {"seeds": seeds}, 0, batch))
        settings = settings_of(swept)
        members = [population.Member(setting, seed) for setting in settings for seed in range(seeds)]
        gan_of = lambda setting: function(**options, **setting).gan  # noqa: E731
        folder = workdir / "checkpoints"
        with checkpoint.open_checkpoints(folder) as checkpoints:
            before = _newest(folder, lambda: population.shapes(gan_of, data, members))
            if before is not None and before.step > steps:
                raise InputError(f"{workdir} is at step {before.step}: expected --steps of at least as many")
            now = population.train(
                gan_of,
                data,
                members,
                steps,
                standing=before,
                keep=functools.partial(_keep, checkpoints),
                every=checkpoint_every,
            )

        def told(i, member):
            state = jax.tree.map(lambda v: np.asarray(v)[i], now.states)
            config = run.describe(path, options | member.setting, member.seed, batch)
            diverged = now.diverged.get(i)
            _write(workdir / name_of(member), config, state if diverged is None else None)
            about = {"directory": name_of(member), "setting": member.setting, "seed": member.seed}
            if diverged is not None:
                return about | {"diverged": dict(zip(("step", "metric"), diverged, strict=True))}
            experiment = experiments[settings.index(member.setting)]
            state = jax.device_put(state, jax.devices()[0])
            # The key of `jaxgan evaluate`, where no other seed is given.
            figures = report.measure(experiment, evaluate, jax.random.key(0), state, batch)
            return about | {"diverged": None, "metrics": now.metrics(i), "figures": figures}

        rows = [told(*pair) for pair in enumerate(members)]
        of_settings = [rows[i : i + seeds] for i in range(0, len(rows), seeds)]
        results = {
            "experiment": pathlib.Path(path).name,
            "options": options,
            "seeds": seeds,
            "steps": steps,
            "settings": list(map(summary.over_seeds, settings, of_settings)),
            "members": rows,
        }
        (workdir / "results.json").write_text(json.dumps(results, indent=2, allow_nan=False) + "\n")
        return results


def _begin(workdir: pathlib.Path, config: run.Run) -> None:
    """Writes what is swept, or compares it with what is there.

    Raises:
      InputError: when another sweep is there.
    """
    before = run.read(workdir, CONFIG)
    if before is None:
        run.write(workdir, config, CONFIG)
    else:
        run.check_same(workdir, before, config)


def _keep(checkpoints: checkpoint.Checkpoints, standing: population.Standing) -> None:
    """Writes a checkpoint of all members."""
    _, states, running, tail, diverged = standing
    note = {"diverged": [[member, *what] for member, what in diverged.items()]}
    checkpoint.save(checkpoints, standing.step, (states, running, tail), note)


def _newest(folder: pathlib.Path, shapes: Callable[[], tuple[PyTree, PyTree]]) -> population.Standing | None:
    """Where the newest sound checkpoint of all members stands, or None where there is none at all.

    Args:
      folder: of the checkpoints.
      shapes: of the states and metrics, asked for only where there is one: it traces the game.

    Raises:
      InputError: when none can be used.
    """
    found = checkpoint.restore_newest(folder, _template(*shapes()) if checkpoint.steps(folder) else (), set_aside=True)
    if found is None:
        return None
    try:
        diverged = {int(member): (int(step), str(metric)) for member, step, metric in found.note["diverged"]}
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"checkpoint {found.step} in {folder} is of no sweep: use another --workdir") from error
    states, running, tail = jax.device_get(found.state)
    return population.Standing(found.step, states, running, tail, diverged)


def _template(states: PyTree, metrics: PyTree) -> PyTree:
    """What a checkpoint of all members holds, as shapes on the first device."""
    place = SingleDeviceSharding(jax.devices()[0])
    members = jax.tree.leaves(metrics)[0].shape[0]
    running = jax.ShapeDtypeStruct((members,), np.bool_)
    tail = {name: jax.ShapeDtypeStruct((population.TAIL, members), v.dtype) for name, v in metrics.items()}
    return jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=place), (states, running, tail))


def _write(workdir: pathlib.Path, config: run.Run, state: PyTree | None) -> None:
    """A member's run directory: its configuration and, unless it diverged, its state, where none as new is there."""
    workdir.mkdir(exist_ok=True)
    run.write(workdir, config)
    if state is not None and max(checkpoint.steps(workdir / "checkpoints"), default=0) < int(state.step):
        with checkpoint.open_checkpoints(workdir / "checkpoints") as checkpoints:
            progress.save(checkpoints, config, state, progress.Progress(monitor.Sums({}, 0), 0, None))
