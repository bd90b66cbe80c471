"""The two players: what each carries from step to step, and how each appears to a penalty."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

PyTree = Any
Batch = PyTree
Metrics = dict[str, jax.Array]


class Player(NamedTuple):
    """What one player carries from step to step.

    Attributes:
      params: its parameters.
      stats: its networks' statistics (batch normalisation), `{}` if none.
      opt: its optimiser's state.
      memory: what its penalty and, of the discriminator, the augmentation remember, by these names.
    """

    params: PyTree
    stats: PyTree
    opt: PyTree
    memory: PyTree = {}


class GANState(NamedTuple):
    """The whole state of a training: a plain pytree that jit, vmap and checkpoints take as it is.

    Attributes:
      step: number of steps done, int32.
      generator: the generator's `Player`.
      discriminator: the discriminator's (critic's) `Player`.
      ema: the generator's variables, averaged over steps; `GAN.sample` uses these.
    """

    step: jax.Array
    generator: Player
    discriminator: Player
    ema: PyTree


class Seen(NamedTuple):
    """What comes of judging a batch beside the two losses.

    Attributes:
      stats: the discriminator's statistics, moved on.
      memories: what the generator's and the discriminator's penalties remember now.
      metrics: named scalars.
    """

    stats: PyTree
    memories: tuple[PyTree, PyTree]
    metrics: Metrics


class Acting(NamedTuple):
    """A player as a penalty sees it: called like the function it is, and more where a penalty needs more.

    Attributes:
      apply: the discriminator's `points -> logits`, or the generator's `latents -> samples`, in training.
      params: the parameters in it.
      latents: of this step's fakes.
      rival: the other player, likewise.
      outputs: `(real, fake)`, what the discriminator gave of this step's data and fakes, second heads and all.
    """

    apply: Callable[[PyTree], PyTree]
    params: PyTree
    latents: PyTree
    rival: Any = None
    outputs: tuple[PyTree, PyTree] | None = None

    def __call__(self, x: PyTree) -> PyTree:
        return self.apply(x)


def batch_size(batch: Batch) -> int:
    """Number of examples in a batch."""
    return jax.tree.leaves(batch)[0].shape[0]
