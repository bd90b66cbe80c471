"""The commands on what a training has left: samples and figures of a run directory."""

import functools
import json
import pathlib
import sys
from typing import Any

from jaxgan import evaluation, features, run
from jaxgan import experiment as experiments
from jaxgan.commands import Evaluate, Measures, Sample
from jaxgan.errors import InputError


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


def trained(command: Sample | Evaluate) -> tuple[experiments.Experiment, run.Run, Any]:
    """Experiment, configuration and newest state of a run directory."""
    import jax
    from jax.sharding import SingleDeviceSharding

    from jaxgan import checkpoint, progress

    config = run.read(command.workdir)
    if config is None:
        raise InputError(f"{command.workdir} holds no run (no config.json): train one with jaxgan train")
    if config.experiment != pathlib.Path(command.experiment).name:
        raise InputError(f"{command.workdir} holds a run of {config.experiment}, not of {command.experiment}")
    function = experiments.load(command.experiment)
    run.check_options(command.experiment, config, experiments.options(function))
    experiment = function(**config.options)
    folder, place = command.workdir / "checkpoints", SingleDeviceSharding(jax.devices()[0])
    if command.best:
        step = checkpoint.best_step(folder)
        if step is None:
            raise InputError(f"{command.workdir} has no best checkpoint: train with --keep-best")
        found = checkpoint.restore(folder, step, progress.template(experiment, config, place))
    else:
        found = progress.newest(experiment, config, command.workdir, place)
    if found is None:
        raise InputError(f"no checkpoint in {folder}: train first")
    return experiment, config, found.state


def labelled(experiment: experiments.Experiment, label: int) -> experiments.Experiment:
    """An experiment whose samples are all of one class.

    Raises:
      InputError: when it has no such class.
    """
    import numpy as np

    classes = experiment.conditions
    if classes is None or not np.isin(label, classes):
        held = "its samples have none" if classes is None else f"expected 0 to {np.max(classes)}"
        raise InputError(f"--label {label}: no such class, {held}")
    return experiment._replace(conditions=np.full(1, label, classes.dtype))


def run_sample(command: Sample) -> None:
    """`jaxgan sample`."""
    import jax
    import numpy as np

    from jaxgan import render, sampling

    if command.out.suffix not in (".png", ".npy") or command.count < 1:
        raise InputError(
            f"--out {command.out} --count {command.count}: expected a .png or .npy file and a count of at least 1"
        )
    if command.interpolate and (command.interpolate < 2 or command.count % command.interpolate):
        raise InputError(
            f"--interpolate {command.interpolate} --count {command.count}: expected lines of at least 2 samples, and a "
            "count that they divide"
        )
    experiment, config, state = trained(command)
    if command.label is not None:
        experiment = labelled(experiment, command.label)
    if command.truncation is not None:
        experiment, state = sampling.truncate(experiment, state, command.truncation)
    key, batch, picture = jax.random.key(command.seed), run.template_batch(config), experiment.picture
    if command.interpolate:
        lines = command.count // command.interpolate
        samples = sampling.interpolate(experiment, key, state, batch, lines, command.interpolate)
        if samples.ndim == 4:
            picture = functools.partial(render.image_grid, columns=command.interpolate)
    else:
        samples = sampling.draw(experiment, key, state, batch, command.count)
    try:
        if command.out.suffix == ".npy":
            np.save(command.out, samples)
        else:
            command.out.write_bytes(render.png(picture(samples)))
    except OSError as error:
        raise InputError(f"--out {command.out} cannot be written: {error.strerror}") from error
    print(f"{command.count} samples of step {int(state.step)} written to {command.out}", file=sys.stderr)


def run_evaluate(command: Evaluate) -> None:
    """`jaxgan evaluate`."""
    import jax

    from jaxgan import report, sampling

    measured = wanted(command.measures)
    experiment, config, state = trained(command)
    if command.truncation is not None:
        experiment, state = sampling.truncate(experiment, state, command.truncation)
    key, batch = jax.random.key(command.seed), run.template_batch(config)
    figures = report.measure(experiment, experiment.evaluate(measured), key, state, batch)
    about = {
        "experiment": config.experiment,
        "train_seed": config.seed,
        "step": int(state.step),
        "seed": command.seed,
    }
    if command.truncation is not None:
        about["truncation"] = command.truncation
    print(json.dumps(about | figures, allow_nan=False))
