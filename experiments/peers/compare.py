"""Our training step beside the same step in PyTorch and in TensorFlow.

    python experiments/peers/compare.py                                  # every case; makes .venv-peers/ for the peers
    python experiments/peers/compare.py --cases dcgan --rounds 5 --out dcgan.json
    python experiments/peers/compare.py --programs 'jaxgan jit' 'torch eager' --torch-python ~/torch/bin/python

Every program is a process of its own, in an environment of its own (`torch.txt`, `tensorflow.txt`), and stays alive.
First the numerics: from the same weights, on the same examples and latents and without dropout, both players' losses
agree to 1e-4 in each of three steps of gradient descent at the batch that is timed (of Adam: to 1e-3); in float64, on a
few examples, so do losses, penalty and the norms of both gradients, to 1e-4 with either optimiser. What does not agree
is not timed. Then the programs take turns, in every round each of them the same number of steps, all others waiting.

In the table a step's time is the median over rounds (smallest - largest), and a ratio the median, over rounds, of a
program's time by ours of the same round: above 1 ours is faster. Memory is the largest resident set while steps
were timed, and what it grew by since the process had loaded its libraries. Our step also keeps the generator's average
and a dozen metrics, which the peers are spared. PyTorch is given the fastest of one or two calls of the discriminator,
and of its two quick forms of Adam.

Where PyTorch comes from is pip's business: on Linux the index's own build brings CUDA, so name an interpreter that has
the CPU build, or an index of such builds in pip's configuration.
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import environments
from cases import CASES, FIGURES, LOSSES, OURS, checks

COMPARED = {"float64": FIGURES, "float32": LOSSES}
"""What is compared: in float32 a ReLU near zero opens in one program and not in the other, and gradients jump there."""
TOLERANCE = {"float64 sgd": 1e-4, "float64 adam": 1e-4, "float32 sgd": 1e-4, "float32 adam": 1e-3}
"""Largest relative difference. Adam moves an entry whose gradient is mere rounding a whole learning rate either way, so
in float32 it is given more room, and in float64 it is compared in earnest."""
REST = 0.3
"""Seconds between turns: waiting threads of the last program go to sleep first."""
MIB = 2**20


class Worker:
    """A program in its process; used in a `with`, which ends it."""

    def __init__(self, program: str, case: str, python: str):
        command = [python, str(environments.HERE / "worker.py"), program, case]
        pipe = subprocess.PIPE
        self.name = f"{program} of {case}"
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environments.environment())

    def ask(self, do: str, **request):
        """What the program answers."""
        with contextlib.suppress(BrokenPipeError):  # it ended: then there is no answer either
            print(json.dumps({"do": do} | request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.name} ended with status {self.process.wait()} when asked to {do}; its error is above")
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def deviation(ours: list[dict], theirs: list[dict], names: tuple[str, ...]) -> float:
    """The largest relative difference of what two programs report; infinite where one has what the other has not."""
    if [row.keys() for row in ours] != [row.keys() for row in theirs]:
        return math.inf
    pairs = [(a[name], b[name]) for a, b in zip(ours, theirs, strict=True) for name in names if name in a]
    if not all(math.isfinite(v) for pair in pairs for v in pair):
        return math.inf
    return max((abs(a - b) / max(abs(a), abs(b)) for a, b in pairs if a != b), default=0.0)


def compare(case: str, programs: list[str], pythons: dict[str, str]) -> dict[str, dict[str, float]]:
    """The deviation of each program from our plain step in each check; ends the command where one is too large."""
    wanted = {f"{check.dtype} {check.optimiser}": check for check in checks(CASES[case])}
    found, expected = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "weights.npz"))
        for program in dict.fromkeys((OURS[0], *programs)):
            with Worker(program, case, pythons[framework(program)]) as worker:
                if program == OURS[0]:
                    worker.ask("weights", path=path)
                figures = {
                    name: worker.ask("figures", check=check._asdict(), weights=path) for name, check in wanted.items()
                }
            expected = expected or figures
            found[program] = {
                name: deviation(expected[name], rows, COMPARED[wanted[name].dtype]) for name, rows in figures.items()
            }
            text = ", ".join(f"{value:.1e} ({name})" for name, value in found[program].items())
            print(f"{case}: {program}: differs by {text}", file=sys.stderr, flush=True)
            for name, value in found[program].items():
                if value > TOLERANCE[name]:
                    sys.exit(f"{program} is not timed, its arithmetic is another: {figures[name]} for {expected[name]}")
    return found


def measure(case: str, programs: list[str], pythons: dict[str, str], rounds: int) -> dict[str, dict]:
    """What every program says of itself, and its turns."""
    with contextlib.ExitStack() as stack:
        workers = {p: stack.enter_context(Worker(p, case, pythons[framework(p)])) for p in programs}
        about = {program: worker.ask("about") for program, worker in workers.items()}
        notes = {program: worker.ask("start") for program, worker in workers.items()}
        turns = {program: [] for program in programs}
        for _ in range(rounds):
            for program, worker in workers.items():
                time.sleep(REST)
                turns[program].append(worker.ask("turn"))
    return {
        program: about[program]
        | notes[program]
        | {
            "step_ms": [turn["step_ms"] for turn in turns[program]],
            "memory": {"loaded": about[program]["memory"]["now"], "peak": turns[program][-1]["memory"]["peak"]},
        }
        for program in programs
    }


def framework(program: str) -> str:
    return program.split()[0]


def ratios(program: dict, ours: dict) -> list[float]:
    """A program's time by ours, round by round."""
    return [theirs / own for theirs, own in zip(program["step_ms"], ours["step_ms"], strict=True)]


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def table(case: str, results: dict[str, dict]) -> str:
    """The case's results in Markdown."""
    own = [program for program in results if program in OURS]
    lines = [["program", "ms per step", *(f"by {program}" for program in own), "memory, MiB", "grown by"]]
    lines.append(["---"] * len(lines[0]))
    for program, result in results.items():
        digits = 2 if statistics.median(result["step_ms"]) < 20 else 0
        by_ours = [spread(ratios(result, results[ours]), 2) for ours in own]
        loaded, peak = (result["memory"][name] / MIB for name in ("loaded", "peak"))
        cells = [spread(result["step_ms"], digits), *by_ours, f"{peak:.0f}", f"{peak - loaded:.0f}"]
        lines.append([program, *cells])
    flops = [results[program]["flops"] for program in own if program == OURS[0]]
    title = f"{case}, batch {CASES[case].batch}" + "".join(f", {n / 1e9:.4g} GFLOP a step" for n in flops)
    return "\n".join([title, ""] + [f"| {' | '.join(line)} |" for line in lines])


