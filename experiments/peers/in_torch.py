"""The cases with PyTorch, as an expert would write them."""

import gc
import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import layouts
import numpy as np
import torch
import torch_networks
from cases import FIGURES, Case, Check, checked_batches, checked_shares, data
from torch.nn.functional import softplus

LOSSES = {  # (discriminator's, generator's), both of (real, fake)
    "non_saturating": (lambda real, fake: softplus(-real) + softplus(fake), lambda real, fake: softplus(-fake)),
    "relativistic": (lambda real, fake: softplus(fake - real), lambda real, fake: softplus(real - fake)),
    "wasserstein": (lambda real, fake: fake - real, lambda real, fake: -fake),
}


class Variant(NamedTuple):
    """What a PyTorch user may choose beside the form; the fastest is timed.

    Attributes:
      one_call: whether the discriminator judges data and samples in one call.
      fused: whether Adam is one fused loop, else `foreach`.
    """

    one_call: bool
    fused: bool


VARIANTS = [Variant(*choice) for choice in itertools.product((False, True), repeat=2)]


def about() -> dict:
    return {"versions": {"torch": torch.__version__}, "threads": torch.get_num_threads()}


class Training(NamedTuple):
    """Two networks and their optimisers."""

    generator: torch.nn.Module
    discriminator: torch.nn.Module
    g_tx: torch.optim.Optimizer
    d_tx: torch.optim.Optimizer


def build(case: Case, form: str, variant: Variant, optimiser: str, dropout: float, weights: str = "") -> Training:
    channels_last = "channels_last" in form
    players = torch_networks.make(case, channels_last, dropout)
    if weights:
        with np.load(weights, allow_pickle=False) as file:
            for player, name in zip(players, ("generator", "discriminator"), strict=True):
                torch_networks.load(player, dict(file), name, channels_last)

    def tx(player):
        if optimiser == "sgd":
            return torch.optim.SGD(player.parameters(), case.sgd_rate)
        how = {"fused": True} if variant.fused else {"foreach": True}
        return torch.optim.Adam(player.parameters(), case.learning_rate, case.betas, **how)

    optimisers = [tx(player) for player in players]
    if "compile" in form:
        for player in players:
            player.compile(dynamic=False)
    return Training(*players, *optimisers)


def penalise(case: Case, discriminator, real, fake, total, blend) -> torch.Tensor:
    """The mean of the gradient penalty; `total` is the sum of the logits where these points are judged already."""
    if case.penalty == "r1_r2":
        grads = torch.autograd.grad(total, (real, fake), create_graph=True)
        return 0.5 * case.weight * sum(grad.square().sum(1).mean() for grad in grads)
    share = torch.rand(len(real)) if blend is None else blend
    share = share.view(-1, *(1,) * (real.ndim - 1))
    points = (share * real + (1 - share) * fake).requires_grad_()
    (grad,) = torch.autograd.grad(discriminator(points).sum(), points, create_graph=True)
    return case.weight * (grad.flatten(1).norm(dim=1) - 1).square().mean()


