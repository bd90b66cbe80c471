"""The networks of the cases in PyTorch; submodules have the names that Flax gives ours."""

import layouts
import numpy as np
import torch
from cases import Case
from torch import nn


class DCGANGenerator(nn.Module):
    def __init__(self, case: Case, channels_last: bool):
        super().__init__()
        first, second, third = self.features = case.generator
        self.channels_last = channels_last
        self.Dense_0 = nn.Linear(case.latent, 7 * 7 * first, bias=False)
        self.BatchNorm_0 = nn.BatchNorm1d(7 * 7 * first, eps=1e-3, momentum=0.01)
        self.ConvTranspose_0 = nn.ConvTranspose2d(first, second, 5, padding=2, bias=False)
        self.BatchNorm_1 = nn.BatchNorm2d(second, eps=1e-3, momentum=0.01)
        self.ConvTranspose_1 = nn.ConvTranspose2d(second, third, 5, 2, padding=2, output_padding=1, bias=False)
        self.BatchNorm_2 = nn.BatchNorm2d(third, eps=1e-3, momentum=0.01)
        self.ConvTranspose_2 = nn.ConvTranspose2d(third, 1, 5, 2, padding=2, output_padding=1, bias=False)
        self.orders = {"Dense_0": ("out", 7, first), "BatchNorm_0": ("out", 7, first)}

    def forward(self, z):
        x = nn.functional.leaky_relu(self.BatchNorm_0(self.Dense_0(z)), 0.3)
        x = to_pixels(x, 7, self.features[0], self.channels_last)
        x = nn.functional.leaky_relu(self.BatchNorm_1(self.ConvTranspose_0(x)), 0.3)
        x = nn.functional.leaky_relu(self.BatchNorm_2(self.ConvTranspose_1(x)), 0.3)
        return torch.tanh(self.ConvTranspose_2(x))


class DCGANDiscriminator(nn.Module):
    def __init__(self, case: Case, channels_last: bool, dropout: float):
        super().__init__()
        first, second = case.discriminator
        self.channels_last = channels_last
        self.dropout = dropout
        self.Conv_0 = nn.Conv2d(1, first, 5, 2, padding=2)
        self.Conv_1 = nn.Conv2d(first, second, 5, 2, padding=2)
        self.Dense_0 = nn.Linear(7 * 7 * second, 1)
        self.orders = {"Dense_0": ("in", 7, second)}

    def forward(self, x):
        for layer in (self.Conv_0, self.Conv_1):
            x = nn.functional.dropout(nn.functional.leaky_relu(layer(x), 0.3), self.dropout)
        return self.Dense_0(from_pixels(x, self.channels_last))[:, 0]


