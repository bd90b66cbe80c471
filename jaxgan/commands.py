"""The commands of the command line, each as a dataclass of what it takes; their help is the docstrings."""

import dataclasses
import pathlib
from typing import Annotated, Literal

import tyro

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
    lift: Literal["jit", "pmap", "mesh", "fsdp"] = "jit"
    """jit: one device; pmap, mesh: every device, the batch split among them; fsdp: weights and optimisers as well."""
    devices: int = 0
    """Devices for the lift, of each process: a CPU is made to show so many; 0: those that there are."""
    coordinator: str = ""
    """Several processes, on one host or many: HOST:PORT where process 0 listens for the others, or auto: TPU pods,
    SLURM, Kubernetes and Open MPI tell. Empty: one process."""
    processes: int = 1
    """Number of processes, with --coordinator HOST:PORT."""
    process: int = 0
    """Which of them this is; process 0 writes the run directory, and all read and write its checkpoints."""
    stall_seconds: float = 600.0
    """Of several processes, each ends itself when no steps were finished for so long."""
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
    keep_best: Annotated[tuple[str, Literal["min", "max"]] | None, tyro.conf.arg(metavar="NAME min|max")] = None
    """Keep the checkpoint of the best evaluation beside the newest ones, e.g. evaluate/FD-pixels min."""
    most_skips: int = 10
    """Steps in a row that may leave the finite numbers, none of which is taken, before the run ends."""


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Time the training of an experiment on this machine; the last line on standard output is one JSON object."""

    experiment: tyro.conf.Positional[str]
    """Python file with a function `experiment`; give it before --help to see its own options."""
    steps: int = 250
    """Steps to time, after the first chunk of steps, which is not timed."""
    scan: int = 50
    """Steps in a chunk, which the host starts with one call; `jaxgan train` takes --log-every of them."""
    seed: int = 0
    """Seed of everything random."""
    lift: Literal["jit", "pmap", "mesh", "fsdp"] = "jit"
    """As of `jaxgan train`."""
    devices: int = 0
    """As of `jaxgan train`."""
    compare: Annotated[pathlib.Path | None, tyro.conf.arg(metavar="FILE.json")] = None
    """File with the output of a benchmark before; the table then has its figures too, and their ratio to these."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Train every combination of seeds and listed options as one program, and measure them.

    An option of the experiment that is a float takes a list, such as `--learning-rate 1e-4,2e-4`. The directory holds
    results.json and a run directory for each member, which train, sample and evaluate take. Standard output is a
    table, a row for each setting, and a last line that is one JSON object. The same command goes on where it was
    stopped, with the same results.
    """

    experiment: tyro.conf.Positional[str]
    """Python file with a function `experiment`; give it before --help to see its own options."""
    workdir: pathlib.Path
    """Directory of the sweep; made where it is missing."""
    steps: int
    """Step that every member is to reach (generator updates since the start, not further ones)."""
    seeds: int
    """Number of seeds: 0, 1, ..."""
    checkpoint_every: int = 1000
    """Steps between checkpoints of all members; one is also written at the end."""
    measures: tyro.conf.OmitArgPrefixes[Measures] = Measures()


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
    label: int | None = None
    """Class of all samples, of a conditional experiment; without it they are of one class after another."""
    truncation: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Better samples of less variety: how far from StyleGAN2's mean (1: as drawn), or where normal latents end."""
    interpolate: int = 0
    """Samples in a line from one latent to another, a row of the picture each; 0: samples of their own."""
    best: bool = False
    """Take the best checkpoint, of `jaxgan train --keep-best`, and not the newest."""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Measure a trained run; the last line on standard output is one JSON object."""

    experiment: tyro.conf.Positional[str]
    """Python file that the run was trained with."""
    workdir: pathlib.Path
    """Run directory."""
    seed: int = 0
    """Seed of the latents."""
    truncation: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """As of `jaxgan sample`."""
    best: bool = False
    """As of `jaxgan sample`."""
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


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Look at this machine and at a run directory: versions, devices, disk, data, and the state of every checkpoint.

    A line for each finding; the exit code is 0 where none is bad, else 2.
    """

    workdir: pathlib.Path | None = None
    """Run directory to look at, or where one would be."""
    data_dir: str = ""
    """Where prepared tensorflow-datasets sets lie; empty: $TFDS_DATA_DIR or their usual place."""
    devices: int = 0
    """As of `jaxgan train`."""
