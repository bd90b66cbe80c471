"""What is compared: sizes and constants of every case, and its data, the same for every program.

Nothing but NumPy is imported here: every environment reads this file.
"""

from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """One training step, in numbers.

    Attributes:
      networks: family of both networks: "dcgan", "mlp" or "resnet".
      generator: features of the generator's layers.
      discriminator: features of the discriminator's layers.
      shape: of one example, `[H, W, C]` or `[d]`.
      latent: length of a latent vector, standard normal.
      batch: examples in each discriminator update.
      loss: "non_saturating", "relativistic" or "wasserstein".
      penalty: on the discriminator: "r1_r2" (half the weight times both squared norms), "gradient" (the weight times
        `(|grad D| - 1)^2` between data and samples), or "".
      weight: of the penalty.
      dropout: share of the discriminator's outputs set to zero.
      discriminator_steps: discriminator updates, each on its own piece of the data, before the generator's.
      simultaneous: both gradients at one point, from one forward pass; else the discriminator moves first. Either way
        both players see the same samples.
      learning_rate: of both players' Adam.
      betas: of both players' Adam.
      sgd_rate: of plain gradient descent, with which the numerics are compared first.
      turn: steps in a timed turn.
      scan: steps of a turn that our program takes at once where it scans; it divides `turn`.
      programs: who takes part; the first word is the framework, the others say how it is used.
    """

    networks: str
    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    shape: tuple[int, ...]
    latent: int
    batch: int
    loss: str
    learning_rate: float
    betas: tuple[float, float]
    sgd_rate: float
    turn: int
    scan: int
    programs: tuple[str, ...]
    penalty: str = ""
    weight: float = 0.0
    dropout: float = 0.0
    discriminator_steps: int = 1
    simultaneous: bool = False


OURS = ("jaxgan jit", "jaxgan scan")
EAGER = ("torch eager", "torch eager channels_last")
COMPILED = ("torch compile", "torch compile channels_last")

# The tutorial's networks (https://www.tensorflow.org/tutorials/generative/dcgan), at half its batch.
_DCGAN = Case(
    networks="dcgan",
    generator=(256, 128, 64),
    discriminator=(64, 128),
    shape=(28, 28, 1),
    latent=100,
    batch=128,
    loss="non_saturating",
    dropout=0.3,
    learning_rate=1e-4,
    betas=(0.9, 0.999),
    sgd_rate=0.05,
    turn=6,
    scan=6,
    programs=OURS + EAGER + COMPILED,
)

CASES = {
    "dcgan": _DCGAN,
    "dcgan_simultaneous": _DCGAN._replace(
        simultaneous=True, turn=8, scan=8, programs=(*OURS, "tensorflow graph", "tensorflow jit_compile", EAGER[1])
    ),
    # Tables 3 and 4 of https://arxiv.org/abs/1802.05957, the discriminator without its
    # normalisation. torch.compile does not differentiate twice, which the penalty needs.
    "resnet_gp": Case(
        networks="resnet",
        generator=(256, 256, 256),
        discriminator=(128, 128, 128, 128),
        shape=(32, 32, 3),
        latent=128,
        batch=32,
        loss="wasserstein",
        penalty="gradient",
        weight=10.0,
        learning_rate=2e-4,
        betas=(0.0, 0.9),
        sgd_rate=2e-6,
        turn=2,
        scan=2,
        programs=OURS + EAGER,
    ),
    # experiments/grid.py
    "mlp_grid": Case(
        networks="mlp",
        generator=(128, 128),
        discriminator=(128, 128),
        shape=(2,),
        latent=2,
        batch=512,
        loss="relativistic",
        penalty="r1_r2",
        weight=0.1,
        learning_rate=1e-3,
        betas=(0.0, 0.99),
        sgd_rate=0.1,
        turn=1000,
        scan=50,
        programs=(*OURS, "torch eager", "tensorflow graph", "tensorflow jit_compile"),
    ),
    # experiments/mnist_wgan_gp.py
    "wgan_gp": Case(
        networks="dcgan",
        generator=(128, 64, 32),
        discriminator=(64, 128),
        shape=(28, 28, 1),
        latent=100,
        batch=64,
        loss="wasserstein",
        penalty="gradient",
        weight=10.0,
        discriminator_steps=5,
        learning_rate=1e-4,
        betas=(0.0, 0.9),
        sgd_rate=1e-3,
        turn=3,
        scan=3,
        programs=OURS + EAGER,
    ),
}

LOSSES = ("discriminator/loss", "generator/loss")
"""The discriminator's is without the penalty."""
FIGURES = ("discriminator/loss", "discriminator/penalty", "generator/loss") + (
    "discriminator/gradient_norm",
    "generator/gradient_norm",
)
"""What a step reports where numerics are compared; the norms are those of the whole gradients."""
CHECKED_STEPS = 3


def data(case: Case) -> np.ndarray:
    """Uniform examples in [-1, 1] for one step, `[discriminator_steps * batch, *shape]`, float32."""
    size = case.discriminator_steps * case.batch
    return np.random.default_rng(0).uniform(-1, 1, (size, *case.shape)).astype(np.float32)


class Check(NamedTuple):
    """A comparison of numerics, in which nothing is random: no dropout, latents and points of a penalty given.

    Attributes:
      optimiser: "sgd" or "adam".
      dtype: "float32" or "float64".
      batch: examples in each discriminator update.
    """

    optimiser: str
    dtype: str
    batch: int


def checks(case: Case) -> list[Check]:
    """In float64, where equal arithmetic is equal to many digits, on a few examples; in float32 on the case's batch."""
    sizes = (("float64", 8), ("float32", case.batch))
    return [Check(optimiser, dtype, batch) for dtype, batch in sizes for optimiser in ("sgd", "adam")]


def checked_batches(case: Case, check: Check) -> list[tuple[np.ndarray, np.ndarray]]:
    """The examples and the latents of each step.

    The piece of discriminator update `j` is every `discriminator_steps`-th example, from the `j`-th on.
    """
    rng, size = np.random.default_rng(1), case.discriminator_steps * check.batch
    shapes = (size, *case.shape), (size, case.latent)
    return [tuple(rng.uniform(-1, 1, shape).astype(check.dtype) for shape in shapes) for _ in range(CHECKED_STEPS)]


def checked_shares(check: Check) -> np.ndarray:
    """The data's share in each point where a gradient penalty is taken, `[batch]`."""
    return np.linspace(0, 1, check.batch, dtype=check.dtype)
