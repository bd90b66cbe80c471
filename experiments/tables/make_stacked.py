"""The table of Stacked MNIST: sweeps, what they came to beside what is published, samples.

    jaxgan extractor mnist --out cnn-mnist.npz
    python experiments/tables/make_stacked.py --workdir runs/stacked --extractor cnn-mnist.npz    # hours, goes on

Each row is `jaxgan sweep experiments/tables/stacked_mnist.py --method METHOD --steps STEPS --seeds SEEDS --extractor
FILE`, and can be made alone. The directory then holds table.md and table.json, and a picture of samples of each row's
first seed (METHOD.png).
"""

import dataclasses
import json
import pathlib
import sys

import tabulate
import tyro

from jaxgan import startup

EXPERIMENT = tabulate.HERE / "stacked_mnist.py"
UPDATES = {"plain": 2, "packed": 2, "penalised": 1}
"""Updates of the generator in a step."""
PUBLISHED = {"plain": "78.9 +- 6.5, 4.50 +- .13 (200,000)", "packed": "1000.0 +- 0.0, .06 +- .003 (200,000)"}
"""Modes, reverse KL and updates of the generator: Lin et al. 2018, https://arxiv.org/abs/1712.04086, Table 2, ten
trials, standard errors; its code moves the generator twice in each of 100,000 steps."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The table of Stacked MNIST; the same command goes on where it was stopped."""

    workdir: pathlib.Path
    """Directory of all sweeps, the table and its pictures."""
    extractor: pathlib.Path
    """Classifier of single digits, from `jaxgan extractor mnist`."""
    methods: tuple[str, ...] = ("penalised", "plain", "packed")
    """Which methods, in the order in which they are run."""
    seeds: int = 3
    """Seeds of each row."""
    steps: int = 20_000
    """Steps of each row."""
    data_dir: str = ""
    """Where the prepared MNIST lies; empty: $TFDS_DATA_DIR or its usual place."""
    width: int = 64
    """Feature maps of the discriminators' first layers."""


def main(arguments: Arguments) -> None:
    """Makes whatever rows are missing, then the table."""
    for method in arguments.methods:
        make(arguments, method)
        tell(arguments)


def make(arguments: Arguments, method: str) -> None:
    """A row: what the sweep came to, and samples of its first seed."""
    given = ("--method", method, "--width", arguments.width, "--data-dir", arguments.data_dir)
    given += ("--annealed", arguments.steps) if method == "penalised" else ()
    folder = arguments.workdir / method
    trained = ("--steps", arguments.steps, "--seeds", arguments.seeds, "--extractor", arguments.extractor)
    results = tabulate.swept(folder / "end.json", EXPERIMENT, folder, *trained, *given)
    first = next((member for member in results["members"] if member["diverged"] is None), None)
    if first is not None:
        out = ("--count", 64, "--out", arguments.workdir / f"{method}.png")
        tabulate.run("sample", EXPERIMENT, "--workdir", folder / first["directory"], *out)


def tell(arguments: Arguments) -> None:
    """Writes the table of the rows that there are."""
    ends = {path.parent.name: json.loads(path.read_text()) for path in sorted(arguments.workdir.glob("*/end.json"))}
    lines, told = [], []
    for method, row in ends.items():
        means = row["settings"][0]["means"]
        lines.append(
            [
                method,
                f"{row['steps'] * UPDATES[method]:,}",
                f"{row['hours']:.2g}",
                f"{row['settings'][0]['finished']} of {row['seeds']}",
                tabulate.spread(means.get("modes"), ".4g"),
                tabulate.spread(means.get("reverse_kl")),
                PUBLISHED.get(method, "-"),
            ]
        )
        told += [member["figures"] for member in row["members"] if member["diverged"] is None]
    heading = ["method", "updates of the generator", "hours", "finished", "modes", "reverse KL", "published"]
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
    print(table, file=sys.stderr)


if __name__ == "__main__":
    startup.prepare()
    main(tyro.cli(Arguments, description=__doc__.splitlines()[0]))
