"""What members of a sweep come to: means over seeds with their standard errors, and a table of them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

LOSSES = ("discriminator/loss", "generator/loss")
OF_DATA = ("samples", "_floor", "_ceiling", "_perfect")
"""Endings of figures that are the same for every member; the table leaves them out."""


class Mean(NamedTuple):
    """A figure over seeds: its mean, the standard error of that (None of one seed), and how many seeds have it."""

    mean: float
    standard_error: float | None
    count: int


def mean(values: Sequence[float]) -> Mean:
    """The mean of some numbers `x`, and its standard error `sqrt(sum (x - mean)^2 / (n - 1) / n)`.

    >>> mean([1.0, 3.0])
    Mean(mean=2.0, standard_error=1.0, count=2)
    """
    count = len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else None
    return Mean(float(np.mean(values)), error, count)


def means(rows: Sequence[dict[str, Any]]) -> dict[str, Mean]:
    """The means of the figures that are numbers, each over the rows in which it is one."""
    numbers = [{k: v for k, v in row.items() if isinstance(v, int | float)} for row in rows]
    names = dict.fromkeys(name for row in numbers for name in row)
    return {name: mean([row[name] for row in numbers if name in row]) for name in names}


def over_seeds(setting: dict[str, float], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a setting came to: how many of its seeds finished, and the means over these."""
    finished = [row["metrics"] | row["figures"] for row in rows if row["diverged"] is None]
    return {
        "setting": setting,
        "finished": len(finished),
        "means": {name: value._asdict() for name, value in means(finished).items()},
    }


def table(settings: Sequence[dict[str, Any]], seeds: int, steps: int) -> str:
    """Means as text, a row for each setting.

    Args:
      settings: from `over_seeds`.
      seeds: number of seeds of each.
      steps: over how many steps the losses are averaged.
    """

    def cell(mean, finished):
        error = "" if mean["standard_error"] is None else f" +- {mean['standard_error']:.2g}"
        fewer = "" if mean["count"] == finished else f" ({mean['count']} seeds)"
        return f"{mean['mean']:.4g}{error}{fewer}"

    names = dict.fromkeys(name for row in settings for name in row["means"])
    shown = [name for name in names if name in LOSSES or not ("/" in name or name.endswith(OF_DATA))]
    lines = [[*settings[0]["setting"], "finished", *shown]]
    for row in settings:
        cells = [cell(row["means"][name], row["finished"]) if name in row["means"] else "-" for name in shown]
        lines.append([*map(str, row["setting"].values()), f"{row['finished']} of {seeds}", *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    heading = f"mean +- standard error over seeds (n - 1); losses: of the last {steps} steps"
    rows = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([heading, *rows])
