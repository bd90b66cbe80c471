"""Generative adversarial networks as pure functions in JAX.

Everything loads when it is first named: `from jaxgan import losses` loads jax and nothing else.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "GAN": "gan",
    "GANState": "players",
    "Player": "players",
    "Game": "game",
    "make_gan": "gan",
    "make_consensus_gan": "joint",
    "make_descent_gan": "gan",
    "make_extragradient_gan": "joint",
    "make_unrolled_gan": "joint",
    "normal_latents": "latents",
    "uniform_latents": "latents",
    "Network": "network",
    "flax_network": "network",
    "Data": "data",
    "Experiment": "experiment",
    "image_experiment": "experiment",
    "mixture_experiment": "experiment",
    "InputError": "errors",
    "DivergedError": "errors",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jaxgan.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jaxgan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
