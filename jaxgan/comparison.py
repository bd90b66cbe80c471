"""A benchmark as a table, and beside one from before."""

import json
import os
import pathlib
import sys
from typing import Any

from jaxgan.errors import InputError

# The figures, in the order of the table, with their units and the factor to these from those of the JSON object.
FIGURES = {
    "compile_s": ("s", 1.0),
    "compile_warm_s": ("s", 1.0),
    "step_ms": ("ms", 1.0),
    "step_ms_low": ("ms", 1.0),
    "step_ms_high": ("ms", 1.0),
    "examples_per_s": ("/s", 1.0),
    "generator_parameters": ("million", 1e-6),
    "discriminator_parameters": ("million", 1e-6),
    "flops": ("GFLOP", 1e-9),
    "bytes": ("MB", 1e-6),
    "peak_flops_per_s": ("GFLOP/s", 1e-9),
    "peak_fraction": ("%", 100.0),
    "peak_memory_bytes": ("MB", 1e-6),
    "temporary_bytes": ("MB", 1e-6),
    "input_wait_fraction": ("%", 100.0),
    "dispatch_fraction": ("%", 100.0),
}
_LONGEST = 1 << 20  # bytes of the last line
COMPARED = ("experiment", "options", "lift", "devices", "scan", "batch_size", "backend", "device_kind", "cpu", "cores")
"""What must be equal in two benchmarks, or their ratio says something about more than the code."""


def read(path: pathlib.Path) -> dict[str, Any]:
    """The benchmark that a file ends in.

    Raises:
      InputError: when there is none.
    """
    expected = f"--compare {path}: expected the output of jaxgan benchmark in its last line"
    try:
        if not path.is_file():  # pipes and devices are none either: reading one may not end
            raise InputError(f"{expected} (there is no such file)")
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LONGEST))
            before = json.loads(file.read(_LONGEST).decode(errors="replace").strip().rpartition("\n")[2])
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{expected} ({why})") from error
    if not isinstance(before, dict) or not before.keys() >= {*FIGURES, *COMPARED}:
        raise InputError(f"{expected} (it has not all the figures)")
    for name in FIGURES:
        if not _is_figure(before[name]):
            raise InputError(f"{expected} ({name} is no number)")
    return before


def _is_figure(value: Any) -> bool:
    """Whether a value is one that `table` can show: None, or a number that is finite as a float."""
    if value is None:
        return True
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What makes two benchmarks hard to compare, in words."""
    return [f"{name} {before[name]} -> {now[name]}" for name in COMPARED if before[name] != now[name]]


def table(now: dict[str, Any], before: dict[str, Any] | None) -> str:
    """The figures with their units, a line each; beside an earlier benchmark with that and the ratio, before to now."""

    def shown(value, factor):
        return "-" if value is None else f"{value * factor:.4g}"

    rows = [("", "now", "unit") + (("before", "before / now") if before else ())]
    for name, (unit, factor) in FIGURES.items():
        row = [name, shown(now[name], factor), unit]
        if before:
            ratio = before[name] / now[name] if before[name] is not None and now[name] else None
            row += [shown(before[name], factor), shown(ratio, 1.0)]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = "<><>>"  # names and units to the left, numbers to the right
    lines = ([f"{cell:{a}{width}}" for cell, a, width in zip(row, aligned, widths, strict=False)] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)