def make_step(case: Case, training: Training, variant: Variant) -> Callable:
    """A step `(real, latents, blend) -> figures`, tensors; real and latents are lists, one for each critic update."""
    generator, discriminator, g_tx, d_tx = training
    d_loss_of, g_loss_of = LOSSES[case.loss]

    def judge(real, fake):
        if not variant.one_call:
            return discriminator(real), discriminator(fake)
        return discriminator(torch.cat((real, fake))).chunk(2)

    def alternating(real, latents, blend=None):
        for i, (x, z) in enumerate(zip(real, latents, strict=True)):
            with torch.set_grad_enabled(i == len(real) - 1):  # only the last samples teach the generator
                fake = generator(z)
            seen = fake.detach()
            if case.penalty == "r1_r2":
                x, seen = x.detach().requires_grad_(), seen.requires_grad_()
            logits = judge(x, seen)
            d_loss = d_loss_of(*logits).mean()
            d_tx.zero_grad(set_to_none=True)
            if case.penalty:
                penalty = penalise(case, discriminator, x, seen, logits[0].sum() + logits[1].sum(), blend)
                (d_loss + penalty).backward()
            else:
                penalty = None
                d_loss.backward()
            d_tx.step()
        discriminator.requires_grad_(False)
        g_tx.zero_grad(set_to_none=True)
        if case.loss == "relativistic":  # the only one whose generator looks at data
            with torch.no_grad():
                real_logits = discriminator(x)
        else:
            real_logits = None
        g_loss = g_loss_of(real_logits, discriminator(fake)).mean()
        g_loss.backward()
        g_tx.step()
        discriminator.requires_grad_(True)
        return d_loss, penalty, g_loss

    def simultaneous(real, latents, blend=None):
        (x,), (z,) = real, latents
        fake = generator(z)
        logits = judge(x, fake)
        d_loss, g_loss = d_loss_of(*logits).mean(), g_loss_of(*logits).mean()
        for player, loss, retain in ((discriminator, d_loss, True), (generator, g_loss, False)):
            params = list(player.parameters())
            for param, grad in zip(params, torch.autograd.grad(loss, params, retain_graph=retain), strict=True):
                param.grad = grad
        d_tx.step()
        g_tx.step()
        return d_loss, None, g_loss

    return simultaneous if case.simultaneous else alternating


def pieces(case: Case, form: str, examples: np.ndarray) -> list[torch.Tensor]:
    """One tensor for each discriminator update, images mirrored as `layouts` says."""
    tensor = torch.from_numpy(layouts.mirrored(examples))
    parts = [tensor[i :: case.discriminator_steps].contiguous() for i in range(case.discriminator_steps)]
    if "channels_last" in form:
        parts = [part.contiguous(memory_format=torch.channels_last) for part in parts]
    return parts


def figures(case: Case, form: str, check: Check, weights: str) -> list[dict[str, float]]:
    """What the steps report: gradient descent with two calls of the discriminator, Adam fused and with one."""
    torch.set_default_dtype(getattr(torch, check.dtype))
    variant = Variant(one_call=check.optimiser == "adam", fused=True)
    training = build(case, form, variant, check.optimiser, 0.0, weights)
    step, rows = make_step(case, training, variant), []
    for x, z in checked_batches(case, check):
        latents = [torch.from_numpy(z[i :: case.discriminator_steps].copy()) for i in range(case.discriminator_steps)]
        losses = step(pieces(case, form, x), latents, torch.from_numpy(checked_shares(check)))
        norms = [
            torch.cat([param.grad.flatten() for param in player.parameters()]).norm()
            for player in (training.discriminator, training.generator)
        ]
        row = zip(FIGURES, (*losses, *norms), strict=True)
        rows.append({name: value.item() for name, value in row if value is not None})
    return rows


def start(case: Case, form: str) -> tuple[Callable[[int], None], dict]:
    torch.manual_seed(0)
    real = pieces(case, form, data(case))

    def runner(variant):
        step = make_step(case, build(case, form, variant, "adam", case.dropout), variant)

        def run(count):
            for _ in range(count):
                step(real, [torch.randn(case.batch, case.latent) for _ in real])

        return run

    def seconds(run):
        few = max(1, case.turn // 3)
        run(few)
        began = time.perf_counter()
        run(few)
        return time.perf_counter() - began

    # Each choice on its own: an optimiser's time does not depend on how the discriminator is called.
    calls = {variant: seconds(runner(variant)) for variant in VARIANTS if variant.fused}
    best = min(calls, key=calls.get)
    other = best._replace(fused=False)
    if seconds(runner(other)) < calls[best]:
        best = other
    gc.collect()  # the others' weights are not to be counted
    return runner(best), {"variant": best._asdict()}
