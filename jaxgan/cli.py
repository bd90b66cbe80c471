"""The command line, `jaxgan COMMAND ...`: each is a dataclass of `commands`, and a function here or in `results`."""

import contextlib
import functools
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from jaxgan import experiment as experiments
from jaxgan import processes, run, startup, watchdog
from jaxgan.commands import Benchmark, Doctor, Evaluate, Extractor, Measures, Sample, Sweep, Train
from jaxgan.errors import DamagedError, DivergedError, InputError, Stopped, UnwrittenError, shown, tell
from jaxgan.options import parse
from jaxgan.results import run_evaluate, run_sample, wanted


def check_seed(seed: int) -> None:
    """Refuses what is no seed of everything random.

    Raises:
      InputError: when it is negative, or takes more than 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise InputError(f"--seed {seed}: expected 0 to {2**32 - 1}")


def made(command: Train | Benchmark, function: Callable, options: dict[str, Any]) -> experiments.Experiment:
    """The experiment with the options given, for the lift of the command.

    Raises:
      InputError: when the game refuses its options.
    """
    from jaxgan import lift

    axis = {experiments.AXIS_OPTION: lift.AXIS} if command.lift == "pmap" else {}
    try:
        return function(**options, **axis)
    except ValueError as error:
        raise InputError(f"{command.experiment}: {error}") from error


def run_train(command: Train, function: Callable, options: dict[str, Any]) -> None:
    """`jaxgan train`."""
    from jaxgan import preflight, schedule, train

    processes.join(command.coordinator, command.processes, command.process, command.lift)
    startup.use_devices(command.devices, command.lift)
    when = schedule.Schedule(command.log_every, command.sample_every, command.checkpoint_every, command.evaluate_every)
    if min(when[:3], default=0) < 1 or when.evaluate < 0 or command.steps < 1 or command.most_skips < 1:
        names = "--steps, --log-every, --sample-every, --checkpoint-every and --most-skips"
        raise InputError(f"{names}: expected at least 1, and --evaluate-every at least 0")
    check_seed(command.seed)
    target = schedule.parse_target(command.target, when) if command.target else None
    best = schedule.parse_best(command.keep_best, when)
    if command.measures != Measures() and not when.evaluate:
        raise InputError("--metrics, --extractor and --samples are of evaluations: give --evaluate-every, in steps")
    if command.stall_seconds <= 0:
        raise InputError(f"--stall-seconds {command.stall_seconds:g}: expected a positive number")
    with contextlib.ExitStack() as held, watchdog.lost():
        with processes.agreed():
            experiment, measured = made(command, function, options), wanted(command.measures)
            if processes.is_first():
                run.check_writable(command.workdir)
                held.enter_context(run.locked(command.workdir))
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
            schedule=when,
            wanted=measured,
            target=target,
            best=best,
            most_skips=command.most_skips,
            stall_seconds=command.stall_seconds,
        )


def run_benchmark(command: Benchmark, function: Callable, options: dict[str, Any]) -> None:
    """`jaxgan benchmark`."""
    import jax

    from jaxgan import benchmark, comparison, hardware, preflight

    if command.steps < 1 or command.scan < 1:
        raise InputError("--steps and --scan: expected at least 1")
    check_seed(command.seed)
    before = comparison.read(command.compare) if command.compare is not None else None
    startup.use_devices(command.devices, command.lift)
    experiment, plain = made(command, function, options), function(**options)
    data = experiment.data()
    preflight.check_memory(experiment, data, command.seed)
    batch = data.batch_at(command.seed, 0)
    devices = 1 if command.lift == "jit" else jax.device_count()
    preflight.check_batch(experiment, data, batch, devices)
    about = run.describe(command.experiment, options, command.seed, batch)._asdict() | hardware.describe()
    figures = benchmark.measure(
        experiment.gan,
        plain.gan,
        data,
        seed=command.seed,
        lift_name=command.lift,
        scan=command.scan,
        steps=command.steps,
        dtype="bfloat16" if options.get("precision") == "bfloat16" else "float32",
    )
    now = about | figures
    for difference in comparison.differences(before, now) if before else []:
        print(f"not the same as in {command.compare}: {difference}", file=sys.stderr)
    print(comparison.table(now, before))
    print(json.dumps(now, allow_nan=False))


def run_sweep(command: Sweep, function: Callable, options: dict[str, Any]) -> None:
    """`jaxgan sweep`."""
    from jaxgan import population, summary, sweep

    if min(command.steps, command.seeds, command.checkpoint_every) < 1:
        raise InputError("--steps, --seeds and --checkpoint-every: expected at least 1")
    numbers = {name for name, option in experiments.options(function).items() if option.annotation in (int, float)}
    swept = {name: options[name] for name in options if name in numbers and len(options[name]) > 1}
    fixed = {name: v[0] if name in numbers else v for name, v in options.items() if name not in swept}
    startup.use_all_cores(command.seeds * math.prod(map(len, swept.values())))
    results = sweep.sweep(
        function,
        command.experiment,
        fixed,
        swept,
        seeds=command.seeds,
        steps=command.steps,
        workdir=command.workdir,
        wanted=wanted(command.measures),
        checkpoint_every=command.checkpoint_every,
    )
    print(summary.table(results["settings"], command.seeds, min(population.TAIL, command.steps)))
    print(json.dumps(results, allow_nan=False))


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


def run_doctor(command: Doctor) -> None:
    """`jaxgan doctor`."""
    from jaxgan import doctor

    startup.use_devices(command.devices, "mesh")
    bad = 0
    for finding in doctor.examine(command.workdir, command.data_dir):
        print(doctor.told(finding), flush=True)
        bad += finding.verdict == "bad"
    if bad:
        raise InputError(f"{bad} of these will not do")


def main() -> None:
    """Runs the command line; one line and an exit code tell how it ended.

    0: done; 2: what was given cannot be used; 3: training left the finite numbers; 4: a checkpoint could not be
    written; 5: of several processes one is gone, or all stand still; 128 and a signal's number: it ended the command, a
    run after everything was saved. 134 is jax's own end, with several lines, where it hears nothing from a process for
    `processes.HEARTBEAT_SECONDS` that the others do not miss before.
    """
    try:
        startup.prepare()
        command, function, options = parse(sys.argv[1:])
        match command:
            case Train():
                run_train(command, function, options)
            case Benchmark():
                run_benchmark(command, function, options)
            case Sweep():
                run_sweep(command, function, options)
            case Sample():
                run_sample(command)
            case Evaluate():
                run_evaluate(command)
            case Extractor():
                run_extractor(command)
            case Doctor():
                run_doctor(command)
    except (InputError, DamagedError) as error:
        tell(shown(error, 2000))
        watchdog.leave(2)
    except DivergedError as error:
        tell(f"diverged at {error}")
        watchdog.leave(3)
    except UnwrittenError as error:
        tell(f"{error}; make room, and the same command goes on")
        watchdog.leave(4)
    except Stopped as stopped:
        watchdog.leave(128 + stopped.signal)
    except BrokenPipeError:  # whoever read what is printed has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        watchdog.leave(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        tell("interrupted; train and sweep go on from their last checkpoint")
        watchdog.leave(130)
