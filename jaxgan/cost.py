"""What a function costs: floating-point operations and bytes, as XLA counts them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

SHORT = 8
"""Most turns of a scan that is unrolled to be counted."""
Scans = tuple[int, int]
"""A kind of scans: the number of scans that they lie in, and their length."""


class Cost(NamedTuple):
    """What one call costs, all devices together.

    Attributes:
      flops: floating-point operations.
      bytes: bytes that its operations read and write, an operand counted at every use.
    """

    flops: float
    bytes: float


def of(function: Callable, *arguments: Any) -> Cost:
    """The cost of a function of arrays or of their shapes.

    On a CPU the optimised program is counted, from which repeated and unused work has gone. An accelerator's calls
    libraries for products and convolutions, whose operations XLA does not count; there the program is counted as it is
    lowered, which for the steps of the experiments gives about a tenth more. Either way, what a convolution does with
    the zeros of its padding does not count, and loops whose length depends on values count as one turn. Of a condition
    the costliest branch counts: a step of progressive growing costs what it does in the last stage.

    XLA counts one turn of every loop. Scans of up to `SHORT` turns are therefore unrolled here: what XLA moves out of a
    loop because all turns share it, it also computes once in the unrolled program, so that this counts what the loop
    does. Of longer ones (recurrent networks) a program with one turn and one with two tell what a turn costs.
    """
    program = jax.make_jaxpr(function)(*arguments)
    return Cost(*map(float, _extrapolated(program, sorted(_long_scans(program)), {})))


def _extrapolated(program: ClosedJaxpr, scans: list[Scans], turns: dict[Scans, int]) -> np.ndarray:
    """The cost with the given turns written out of some kinds of scans and all turns of the others, which are named.

    It is linear in the turns of each kind by itself, since no scan of a kind lies within another of that kind.
    """
    if not scans:
        return _counted(_unrolled(program, turns))
    (kind, *others), (_, length) = scans, scans[0]
    once, more = (_extrapolated(program, others, {**turns, kind: count}) for count in (1, 2))
    # Where two do not divide the length, the last turn is written out behind the loop, and counted too.
    return once + (length - 1) * (more - once) / (1 + length % 2)


def _counted(program: ClosedJaxpr) -> np.ndarray:
    """FLOPs and bytes as XLA counts them, one turn of every loop."""
    shapes = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in program.in_avals]
    lowered = jax.jit(jaxpr_as_fun(program)).lower(*shapes)
    counted = (lowered.compile() if jax.default_backend() == "cpu" else lowered).cost_analysis()
    return np.array([counted.get("flops", 0.0), counted.get("bytes accessed", 0.0)])


def _long_scans(value: Any, depth: int = 0) -> set[Scans]:
    """The kinds of scans that are too long to be unrolled, of a program or a parameter of one of its equations."""
    if isinstance(value, ClosedJaxpr):
        return _long_scans(value.jaxpr, depth)
    if isinstance(value, tuple):
        return set().union(*(_long_scans(v, depth) for v in value))
    if not isinstance(value, Jaxpr):
        return set()
    found = set()
    for equation in value.eqns:
        is_scan = equation.primitive.name == "scan"
        if is_scan and equation.params["length"] > SHORT:
            found.add((depth, equation.params["length"]))
        found |= _long_scans(tuple(equation.params.values()), depth + is_scan)
    return found


def _unrolled(value: Any, turns: dict[Scans, int], depth: int = 0) -> Any:
    """A program, or a parameter of one of its equations, with the turns of its scans written out, by kind, or all."""
    if isinstance(value, ClosedJaxpr):
        return value.replace(jaxpr=_unrolled(value.jaxpr, turns, depth))
    if isinstance(value, tuple):  # the branches of a condition
        return value if hasattr(value, "_fields") else tuple(_unrolled(v, turns, depth) for v in value)
    if not isinstance(value, Jaxpr):
        return value
    equations = []
    for equation in value.eqns:
        is_scan = equation.primitive.name == "scan"
        params = {name: _unrolled(parameter, turns, depth + is_scan) for name, parameter in equation.params.items()}
        if is_scan:
            params["unroll"] = turns.get((depth, params["length"]), params["length"])
        equations.append(equation.replace(params=params))
    return value.replace(eqns=equations)
