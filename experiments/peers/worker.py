"""One program in a process of its own: a line of JSON asks for something on standard input, one on standard output
answers.

    python worker.py PROGRAM CASE

Every framework's module has three functions: `about()`, the versions and the number of threads; `figures(case, form,
check, weights)`, what a few steps from given weights report; and `start(case, form)`, which makes everything ready
and returns `run(count)`, which takes so many steps and waits for them, with notes.
"""

import importlib
import json
import os
import pathlib
import sys
import time

from cases import CASES, Check

MODULES = {"jaxgan": "in_jaxgan", "torch": "in_torch", "tensorflow": "in_tensorflow"}


def resident() -> dict[str, int]:
    """Bytes of memory that this process has, and the most that it had, as Linux counts them."""
    lines = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    return {name: 1024 * int(lines[field].split()[0]) for name, field in (("now", "VmRSS"), ("peak", "VmHWM"))}


def forget_peak() -> None:
    """Makes the most that this process had what it has now: compiling and trying out are not training."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    # What libraries print is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    program, case = sys.argv[1], CASES[sys.argv[2]]
    framework, _, form = program.partition(" ")
    module = importlib.import_module(MODULES[framework])
    run = None
    for line in sys.stdin:
        request = json.loads(line)
        wanted = request.pop("do")
        if wanted == "about":
            answer = module.about() | {"memory": resident()}
        elif wanted == "start":
            run, notes = module.start(case, form)
            run(case.turn)
            forget_peak()
            answer = notes
        elif wanted == "turn":
            began = time.perf_counter()
            run(case.turn)
            answer = {"step_ms": 1000 * (time.perf_counter() - began) / case.turn, "memory": resident()}
        elif wanted == "weights":
            answer = module.weights(case, request["path"])
        else:
            answer = module.figures(case, form, Check(**request["check"]), request["weights"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
