"""A network as two pure functions, and Flax modules as such."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple


class Network(NamedTuple):
    """A network as two pure functions; `flax_network` makes one of a Flax module.

    Attributes:
      init: `(key, x, cond) -> variables`, a dict with `"params"` and any further collections (statistics).
      apply: `(variables, x, cond, *, key, train) -> (output, variables)`, the second with statistics moved on.
    """

    init: Callable
    apply: Callable


def flax_network(module: Any) -> Network:
    """A Flax (linen) module as a `Network`.

    The module's `__call__` takes `x` and, if it names them, `cond` and `train`; its dropout draws from `"dropout"`.

    Args:
      module: a Flax linen module.

    Returns:
      A `Network` whose statistics are all the module's collections but `"params"`.

    Raises:
      ValueError: when a batch brings `cond` and the module does not take it.
    """
    named = inspect.signature(module.__call__).parameters

    def arguments(cond, train):
        if cond is not None and "cond" not in named:
            raise ValueError(
                f"the batch has a 'cond', but {type(module).__name__} does not take cond: give it one, or drop it"
            )
        return {name: value for name, value in (("cond", cond), ("train", train)) if name in named}

    def init(key, x, cond):
        return module.init(key, x, **arguments(cond, train=False))

    def apply(variables, x, cond, *, key, train):
        mutable = [name for name in variables if name != "params"] if train else []
        output, moved = module.apply(
            variables, x, **arguments(cond, train), rngs={"dropout": key}, mutable=mutable or ["nothing"]
        )
        return output, {**variables, **moved}

    return Network(init, apply)
