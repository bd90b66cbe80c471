"""The command line: `jaxgan train | sample | evaluate EXPERIMENT.py --workdir DIR ...`."""

import contextlib
import dataclasses
import functools
import io
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal

import docstring_parser
import tyro

from jaxgan import experiment as experiments
from jaxgan import run
from jaxgan.errors import DivergedError, InputError


@dataclasses.dataclass(frozen=True)
class Train:
    """Train an experiment, or go on where its run directory stands.

    The run directory holds config.json, metrics.jsonl, samples/*.png, checkpoints/<step>/ and TensorBoard events. The
    same command resumes; the result is the same as if it had never stopped.
    """

    experiment: tyro.conf.Positional[str]
    """Python file with a function `experiment`; give it before --help to see its own options."""
    workdir: pathlib.Path
    """Run directory; made where it is missing."""
    steps: int
    """Step to reach (generator updates since the start, not further ones)."""
    seed: int = 0
    """Seed of everything random: weights, latents, data order."""
    lift: Literal["jit", "pmap", "mesh"] = "jit"
    """jit: one device; pmap, mesh: every device, the batch split among them."""
    checkpoint_every: int = 500
    """Steps between checkpoints; one is also written at the end."""
    log_every: int = 50
    """Steps between lines of metrics, each the mean over those steps."""
    sample_every: int = 500
    """Steps between pictures of samples, always of the same latents."""
    evaluate_every: int = 0
    """Steps between evaluations during training; 0: none."""
    target: str = ""
    """Stop when a line of metrics fulfils this, e.g. 'evaluate/modes>=8'."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """Write samples of a trained run to a file."""

    experiment: tyro.conf.Positional[str]
    """Python file that the run was trained with."""
    workdir: pathlib.Path
    """Run directory."""
    out: pathlib.Path
    """File to write: .png for one picture, .npy for the array of samples."""
    count: int = 64
    """Number of samples."""
    seed: int = 0
    """Seed of the latents; the first samples are the same for any count."""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Measure a trained run; the last line on standard output is one JSON object."""

    experiment: tyro.conf.Positional[str]
    """Python file that the run was trained with."""
    workdir: pathlib.Path
    """Run directory."""
    seed: int = 0
    """Seed of the latents."""


def option_fields(function: Callable) -> type:
    """A dataclass of an experiment's options: names, types and defaults of its keywords, help of its docstring."""
    helps = {p.arg_name: p.description for p in docstring_parser.parse(function.__doc__ or "").params}
    fields = [
        (name, Annotated[p.annotation, tyro.conf.arg(help=helps.get(name, ""))], dataclasses.field(default=p.default))
        for name, p in experiments.options(function).items()
    ]
    return dataclasses.make_dataclass("Options", fields, frozen=True)


def read_options(commands: Any, arguments: list[str]) -> Any:
    """What tyro reads of a command line; its complaints, which it frames over several lines, as one.

    Raises:
      InputError: for a command line that cannot be read.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(commands, prog="jaxgan", description="Train, sample and evaluate GANs.", args=arguments)
    except SystemExit as end:
        if not end.code:  # --help
            raise
        words = (line.strip("│─ ") for line in said.getvalue().splitlines() if not line.startswith(("╭", "╰")))
        raise InputError(" ".join(filter(None, words))) from end


def parse(arguments: list[str]) -> tuple[Any, Callable | None, dict[str, Any]]:
    """The command of a command line and, where it is to train, the experiment's function and options."""
    # The experiment says which options there are, so it is loaded before they are read.
    path = next((a for a in arguments[1:] if a.endswith(".py")), None)
    function = experiments.load(path) if arguments[:1] == ["train"] and path is not None else None
    offered = dataclasses.make_dataclass("Options", [], frozen=True) if function is None else option_fields(function)

    @dataclasses.dataclass(frozen=True)
    class TrainWithOptions:
        run: tyro.conf.OmitArgPrefixes[Train]
        experiment: tyro.conf.OmitArgPrefixes[offered]

    commands = (
        Annotated[TrainWithOptions, tyro.conf.subcommand("train", description=Train.__doc__.splitlines()[0])]
        | Annotated[Sample, tyro.conf.subcommand("sample")]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    )
    parsed = read_options(commands, arguments)
    if isinstance(parsed, TrainWithOptions):
        # Without an ending of .py the file was not looked for above; `load` says what is wrong with it.
        return parsed.run, function or experiments.load(parsed.run.experiment), dataclasses.asdict(parsed.experiment)
    return parsed, None, {}


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

    experiment, config, state = trained(command)
    key, batch = jax.random.key(command.seed), run.template_batch(config)
    figures = experiment.evaluate(functools.partial(train.draw, experiment, key, state, batch))
    about = {
        "experiment": config.experiment,
        "train_seed": config.seed,
        "step": int(state.step),
        "seed": command.seed,
    }
    print(json.dumps(about | figures, allow_nan=False))


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
    except InputError as error:
        print(f"jaxgan: {error}", file=sys.stderr)
        sys.exit(2)
    except DivergedError as error:
        print(f"jaxgan: diverged at {error}", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        print("jaxgan: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
