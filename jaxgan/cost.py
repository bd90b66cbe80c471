"""What a function costs: floating-point operations and bytes, as XLA counts them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun


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
    the zeros of its padding does not count, and loops whose length depends on values count as one turn.

    XLA counts one turn of every loop. Scans are therefore unrolled here: what XLA moves out of a loop because all
    turns share it, it also computes once in the unrolled program, so that this counts what the loop does.
    """
    program = _unrolled(jax.make_jaxpr(function)(*arguments))
    shapes = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in program.in_avals]
    lowered = jax.jit(jaxpr_as_fun(program)).lower(*shapes)
    counted = (lowered.compile() if jax.default_backend() == "cpu" else lowered).cost_analysis()
    return Cost(counted.get("flops", 0.0), counted.get("bytes accessed", 0.0))


def _unrolled(value: Any) -> Any:
    """A program, or a parameter of one of its equations, with every scan written out."""
    if isinstance(value, ClosedJaxpr):
        return value.replace(jaxpr=_unrolled(value.jaxpr))
    if isinstance(value, tuple):  # the branches of a condition
        return value if hasattr(value, "_fields") else tuple(map(_unrolled, value))
    if not isinstance(value, Jaxpr):
        return value
    equations = []
    for equation in value.eqns:
        params = {name: _unrolled(parameter) for name, parameter in equation.params.items()}
        if equation.primitive.name == "scan":
            params["unroll"] = params["length"]
        equations.append(equation.replace(params=params))
    return value.replace(eqns=equations)
