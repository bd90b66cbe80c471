"""A command line read: the command, with the options of the experiment that it names."""

import contextlib
import dataclasses
import functools
import inspect
import io
import math
import operator
import pathlib
from collections.abc import Callable
from typing import Annotated, Any

import docstring_parser
import tyro

from jaxgan import experiment as experiments
from jaxgan.commands import Benchmark, Doctor, Evaluate, Extractor, Measures, Sample, Sweep, Train
from jaxgan.errors import InputError


def as_declared(option: inspect.Parameter) -> inspect.Parameter:
    """The option of an experiment, of the type and with the default of its function."""
    return option


def as_list(option: inspect.Parameter) -> inspect.Parameter:
    """A number as a tuple of numbers, given with commas between them; any other option as it is declared."""
    if option.annotation not in (int, float):
        return option
    spec = tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=option.annotation.__name__.upper() + (",..." if option.annotation is float else ""),
        instance_from_str=lambda given: tuple(map(option.annotation, given[0].split(","))),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(map(str, value))],
    )
    numbers = Annotated[tuple[option.annotation, ...], spec]
    return option.replace(annotation=numbers, default=(option.annotation(option.default),))


# The commands that take an experiment's own options beside theirs, and how each reads one: as an option that may be
# `option.replace(annotation=..., default=...)`, any type that tyro knows.
OFFERING: dict[str, tuple[type, Callable[[inspect.Parameter], inspect.Parameter]]] = {
    "train": (Train, as_declared),
    "sweep": (Sweep, as_list),
    "benchmark": (Benchmark, as_declared),
}


def option_fields(function: Callable, read: Callable[[inspect.Parameter], inspect.Parameter]) -> type:
    """A dataclass of an experiment's options, each as `read` has it; their help is the function's docstring."""
    helps = {p.arg_name: p.description for p in docstring_parser.parse(function.__doc__ or "").params}
    fields = [
        (
            p.name,
            Annotated[p.annotation, tyro.conf.arg(help=helps.get(p.name, ""))],
            dataclasses.field(default=p.default),
        )
        for p in map(read, experiments.options(function).values())
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


def offering(name: str, function: Callable | None) -> Any:
    """The subcommand of `OFFERING` for tyro: fields `run` and `experiment`, the latter empty without an experiment.

    Raises:
      InputError: when the experiment has an option of a name that the command has.
    """
    command, read = OFFERING[name]
    taken = {field.name for part in (command, Measures) for field in dataclasses.fields(part)}
    for option in () if function is None else experiments.options(function):
        if option in taken:
            raise InputError(f"option {option!r} of 'experiment' is one of the commands' own: give it another name")
    options = dataclasses.make_dataclass("Options", []) if function is None else option_fields(function, read)
    fields = [("run", tyro.conf.OmitArgPrefixes[command]), ("experiment", tyro.conf.OmitArgPrefixes[options])]
    whole = dataclasses.make_dataclass(command.__name__, fields, frozen=True)
    return Annotated[whole, tyro.conf.subcommand(name, description=command.__doc__.splitlines()[0])]


def check(command: Any) -> None:
    """Refuses values that no option has a use for.

    Raises:
      InputError: for a number that is not finite or takes more than 32 bits, or a text that cannot be printed.
    """
    for field in dataclasses.fields(command):
        given = getattr(command, field.name)
        if dataclasses.is_dataclass(given):
            check(given)
        option = f"--{field.name.replace('_', '-')}"
        for value in given if isinstance(given, tuple) else (given,):
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{option} {value}: expected a finite number")
            if isinstance(value, int) and not -(2**31) <= value < (2**32 if field.name == "seed" else 2**31):
                raise InputError(f"{option}: expected a number of 32 bits, got one of {value.bit_length()}")
            if isinstance(value, pathlib.Path) and max(map(len, [*value.parts, ""])) > 255:
                raise InputError(f"{option}: expected a path with names of at most 255 characters, got a longer one")
            if isinstance(value, str | pathlib.Path) and not str(value).isprintable():
                raise InputError(f"{option} {ascii(str(value))}: expected a text that can be printed")


def parse(arguments: list[str]) -> tuple[Any, Callable | None, dict[str, Any]]:
    """The command of a command line and, where it is one of `OFFERING`, the experiment's function and options."""
    # The experiment says which options there are, so it is loaded before they are read.
    path = next((a for a in arguments[1:] if a.endswith(".py")), None)
    offers = bool(arguments) and arguments[0] in OFFERING
    function = experiments.load(path) if offers and path is not None else None
    commands = [offering(name, function) for name in OFFERING]
    commands += [
        Annotated[Sample, tyro.conf.subcommand("sample")],
        Annotated[Evaluate, tyro.conf.subcommand("evaluate")],
        Annotated[Extractor, tyro.conf.subcommand("extractor")],
        Annotated[Doctor, tyro.conf.subcommand("doctor")],
    ]
    parsed = read_options(functools.reduce(operator.or_, commands), arguments)
    for part in (parsed.run, parsed.experiment) if offers else (parsed,):
        check(part)
    if offers:
        # Without an ending of .py the file was not looked for above; `load` says what is wrong with it.
        return parsed.run, function or experiments.load(parsed.run.experiment), dataclasses.asdict(parsed.experiment)
    return parsed, None, {}
