"""The command line: `jaxgan train | sample | evaluate EXPERIMENT.py --workdir DIR ...`, and `jaxgan extractor`."""

import functools
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from jaxgan import evaluation, features, run
from jaxgan import experiment as experiments
from jaxgan.errors import DivergedError, InputError
from jaxgan.options import Evaluate, Extractor, Measures, Sample, Train, parse


def wanted(measures: Measures) -> evaluation.Wanted:
    """What is asked of an evaluation, with the extractor read.

    Raises:
      InputError: for names or files that cannot be used.
    """
    if measures.samples < 0:
        raise InputError(f"--samples {measures.samples}: expected at least 1, or 0 for the usual number")
    extractor = None
    if measures.extractor is not None:
        extractor = features.load(measures.extractor, sha256=measures.extractor_digest)
    return evaluation.Wanted(measures.metrics, measures.samples, extractor)


def run_train(command: Train, function: Callable, options: dict[str, Any]) -> None:
    """`jaxgan train`."""
    from jaxgan import lift, preflight, train

    axis = {experiments.AXIS_OPTION: lift.AXIS} if command.lift == "pmap" else {}
    try:
        experiment = function(**options, **axis)
    except ValueError as error:  # the game refuses its options
        raise InputError(f"{command.experiment}: {error}") from error
    schedule = train.Schedule(command.log_every, command.sample_every, command.checkpoint_every, command.evaluate_every)
    if min(schedule[:3]) < 1 or schedule.evaluate < 0 or command.steps < 1:
        raise InputError("--steps, --log-every, --sample-every and --checkpoint-every: expected at least 1")
    if not 0 <= command.seed < 2**32:
        raise InputError(f"--seed {command.seed}: expected 0 to {2**32 - 1}")
    target = train.parse_target(command.target, schedule) if command.target else None
    if command.measures != Measures() and not schedule.evaluate:
        raise InputError("--metrics, --extractor and --samples are of evaluations: give --evaluate-every, in steps")
    measured = wanted(command.measures)
    config, data = preflight.prepare(
        experiment, command.experiment, options, command.workdir, seed=command.seed, lift_name=command.lift
    )
    train.train(
        experiment,
        config,
        data=data,
        workdir=command.workdir,
        steps=command.steps,
        lift_name=command.lift,
        schedule=schedule,
        wanted=measured,
        target=target,
    )


def trained(command: Sample | Evaluate) -> tuple[experiments.Experiment, run.Run, Any]:
    """Experiment, configuration and newest state of a run directory."""
    import jax
    from jax.sharding import SingleDeviceSharding

    from jaxgan import checkpoint, train

    config = run.read(command.workdir)
    if config is None:
        raise InputError(f"{command.workdir} holds no run (no config.json): train one with jaxgan train")
    if config.experiment != pathlib.Path(command.experiment).name:
        raise InputError(f"{command.workdir} holds a run of {config.experiment}, not of {command.experiment}")
    function = experiments.load(command.experiment)
    unknown = config.options.keys() - experiments.options(function).keys()
    if unknown:
        raise InputError(f"{command.experiment} has no option {sorted(unknown)}, which the run was made with")
    experiment = function(**config.options)
    batch = run.template_batch(config)
    with checkpoint.open_checkpoints(command.workdir / "checkpoints") as checkpoints:
        state, _ = train.restore(checkpoints, experiment, batch, SingleDeviceSharding(jax.devices()[0]))
    return experiment, config, state


def run_sample(command: Sample) -> None:
    """`jaxgan sample`."""
    import jax
    import numpy as np

    from jaxgan import render, train

    if command.out.suffix not in (".png", ".npy") or command.count < 1:
        raise InputError(
            f"--out {command.out} --count {command.count}: expected a .png or .npy file and a count of at least 1"
        )
    experiment, config, state = trained(command)
    key, batch = jax.random.key(command.seed), run.template_batch(config)
    samples = train.draw(experiment, key, state, batch, command.count)
    try:
        if command.out.suffix == ".npy":
            np.save(command.out, samples)
        else:
            command.out.write_bytes(render.png(experiment.picture(samples)))
    except OSError as error:
        raise InputError(f"--out {command.out} cannot be written: {error.strerror}") from error
    print(f"{command.count} samples of step {int(state.step)} written to {command.out}", file=sys.stderr)


def run_evaluate(command: Evaluate) -> None:
    """`jaxgan evaluate`."""
    import jax

    from jaxgan import train

    measured = wanted(command.measures)
    experiment, config, state = trained(command)
    key, batch = jax.random.key(command.seed), run.template_batch(config)
    figures = experiment.evaluate(measured)(functools.partial(train.draw, experiment, key, state, batch))
    about = {
        "experiment": config.experiment,
        "train_seed": config.seed,
        "step": int(state.step),
        "seed": command.seed,
    }
    print(json.dumps(about | figures, allow_nan=False))


def run_extractor(command: Extractor) -> None:
    """`jaxgan extractor`."""
    from jaxgan.features import classifier, recipe

    if command.out.suffix != ".npz" or not command.out.parent.is_dir():
        raise InputError(f"--out {command.out}: expected a .npz file in a folder that is there")
    trained = recipe.train(
        command.dataset,
        seed=command.seed,
        data_dir=command.data_dir,
        manual_dir=command.manual_dir,
        say=functools.partial(print, file=sys.stderr),
    )
    digest = classifier.save(trained, command.out)
    print(json.dumps({"extractor": str(command.out), "digest": digest} | trained.about))


def main() -> None:
    """Runs the command line; what the user gave wrong ends in one line and exit code 2, divergence in 3."""
    try:
        command, function, options = parse(sys.argv[1:])
        match command:
            case Train():
                run_train(command, function, options)
            case Sample():
                run_sample(command)
            case Evaluate():
                run_evaluate(command)
            case Extractor():
                run_extractor(command)
    except InputError as error:
        print(f"jaxgan: {error}", file=sys.stderr)
        sys.exit(2)
    except DivergedError as error:
        print(f"jaxgan: diverged at {error}", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        print("jaxgan: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
