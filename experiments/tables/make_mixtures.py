"""The table of PacGAN's ring and grid: sweeps, what they came to beside what is published, pictures.

    python experiments/tables/make_mixtures.py --workdir runs/mixtures                       # all; hours, goes on
    python experiments/tables/make_mixtures.py --workdir runs/mixtures --methods sharp --seeds 3

Each row is `jaxgan sweep experiments/tables/mixtures.py --data DATA --method METHOD --steps STEPS --seeds SEEDS`, and
can be made alone. The directory then holds table.md and table.json, a picture of 2,500 samples of each row's first seed
(samples.png), and of the first 40,000 steps of that seed an animation (DATA-METHOD.gif) and curves (DATA.curves.png).

Local stability is of each run's end: the largest real part of the eigenvalues of the Jacobian of the field that
simultaneous gradient descent follows, on some 4,096 points (as 41 batches of 100, where the discriminator compares the
points of a batch), unrolled generators looking nowhere ahead. Where it is positive, gradient descent with however small
a rate would leave that point. Beside it is what a tenth more of the steps makes of the run: it has stayed where it
finds as many modes as before, and as many samples of high quality, up to a hundredth.
"""

import dataclasses
import json
import pathlib
import sys
from typing import Annotated

import jax
import numpy as np
import tabulate
import tyro
from jax.sharding import SingleDeviceSharding

from jaxgan import checkpoint, progress, run, stability, startup
from jaxgan import experiment as experiments
from jaxgan.metrics.mixture import PERFECT_HIGH_QUALITY

EXPERIMENT = tabulate.HERE / "mixtures.py"
OFFERED = experiments.options(experiments.load(str(EXPERIMENT)))
"""Its options."""
Data, Method = OFFERED["data"].annotation, OFFERED["method"].annotation
STEPS = {
    "plain": 400_000,
    "packed": 400_000,
    "minibatch": 400_000,
    "unrolled": 40_000,
    "penalised": 40_000,
    "demo": 25_000,
    "demo-unrolled": 25_000,
}
"""Steps of each method, PacGAN's or a tenth of them, or the demo's; those of `sharp` are its option `annealed`."""
PUBLISHED = {
    ("ring", "plain"): "6.3 +- .5, 98.2 +- .2 %, .45 +- .09",
    ("ring", "packed"): "7.9 +- .1, 95.6 +- 2.0 %, .07 +- .03",
    ("grid", "plain"): "17.3 +- .8, 94.8 +- .7 %, .70 +- .07",
    ("grid", "packed"): "23.8 +- .7, 91.3 +- .8 %, .13 +- .04",
    ("ring", "demo"): "1, 99.3 %",
    ("ring", "demo-unrolled"): "7.6, 35.6 %",
    ("grid", "demo"): "3.3, 0.5 %",
    ("grid", "demo-unrolled"): "23.6, 16 %",
}
"""Modes, share of samples of high quality, reverse KL: Lin et al. 2018, https://arxiv.org/abs/1712.04086, Table 1, ten
trials, standard errors. Of a GAN and of unrolled GANs, by the same count on networks of their own: Srivastava et al.
2017, https://arxiv.org/abs/1705.07761, Table 1, five runs."""
SEARCH = {"packed": {"basis": 256}}
"""How the eigenvalue is searched for, where not as by default. On the grid `packed` (seed 1, 25,000 steps) ends after
257 products so, in five minutes of one core of an AMD EPYC; by default it had not ended after 567, in ten."""
POINTS = 4096
"""Points of the batch whose field is looked at."""
FRAMES = 60
"""Pictures of an animation."""
ANIMATED = 40_000
"""Steps that an animation shows at most."""
FLOOR = (
    f"A perfect sampler of 2,500 points: 8 and 25 modes, {PERFECT_HIGH_QUALITY:.3f} of high quality, reverse KL 0.0014 "
    "on the ring and 0.005 on the grid. Means over seeds, with standard errors."
)
"""What stands above the table."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The table of PacGAN's ring and grid; the same command goes on where it was stopped."""

    workdir: pathlib.Path
    """Directory of all sweeps, the table and its pictures."""
    data: tuple[Data, ...] = ("ring", "grid")
    """Which data."""
    methods: tuple[Method, ...] = (
        "sharp",
        "plain",
        "packed",
        "minibatch",
        "penalised",
        "unrolled",
        "demo",
        "demo-unrolled",
    )
    """Which methods, in the order in which they are run."""
    seeds: int = 10
    """Seeds of each row."""
    steps: Annotated[int, tyro.conf.arg(help="Steps of every row instead of its own; 0: its own.")] = 0


def main(arguments: Arguments) -> None:
    """Makes whatever rows are missing, then the table."""
    rows = [(data, method) for data in arguments.data for method in arguments.methods]
    for data, method in rows:
        make(arguments, data, method, arguments.steps or STEPS.get(method) or OFFERED["annealed"].default)
        tell(arguments)