class MLPGenerator(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        first, second = case.generator
        self.Dense_0 = nn.Linear(case.latent, first)
        self.Dense_1 = nn.Linear(first, second)
        self.Dense_2 = nn.Linear(second, case.shape[0])

    def forward(self, z):
        return self.Dense_2(torch.relu(self.Dense_1(torch.relu(self.Dense_0(z)))))


class MLPDiscriminator(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        first, second = case.discriminator
        self.Dense_0 = nn.Linear(case.shape[0], first)
        self.Dense_1 = nn.Linear(first, second)
        self.Dense_2 = nn.Linear(second, 1)

    def forward(self, x):
        x = nn.functional.leaky_relu(self.Dense_0(x), 0.01)
        return self.Dense_2(nn.functional.leaky_relu(self.Dense_1(x), 0.01))[:, 0]


class Enlarging(nn.Module):
    def __init__(self, channels: int, features: int):
        super().__init__()
        self.BatchNorm_0 = nn.BatchNorm2d(channels)
        self.Conv_0 = nn.Conv2d(channels, features, 3, padding=1)
        self.BatchNorm_1 = nn.BatchNorm2d(features)
        self.Conv_1 = nn.Conv2d(features, features, 3, padding=1)
        self.Conv_2 = nn.Conv2d(channels, features, 1)

    def forward(self, x):
        y = self.Conv_0(nn.functional.interpolate(torch.relu(self.BatchNorm_0(x)), scale_factor=2.0))
        y = self.Conv_1(torch.relu(self.BatchNorm_1(y)))
        return y + nn.functional.interpolate(self.Conv_2(x), scale_factor=2.0)


class ResNetGenerator(nn.Module):
    def __init__(self, case: Case, channels_last: bool):
        super().__init__()
        self.channels, self.channels_last = case.generator[0], channels_last
        self.Dense_0 = nn.Linear(case.latent, 4 * 4 * self.channels)
        pairs = zip((self.channels, *case.generator), case.generator, strict=False)
        self.blocks = [f"Enlarging_{i}" for i in range(len(case.generator))]
        for name, (channels, features) in zip(self.blocks, pairs, strict=True):
            self.add_module(name, Enlarging(channels, features))
        self.BatchNorm_0 = nn.BatchNorm2d(case.generator[-1])
        self.Conv_0 = nn.Conv2d(case.generator[-1], case.shape[-1], 3, padding=1)
        self.orders = {"Dense_0": ("out", 4, self.channels)}

    def forward(self, z):
        x = to_pixels(self.Dense_0(z), 4, self.channels, self.channels_last)
        for name in self.blocks:
            x = getattr(self, name)(x)
        return torch.tanh(self.Conv_0(torch.relu(self.BatchNorm_0(x))))


class Judging(nn.Module):
    def __init__(self, channels: int, features: int, first: bool, halves: bool):
        super().__init__()
        self.first, self.halves = first, halves
        self.Conv_0 = nn.Conv2d(channels, features, 3, padding=1)
        self.Conv_1 = nn.Conv2d(features, features, 3, padding=1)
        if halves:
            self.Conv_2 = nn.Conv2d(channels, features, 1)

    def forward(self, x):
        y = self.Conv_1(torch.relu(self.Conv_0(x if self.first else torch.relu(x))))
        if not self.halves:
            return x + y
        return nn.functional.avg_pool2d(y, 2) + self.Conv_2(nn.functional.avg_pool2d(x, 2))


class ResNetDiscriminator(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        pairs = zip((case.shape[-1], *case.discriminator), case.discriminator, strict=False)
        self.blocks = [f"Judging_{i}" for i in range(len(case.discriminator))]
        for i, (channels, features) in enumerate(pairs):
            self.add_module(self.blocks[i], Judging(channels, features, first=i == 0, halves=i < 2))
        self.Dense_0 = nn.Linear(case.discriminator[-1], 1)

    def forward(self, x):
        for name in self.blocks:
            x = getattr(self, name)(x)
        return self.Dense_0(torch.relu(x).sum((2, 3)))[:, 0]


def to_pixels(x: torch.Tensor, side: int, channels: int, channels_last: bool) -> torch.Tensor:
    """A feature map of a flat vector, without moving anything in memory."""
    if channels_last:
        return x.view(-1, side, side, channels).permute(0, 3, 1, 2)
    return x.view(-1, channels, side, side)


def from_pixels(x: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """The inverse of `to_pixels`."""
    return (x.permute(0, 2, 3, 1) if channels_last else x).flatten(1)


def make(case: Case, channels_last: bool, dropout: float) -> tuple[nn.Module, nn.Module]:
    """Both networks of a case."""
    if case.networks == "mlp":
        return MLPGenerator(case), MLPDiscriminator(case)
    if case.networks == "resnet":
        pair = ResNetGenerator(case, channels_last), ResNetDiscriminator(case)
    else:
        pair = DCGANGenerator(case, channels_last), DCGANDiscriminator(case, channels_last, dropout)
    return tuple(module.to(memory_format=torch.channels_last) for module in pair) if channels_last else pair


def load(module: nn.Module, weights: dict[str, np.ndarray], prefix: str, channels_last: bool) -> None:
    """Copies our weights into a network; every one of them has its place, and every place its weight."""
    for name, layer in module.named_children():
        place = f"{prefix}/{name}"
        if next(layer.children(), None) is not None:
            load(layer, weights, place, channels_last)
            continue
        side_of, *size = getattr(module, "orders", {}).get(name, ("", 0, 0))
        order = layouts.pixel_order(*size, channels_last) if side_of else slice(None)
        outputs, inputs = (order if side_of == side else slice(None) for side in ("out", "in"))
        if isinstance(layer, nn.ConvTranspose2d):
            new = {"weight": layouts.transposed_convolution(weights[f"{place}/kernel"])}
        elif isinstance(layer, nn.Conv2d):
            new = {"weight": layouts.convolution(weights[f"{place}/kernel"])}
        elif isinstance(layer, nn.Linear):
            new = {"weight": weights[f"{place}/kernel"][inputs][:, outputs].T}
        else:
            new = {"weight": weights[f"{place}/scale"][outputs]}
        if layer.bias is not None:
            new["bias"] = weights[f"{place}/bias"][outputs]
        with torch.no_grad():
            for part, value in new.items():
                getattr(layer, part).copy_(torch.from_numpy(np.ascontiguousarray(value)))
