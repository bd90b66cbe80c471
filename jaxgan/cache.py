"""Where things are kept that can be made again, from one process to the next."""

import os
import pathlib


def folder() -> pathlib.Path | None:
    """The folder `$XDG_CACHE_HOME/jaxgan` or `~/.cache/jaxgan`, made where missing; None where none can be written.

    Only its owner may read it: what lies there is read back without question, and a compiled program is code.
    """
    # A relative XDG_CACHE_HOME is to be ignored, says its specification.
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        path = (pathlib.Path(home) if os.path.isabs(home) else pathlib.Path.home() / ".cache") / "jaxgan"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # the latter where there is no home
        return None
    return path if os.access(path, os.W_OK | os.X_OK) else None
