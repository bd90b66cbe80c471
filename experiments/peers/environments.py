"""An environment of its own for every framework, so that nobody's packages meet another's."""

import os
import pathlib
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).parent


def python_of(framework: str, folder: pathlib.Path) -> str:
    """The interpreter of a framework; its environment is made in a folder if it is not there.

    Args:
      framework: "jaxgan", which is this interpreter, or one that has a file of requirements here.
      folder: where environments are kept.
    """
    if framework == "jaxgan":
        return sys.executable
    place, requirements = folder / framework, HERE / f"{framework}.txt"
    python, done = place / "bin" / "python", place / "requirements.txt"
    # The copy of the requirements is written last: an environment that was left half made is made again.
    if not done.is_file() or done.read_text() != requirements.read_text():
        print(f"making {place} from {requirements.name}", file=sys.stderr, flush=True)
        venv.create(place, with_pip=True, clear=True)
        command = [python, "-m", "pip", "install", "-q", "-r", requirements]
        if subprocess.run(command, env=environment()).returncode:
            sys.exit(f"pip could not install {requirements}, see above; or name an interpreter: --{framework}-python")
        done.write_text(requirements.read_text())
    return str(python)


def environment() -> dict[str, str]:
    """The variables of this process, but for those that lead to its own packages; TensorFlow is told to be quiet."""
    own = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in own} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
