"""The table of losses and penalties on MNIST or Fashion-MNIST: sweeps, what they came to, samples.

    jaxgan extractor mnist --out cnn-mnist.npz
    python experiments/tables/make_image_losses.py --workdir runs/mnist --extractor cnn-mnist.npz    # days, goes on

Each row is `jaxgan sweep experiments/tables/image_losses.py --method METHOD --steps STEPS --seeds SEEDS --extractor
FILE`, with or without `--tuned`, and can be made alone. The directory then holds table.md and table.json, and a picture
of 64 samples of each row's first seed (samples.png).
"""

import dataclasses
import json
import pathlib
import sys
from typing import Literal

import image_losses
import tabulate
import tyro

from jaxgan import startup

EXPERIMENT = tabulate.HERE / "image_losses.py"
PUBLISHED = {
    "mnist": {
        "minimax": "9.8 +- .9",
        "non-saturating": "6.8 +- .5",
        "least-squares": "7.8 +- .6",
        "wasserstein-clip": "6.7 +- .4",
        "wasserstein-penalty": "20.3 +- 5.0",
        "dragan": "7.6 +- .4",
    },
    "fashion_mnist": {
        "minimax": "29.6 +- 1.6",
        "non-saturating": "26.5 +- 1.6",
        "least-squares": "30.7 +- 2.2",
        "wasserstein-clip": "21.5 +- 1.6",
        "wasserstein-penalty": "24.5 +- 2.1",
        "dragan": "27.7 +- 1.2",
    },
}
"""FID, features of Inception, of the best of a hundred settings: Lucic et al. 2018, https://arxiv.org/abs/1711.10337."""
FIGURES = {
    "FD-pixels": "FD of pixels",
    "FD-{}": "FD",
    "KD-{}": "KID",
    "precision-{}": "precision",
    "recall-{}": "recall",
    "density-{}": "density",
    "coverage-{}": "coverage",
}
"""What a row tells, of features of the extractor that is named, and as what."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The table of losses and penalties on one set of images; the same command goes on where it was stopped."""

    workdir: pathlib.Path
    """Directory of all sweeps, the table and its pictures."""
    extractor: pathlib.Path
    """Classifier of the set's images, from `jaxgan extractor`."""
    dataset: str = "mnist"
    """Name of the set."""
    settings: tuple[Literal["default", "tuned"], ...] = ("default", "tuned")
    """Which settings, in the order in which they are run."""
    methods: tuple[Literal[tuple(image_losses.DEFAULT)], ...] = tuple(image_losses.DEFAULT)
    """Which methods, in the order in which they are run."""
    seeds: int = 3
    """Seeds of each row."""
    updates: int = 15_625
    """Updates of the discriminator in each row."""
    width: int = 64
    """Feature maps of the networks next to the images."""
    data_dir: str = ""
    """Where the prepared set lies; empty: $TFDS_DATA_DIR or its usual place."""


def main(arguments: Arguments) -> None:
    """Makes whatever rows are missing, then the table."""
    for setting in arguments.settings:
        for method in arguments.methods:
            make(arguments, setting, method)
            tell(arguments)


def make(arguments: Arguments, setting: str, method: str) -> None:
    """A row: what the sweep came to, and samples of its first seed."""
    given = ("--dataset", arguments.dataset, "--data-dir", arguments.data_dir, "--width", arguments.width)
    recipe = {"default": image_losses.DEFAULT, "tuned": image_losses.TUNED}[setting][method]
    steps = arguments.updates // recipe.critic_steps
    given += ("--method", method, *(("--tuned", "--annealed", steps) if setting == "tuned" else ()))
    folder = arguments.workdir / f"{setting}-{method}"
    trained = ("--steps", steps, "--seeds", arguments.seeds, "--extractor", arguments.extractor)
    results = tabulate.swept(folder / "end.json", EXPERIMENT, folder, *trained, *given)
    tabulate.sampled(results, EXPERIMENT, folder, 64, folder.with_suffix(".png"))


def tell(arguments: Arguments) -> None:
    """Writes the table of the rows that there are, and the picture of their samples."""
    order = [f"{setting}-{method}" for method in image_losses.DEFAULT for setting in ("default", "tuned")]
    ends = {name: arguments.workdir / name / "end.json" for name in order}
    rows = {name: json.loads(path.read_text()) for name, path in ends.items() if path.exists()}
    figures = [member["figures"] for row in rows.values() for member in tabulate.finished(row)]
    extractor = figures[0]["extractor"]["name"] if figures else ""
    names = {figure.format(extractor): heading for figure, heading in FIGURES.items()}
    published, lines = PUBLISHED.get(arguments.dataset, {}), []
    for name, row in rows.items():
        setting, method = name.split("-", 1)
        of_row = row["settings"][0]
        spreads = [tabulate.spread(of_row["means"].get(figure)) for figure in names]
        finished = f"{of_row['finished']} of {row['seeds']}"
        lines.append([method, setting, finished, f"{row['hours']:.2g}", *spreads, published.get(method, "-")])
    for end, images in (("_floor", "as many training images"), ("_ceiling", "noise")) if figures else ():
        lines.append([images, "-", "-", "-", *(f"{figures[0][figure + end]:.3g}" for figure in names), "-"])
    heading = ["method", "settings", "finished", "hours", *names.values(), "published FID"]
    table = tabulate.markdown(heading, lines)
    about = (
        f"{arguments.dataset}, {arguments.updates:,} updates of the discriminator, {arguments.width} feature maps. "
        "Features of the classifier, but for the first FD. Means over seeds, with standard errors."
    )
    (arguments.workdir / "table.md").write_text(f"{about}\n\n{table}")
    (arguments.workdir / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    pictures = [arguments.workdir / f"{name}.png" for name in rows]
    tabulate.beside([path for path in pictures if path.exists()], arguments.workdir / "samples.png", columns=3)
    print(table, file=sys.stderr)


if __name__ == "__main__":
    startup.prepare()
    main(tyro.cli(Arguments, description=__doc__.splitlines()[0]))
