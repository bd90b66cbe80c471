"""A sweep: every combination of some options with every seed, trained as one program and measured."""

import itertools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import checkpoint, monitor, population, preflight, progress, report, run, summary
from jaxgan.data import Data
from jaxgan.errors import InputError
from jaxgan.evaluation import Wanted
from jaxgan.experiment import Experiment

PyTree = Any


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
    if any(path.name not in run.LOCKS for path in workdir.iterdir()):
        raise InputError(f"{workdir} holds something already: give a sweep a --workdir of its own")
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
) -> dict[str, Any]:
    """Trains, writes and measures every member.

    A member is a setting of the swept options with a seed; its run directory is that of `jaxgan train` with these, and
    its figures are those of `jaxgan evaluate` there.

    Args:
      function: of the experiment file.
      path: the experiment file.
      options: all options but the swept ones.
      swept: the values of each option that is swept.
      seeds: number of seeds, from 0.
      steps: the step to reach.
      workdir: an empty directory, or none yet.
      wanted: what the evaluations measure.

    Returns:
      What `results.json` holds then: every member, and for every setting the means over its seeds.

    Raises:
      InputError: when something given cannot be used.
    """
    experiments, data = prepare(function, path, options, swept, workdir)
    evaluate = experiments[0].evaluate(wanted)  # refuses before anything compiles; the data are the same for all
    with run.locked(workdir):
        settings = settings_of(swept)
        members = [population.Member(setting, seed) for setting in settings for seed in range(seeds)]
        outcomes = population.train(lambda setting: function(**options, **setting).gan, data, members, steps)
        batch = data.batch_at(0, 0)
        for member, outcome in zip(members, outcomes, strict=True):
            config = run.describe(path, options | member.setting, member.seed, batch)
            _write(workdir / name_of(member), config, outcome, steps)

        def told(member, outcome):
            about = {"directory": name_of(member), "setting": member.setting, "seed": member.seed}
            if outcome.diverged is not None:
                return about | {"diverged": dict(zip(("step", "metric"), outcome.diverged, strict=True))}
            experiment = experiments[settings.index(member.setting)]
            state = jax.device_put(outcome.state, jax.devices()[0])
            # The key of `jaxgan evaluate`, where no other seed is given.
            figures = report.measure(experiment, evaluate, jax.random.key(0), state, batch)
            return about | {"diverged": None, "metrics": outcome.metrics, "figures": figures}

        rows = [told(*pair) for pair in zip(members, outcomes, strict=True)]
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


def _write(workdir: pathlib.Path, config: run.Run, outcome: population.Outcome, steps: int) -> None:
    """A member's run directory: its configuration and, unless it diverged, its last state."""
    workdir.mkdir()
    run.write(workdir, config)
    if outcome.diverged is None:
        with checkpoint.open_checkpoints(workdir / "checkpoints") as checkpoints:
            progress.save(checkpoints, config, outcome.state, progress.Progress(monitor.Sums({}, 0), 0, None))