def machine() -> dict:
    """What it was measured on."""
    names = [line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0].split(":", 1)[1].strip() if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--programs", nargs="+", metavar="PROGRAM", help="only these of each case, e.g. 'torch eager'")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every program (5)")
    parser.add_argument("--environments", type=pathlib.Path, default=pathlib.Path(".venv-peers"), metavar="FOLDER")
    parser.add_argument("--torch-python", metavar="PYTHON", help="an interpreter that has PyTorch; none is made then")
    parser.add_argument("--tensorflow-python", metavar="PYTHON", help="likewise, TensorFlow")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file of all that was measured")
    wanted = parser.parse_args()
    known = {program for case in wanted.cases for program in CASES[case].programs}
    if wanted.programs and not known.issuperset(wanted.programs):
        parser.error(f"--programs: expected some of {', '.join(sorted(known))}; got {', '.join(wanted.programs)}")
    for python in (wanted.torch_python, wanted.tensorflow_python):
        if python and shutil.which(python) is None:
            parser.error(f"no interpreter {python!r}: expected the path of a Python that has the framework")
    if wanted.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {wanted.rounds}")
    return wanted


def main() -> None:
    wanted = options()
    pythons = {"jaxgan": sys.executable, "torch": wanted.torch_python, "tensorflow": wanted.tensorflow_python}
    results = {"machine": machine(), "rounds": wanted.rounds, "cases": {}}
    for case in wanted.cases:
        programs = [p for p in CASES[case].programs if not wanted.programs or p in wanted.programs]
        for name in {framework(program) for program in programs}:
            pythons[name] = pythons[name] or environments.python_of(name, wanted.environments)
        deviations = compare(case, programs, pythons)
        measured = measure(case, programs, pythons, wanted.rounds)
        results["cases"][case] = {
            program: result | {"deviation": deviations[program]} for program, result in measured.items()
        }
        print(f"\n{table(case, measured)}\n", flush=True)
        if wanted.out:
            wanted.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