def make(arguments: Arguments, data: str, method: str, steps: int) -> None:
    """A row: what the sweep came to at its end, where it is locally stable, and what becomes of it after."""
    name, given = f"{data}-{method}", ("--data", data, "--method", method)
    given += ("--annealed", steps) if method == "sharp" else ()
    folder, animated = arguments.workdir / name, arguments.workdir / f"{name}-animated"
    out, seeds = arguments.workdir / f"{name}.json", ("--seeds", arguments.seeds)
    at_end = tabulate.swept(folder / "end.json", EXPERIMENT, folder, "--steps", steps, *seeds, *given)
    if tabulate.made(out, at_end["command"]):
        return
    members = tabulate.finished(at_end)
    for member in members:
        member["largest_real_part"] = largest_real_part(folder / member["directory"], steps)
    tabulate.sampled(at_end, EXPERIMENT, folder, 2500, arguments.workdir / f"{name}.png")
    after = tabulate.swept(folder / "after.json", EXPERIMENT, folder, "--steps", steps + steps // 10, *seeds, *given)
    later = {member["seed"]: member.get("figures") for member in after["members"]}
    for member in members:
        member["stayed"] = stayed(member["figures"], later[member["seed"]])
    shown = min(steps, ANIMATED)
    every = [(f"--{what}-every", max(1, shown // FRAMES)) for what in ("sample", "evaluate", "log")]
    tabulate.run("train", EXPERIMENT, "--workdir", animated, "--steps", shown, *sum(every, ()), *given)
    tabulate.animation(sorted(animated.glob("samples/0*.png")), arguments.workdir / f"{name}.gif")
    out.write_text(json.dumps(at_end, indent=2) + "\n")


def largest_real_part(workdir: pathlib.Path, step: int) -> float:
    """Of the eigenvalues of the field's Jacobian at a checkpoint."""
    config, place = run.read(workdir), SingleDeviceSharding(jax.devices()[0])
    experiment = experiments.load(str(EXPERIMENT))(**config.options)
    state = checkpoint.restore(workdir / "checkpoints", step, progress.template(experiment, config, place)).state
    data = experiment.data()
    ahead = range(step, step + -(-POINTS // data.batch_size))
    points = np.stack([data.batch_at(config.seed, later)["x"] for later in ahead])
    if config.options["method"] != "minibatch":  # whose discriminator compares the points of a batch: as trained
        points = np.concatenate(points)[None]
    keys = jax.vmap(jax.random.key)(np.arange(len(points)))

    def field(params):
        def of_batch(batch):
            return stability.gradient_field(experiment.gan.game, batch["key"], state, {"x": batch["x"]})[0](params)

        return jax.tree.map(lambda v: v.mean(axis=0), jax.lax.map(of_batch, {"key": keys, "x": points}))

    point = state.discriminator.params, state.generator.params
    search = SEARCH.get(config.options["method"], {})
    return float(stability.eigenvalues(field, point, count=1, **search)[0].real)


def stayed(now: dict, later: dict | None) -> bool:
    """Whether a run has all its modes still, and its samples their quality, up to a hundredth."""
    return (
        later is not None
        and later["modes"] == now["modes"]
        and abs(later["high_quality"] - now["high_quality"]) <= 0.01
    )


def tell(arguments: Arguments) -> None:
    """Writes the table of the rows that there are, and the picture of their samples."""
    names = [path.stem for path in sorted(arguments.workdir.glob("*.json")) if path.stem != "table"]
    rows = {name: json.loads((arguments.workdir / f"{name}.json").read_text()) for name in names}
    order, lines = [name.split("-", 1) for name in names], []
    for (data, method), row in zip(order, rows.values(), strict=True):
        means, members = row["settings"][0]["means"], tabulate.finished(row)
        real = [member["largest_real_part"] for member in members]
        lines.append(
            [
                data,
                method,
                f"{row['steps']:,}",
                f"{row['hours']:.2g}",
                f"{row['settings'][0]['finished']} of {row['seeds']}",
                *(tabulate.spread(means.get(figure)) for figure in ("modes", "high_quality", "reverse_kl")),
                PUBLISHED.get((data, method), "-"),
                f"{min(real):.3g} to {max(real):.3g}" if real else "-",
                f"{sum(member.get('stayed', False) for member in members)} of {len(real)}",
            ]
        )
    heading = ["data", "method", "steps", "hours", "finished", "modes", "high quality", "reverse KL", "published"]
    table = tabulate.markdown([*heading, "largest real part", "stayed"], lines)
    (arguments.workdir / "table.md").write_text(f"{FLOOR}\n\n{table}")
    (arguments.workdir / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    pictures = [arguments.workdir / f"{name}.png" for name in names]
    tabulate.beside([path for path in pictures if path.exists()], arguments.workdir / "samples.png", columns=6)
    for data in {name.split("-")[0] for name in names}:
        shown = {method: arguments.workdir / f"{data}-{method}-animated" for of, method in order if of == data}
        tabulate.curves(shown, ("modes", "high_quality", "reverse_kl"), arguments.workdir / f"{data}.curves.png")
    print(table, file=sys.stderr)


if __name__ == "__main__":
    startup.prepare()
    main(tyro.cli(Arguments, description=__doc__.splitlines()[0]))
