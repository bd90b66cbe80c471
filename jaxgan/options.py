"""What the command line takes: each command as a dataclass, its help the docstrings."""

import contextlib
import dataclasses
import io
import pathlib
from collections.abc import Callable
from typing import Annotated, Any, Literal

import docstring_parser
import tyro

from jaxgan import experiment as experiments
from jaxgan.errors import InputError
from jaxgan.evaluation import METRICS


@dataclasses.dataclass(frozen=True)
class Measures:
    """What an evaluation measures."""

    metrics: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            metavar="NAME ...",
            help=f"Any of {', '.join(METRICS)}; none: the usual ones, of pixels and, with an extractor, of features.",
        ),
    ] = ()
    extractor: Annotated[pathlib.Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File of a feature extractor: from `jaxgan extractor`, or InceptionV3's weights as .npz."""
    extractor_digest: str = ""
    """SHA-256 that this file must have."""
    samples: int = 0
    """Samples that an evaluation compares; 0: 10,000 images, or as many as are held out; 2,500 points."""


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
    measures: tyro.conf.OmitArgPrefixes[Measures] = Measures()
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
    measures: tyro.conf.OmitArgPrefixes[Measures] = Measures()


@dataclasses.dataclass(frozen=True)
class Extractor:
    """Train a small classifier of a labelled data set, whose features `evaluate` compares."""

    dataset: tyro.conf.Positional[str]
    """"digits", or the name of a tensorflow-datasets set with labels (mnist, fashion_mnist, ...)."""
    out: pathlib.Path
    """File to write: .npz with the weights, their accuracy on the test split and how they were made."""
    seed: int = 0
    """Seed of everything random."""
    data_dir: str = ""
    """Where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place."""
    manual_dir: str = ""
    """Folder of the official .gz files to prepare the set from; empty: download them."""


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
        | Annotated[Extractor, tyro.conf.subcommand("extractor")]
    )
    parsed = read_options(commands, arguments)
    if isinstance(parsed, TrainWithOptions):
        # Without an ending of .py the file was not looked for above; `load` says what is wrong with it.
        return parsed.run, function or experiments.load(parsed.run.experiment), dataclasses.asdict(parsed.experiment)
    return parsed, None, {}
