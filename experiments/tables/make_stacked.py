"""The table of Stacked MNIST: sweeps, what they came to beside what is published, samples.

    jaxgan extractor mnist --out cnn-mnist.npz
    python experiments/tables/make_stacked.py --workdir runs/stacked --extractor cnn-mnist.npz    # days, goes on
    python experiments/tables/make_stacked.py --workdir runs/stacked --extractor cnn-mnist.npz --rows penalised quarter

Each row is `jaxgan sweep experiments/tables/FILE.py --method METHOD --steps STEPS --seeds SEEDS --extractor FILE`, and
can be made alone. The directory then holds table.md and table.json, a picture of samples of each row's first seed
(ROW.png), and how many of 26,000 samples each mode of it has (modes.png).
"""

import dataclasses
import json
import pathlib
import sys
from typing import Annotated, Literal, NamedTuple

import numpy as np
import tabulate
import tyro

from jaxgan import coverage, features, startup
from jaxgan import experiment as experiments

STACKED, SMALL = tabulate.HERE / "stacked_mnist.py", tabulate.HERE / "small_discriminator.py"
OFFERED = {path: experiments.options(experiments.load(str(path))) for path in (STACKED, SMALL)}
"""The options of each experiment."""
ANNEALED = OFFERED[STACKED]["annealed"].default
"""Steps that take the learning rate of `penalised` and `unpenalised` down."""


class Row(NamedTuple):
    """A row of the table.

    Attributes:
      experiment: its file.
      method: option of that.
      steps: how many.
      updates: of the generator in a step.
      published: modes, reverse KL, and updates of the generator where they are told.
    """

    experiment: pathlib.Path
    method: str
    steps: int
    updates: int = 1
    published: str = "-"


ROWS = {
    "penalised": Row(STACKED, "penalised", ANNEALED),
    "unpenalised": Row(STACKED, "unpenalised", ANNEALED),
    "plain": Row(STACKED, "plain", 100_000, 2, "78.9 +- 6.5, 4.50 +- .13 (200,000)"),
    "packed": Row(STACKED, "packed", 100_000, 2, "1000.0 +- 0.0, .06 +- .003 (200,000)"),
    "quarter": Row(SMALL, "plain", 10_000, 1, "30.6 +- 20.7, 5.99; 78.5 +- 17.6, 5.21"),
    "quarter-packed": Row(SMALL, "packed", 10_000, 1, "484.5 +- 33, 2.61"),
    "quarter-unrolled": Row(SMALL, "unrolled", 10_000, 1, "327.2 +- 74.7, 4.66"),
    "quarter-minibatch": Row(SMALL, "minibatch", 10_000),
    "quarter-penalised": Row(SMALL, "penalised", 10_000),
}
"""All rows; those of a small discriminator have a quarter of the generator's feature maps in it.

Published: Lin et al. 2018, https://arxiv.org/abs/1712.04086, Table 2 (ten trials, standard errors; its code moves the
generator twice in each of 100,000 steps) and 3 (fifty trials; the first figures of `quarter`, and those of ten unrolled
updates, are of Metz et al. 2016, https://arxiv.org/abs/1611.02163).
"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The table of Stacked MNIST; the same command goes on where it was stopped."""

    workdir: pathlib.Path
    """Directory of all sweeps, the table and its pictures."""
    extractor: pathlib.Path
    """Classifier of single digits, from `jaxgan extractor mnist`."""
    rows: tuple[Literal[tuple(ROWS)], ...] = tuple(ROWS)
    """Which rows, in the order in which they are run."""
    seeds: int = 3
    """Seeds of each row."""
    steps: Annotated[int, tyro.conf.arg(help="Steps of every row instead of its own; 0: its own.")] = 0
    data_dir: str = ""
    """Where the prepared MNIST lies; empty: $TFDS_DATA_DIR or its usual place."""
    width: int = 64
    """Feature maps at 14x14 pixels of all but the quarters."""


def main(arguments: Arguments) -> None:
    """Makes whatever rows are missing, then the table."""
    for name in arguments.rows:
        make(arguments, name, ROWS[name])
        tell(arguments)


def make(arguments: Arguments, name: str, row: Row) -> None:
    """A row: what the sweep came to, and samples of its first seed."""
    steps, folder = arguments.steps or row.steps, arguments.workdir / name
    trained = ("--steps", steps, "--seeds", arguments.seeds, "--extractor", arguments.extractor)
    wanted = {"method": row.method, "width": arguments.width, "annealed": steps, "data_dir": arguments.data_dir}
    given = [(f"--{key.replace('_', '-')}", wanted[key]) for key in wanted if key in OFFERED[row.experiment]]
    results = tabulate.swept(folder / "end.json", row.experiment, folder, *trained, *sum(given, ()))
    tabulate.sampled(results, row.experiment, folder, 64, arguments.workdir / f"{name}.png")
    samples, counts = folder / "samples.npy", folder / "counts.npy"
    if not counts.exists():
        tabulate.sampled(results, row.experiment, folder, coverage.STACKED, samples)
    if samples.exists():
        found = coverage.stacked_modes(features.load(arguments.extractor), np.load(samples))
        np.save(counts, np.bincount(found, minlength=1000))
        samples.unlink()


def tell(arguments: Arguments) -> None:
    """Writes the table of the rows that there are."""
    folders = {name: arguments.workdir / name for name in ROWS if (arguments.workdir / name / "end.json").exists()}
    ends = {name: json.loads((folder / "end.json").read_text()) for name, folder in folders.items()}
    lines, told = [], []
    for name, row in ends.items():
        means = row["settings"][0]["means"]
        lines.append(
            [
                name,
                f"{row['steps'] * ROWS[name].updates:,}",
                f"{row['hours']:.2g}",
                f"{row['settings'][0]['finished']} of {row['seeds']}",
                tabulate.spread(means.get("modes"), ".4g"),
                tabulate.spread(means.get("reverse_kl")),
                ROWS[name].published,
            ]
        )
        told += [member["figures"] for member in tabulate.finished(row)]
    heading = ["row", "updates of the generator", "hours", "finished", "modes", "reverse KL", "published"]
    floor = (
        f"As many stacked images of the data: {told[0]['modes_floor']} modes, reverse KL "
        f"{told[0]['reverse_kl_floor']:.3f}; the classifier is right on {told[0]['extractor']['accuracy']:.2%}. Means "
        "over seeds, with standard errors."
        if told
        else "No run finished."
    )
    table = tabulate.markdown(heading, lines)
    (arguments.workdir / "table.md").write_text(f"{floor}\n\n{table}")
    (arguments.workdir / "table.json").write_text(json.dumps(ends, indent=2) + "\n")
    counts = {name: folder / "counts.npy" for name, folder in folders.items()}
    counts = {name: np.load(path) for name, path in counts.items() if path.exists()}
    tabulate.shares(counts, arguments.workdir / "modes.png")
    print(table, file=sys.stderr)


if __name__ == "__main__":
    startup.prepare()
    main(tyro.cli(Arguments, description=__doc__.splitlines()[0]))
