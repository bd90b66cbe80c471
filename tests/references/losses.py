# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.13.0", "torchgan==0.1.0", "torch-mimicry==0.1.16"]
# ///
"""Runs the losses of torchgan and mimicry and writes what they give to losses.json, for test_losses_peers.py.

Both packages import far more than their losses need (torchvision, TensorFlow), so they can be installed with
`--no-deps` beside torch: their own `__init__` files are not run.

    python tests/references/losses.py
"""

import importlib
import importlib.metadata
import importlib.util
import json
import pathlib
import sys
import types

REAL = [-5.0, 1.4, 12.5, 2.7]
FAKE = [10.0, 4.4, -5.5, 3.6]
REAL_ENERGIES = [0.5, 1.25, 3.0, 0.125]
FAKE_ENERGIES = [2.0, 0.75, 7.5, 4.0]
CLASS_LOGITS = [[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [-1.0, 0.25, 4.0]]
LABELS = [2, 1, 0]
CODES = [[1.0, 2.0, -1.0], [0.5, -1.0, 0.0], [3.0, 0.25, 1.5]]
MEAN = [[0.5], [-1.0], [2.0]]
LOG_STD = [[0.25], [-0.5], [0.0]]
GAUSSIAN_CODES = [[1.0], [-0.5], [0.0]]


def submodule(package: str, name: str):
    """A module of a package, without running the `__init__` of the package or of those between."""
    parts = f"{package}.{name}".split(".")
    folder = pathlib.Path(importlib.util.find_spec(package).origin).parent
    for depth in range(1, len(parts)):
        bare = types.ModuleType(".".join(parts[:depth]))
        bare.__path__ = [str(folder.joinpath(*parts[1:depth]))]
        sys.modules[bare.__name__] = bare
    return importlib.import_module(f"{package}.{name}")


def main() -> None:
    import torch

    def t(values):
        return torch.tensor(values, dtype=torch.float64)

    real, fake, real_energies, fake_energies = map(t, (REAL, FAKE, REAL_ENERGIES, FAKE_ENERGIES))
    torchgan = submodule("torchgan", "losses.functional")
    categorical = torch.distributions.Categorical(logits=t(CLASS_LOGITS))
    normal = torch.distributions.Normal(t(MEAN), t(LOG_STD).exp())
    codes = torch.tensor(LABELS), t(GAUSSIAN_CODES)
    values = {
        "torchgan": {
            "minimax_discriminator_loss": torchgan.minimax_discriminator_loss(real, fake),
            "minimax_generator_loss": torchgan.minimax_generator_loss(fake),
            "minimax_generator_loss(nonsaturating=False)": torchgan.minimax_generator_loss(fake, nonsaturating=False),
            "least_squares_discriminator_loss": torchgan.least_squares_discriminator_loss(real, fake),
            "least_squares_generator_loss": torchgan.least_squares_generator_loss(fake),
            "least_squares_discriminator_loss(a=-1, b=1)": torchgan.least_squares_discriminator_loss(real, fake, -1, 1),
            "least_squares_generator_loss(c=0)": torchgan.least_squares_generator_loss(fake, 0),
            "wasserstein_discriminator_loss": torchgan.wasserstein_discriminator_loss(real, fake),
            "wasserstein_generator_loss": torchgan.wasserstein_generator_loss(fake),
            "auxiliary_classification_loss": torchgan.auxiliary_classification_loss(t(CLASS_LOGITS), codes[0]),
            "mutual_information_penalty": torchgan.mutual_information_penalty(*codes, categorical, normal),
            "energy_based_discriminator_loss(margin=5)": torchgan.energy_based_discriminator_loss(
                real_energies, fake_energies, 5.0
            ),
            "energy_based_generator_loss": torchgan.energy_based_generator_loss(fake_energies),
            "energy_based_pulling_away_term": torchgan.energy_based_pulling_away_term(t(CODES)),
            "boundary_equilibrium_discriminator_loss(k=0.25)": torchgan.boundary_equilibrium_discriminator_loss(
                real_energies, fake_energies, 0.25
            )[0],
            "boundary_equilibrium_generator_loss": torchgan.boundary_equilibrium_generator_loss(fake_energies),
        }
    }
    mimicry = submodule("torch_mimicry", "modules.losses")
    column_real, column_fake = real[:, None].float(), fake[:, None].float()  # its targets are float32 and [batch, 1]
    values["mimicry"] = {
        "minimax_loss_dis": mimicry.minimax_loss_dis(column_fake, column_real),
        "minimax_loss_gen": mimicry.minimax_loss_gen(column_fake),
        "ns_loss_gen": mimicry.ns_loss_gen(fake),
        "wasserstein_loss_dis": mimicry.wasserstein_loss_dis(real, fake),
        "wasserstein_loss_gen": mimicry.wasserstein_loss_gen(fake),
        "hinge_loss_dis": mimicry.hinge_loss_dis(fake, real),
        "hinge_loss_gen": mimicry.hinge_loss_gen(fake),
    }
    surely_fake = t([-25.0]).requires_grad_()
    mimicry.ns_loss_gen(surely_fake).backward()
    values["mimicry"]["slope of ns_loss_gen at -25"] = surely_fake.grad
    names = ("torch", "torchgan", "torch-mimicry")
    report = {
        "versions": {name: importlib.metadata.version(name) for name in names},
        "inputs": {name.lower(): value for name, value in globals().items() if name.isupper()},
        "values": {peer: {name: float(value) for name, value in row.items()} for peer, row in values.items()},
    }
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
