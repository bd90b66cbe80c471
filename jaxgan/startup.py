"""What is asked of jax before it starts its devices: flags of its compiler, a cache of programs, how many devices."""

import contextlib
import logging
import os
import signal
import sys
import threading
from typing import Any

import jax

from jaxgan import cache, hardware
from jaxgan.errors import InputError, shown, tell_ignored

# Flags of XLA that make a CPU faster, `--name=value`, where XLA_FLAGS does not name them. XLA ends the process on a
# flag that it does not know, so only what every jaxlib that pyproject.toml admits knows may stand here.
XLA_FLAGS: tuple[str, ...] = (
    # Matrix products and convolutions by Eigen, which shares them among all cores, and not by YNNPACK, which leaves
    # small ones to one: 39 against 80 us for [512, 128] x [128, 128] on two cores. YNNPACK's sums over images stay.
    "--xla_cpu_experimental_ynn_fusion_type=reduce",
    # 512 bits where the processor has them: LLVM's default is 256.
    "--xla_cpu_prefer_vector_width=512",
)
LEAST_SECONDS = 0.0
"""Programs that compile faster are not kept. Jax's own threshold of 1 s keeps one or two of a start's twenty programs;
the small ones, of operations outside any step, take 20 to 50 ms each to compile and a few KB to keep."""


def prepare() -> None:
    """Flags and cache for this process; what the user has set in the environment stays."""
    set_flags()
    keep_programs()
    # Orbax logs each of its errors with a traceback, and raises it: the command line tells it in one line. Where many
    # of its writes fail it raises the first, and asyncio logs the others, which nobody asks for.
    for library in ("absl", "asyncio"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    sys.unraisablehook = _tell_unraisable


def _tell_unraisable(unraisable: Any) -> None:
    """Tells an error where nothing can be raised, and lets an interrupt come again.

    Where a disk is full, what TensorStore's threads have still to do fails as well; Python writes such tracebacks in
    pieces, between which other threads write their own. And Ctrl-C is lost where Python collects garbage.
    """
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        return
    tell_ignored(shown(f"{unraisable.exc_type.__name__}: {unraisable.exc_value}"))


def set_flags() -> None:
    """Adds to the environment's XLA_FLAGS those of the table that it does not name."""
    given = os.environ.get("XLA_FLAGS", "")
    named = {flag.split("=")[0] for flag in given.split()}
    os.environ["XLA_FLAGS"] = " ".join([given, *(f for f in XLA_FLAGS if f.split("=")[0] not in named)]).strip()


def keep_programs() -> None:
    """Keeps compiled programs from one process to the next, in `cache.folder`.

    Not where the user has named another place (JAX_COMPILATION_CACHE_DIR). Without a folder that can be written, every
    process compiles for itself, as jax does by default.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    folder = cache.folder()
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)


def use_devices(count: int, lift_name: str) -> None:
    """Makes a CPU show this process so many devices, and a GPU's driver the first so many; 0 leaves them as they are.

    Raises:
      InputError: when the lift runs on one device only, or there are not so many.
    """
    if count < 0 or (count > 1 and lift_name == "jit"):
        raise InputError(f"--devices {count} with --lift {lift_name}: expected --lift mesh or pmap for several devices")
    if not count:
        return
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        pass  # the devices are started: what is there is compared below
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        shown = os.environ[name].split(",") if name in os.environ else [str(i) for i in range(count)]
        os.environ[name] = ",".join(shown[:count])
    shown = jax.local_device_count()
    if shown != count:
        raise InputError(f"--devices {count}: {jax.default_backend()} shows {shown}: choose that number")


def use_all_cores(most: int) -> None:
    """Makes a CPU show a device for each of its cores, at most so many; what the user has said about it stays."""
    if jax.config.jax_num_cpu_devices > 0 or "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):  # the experiment's file has used a device already
        jax.config.update("jax_num_cpu_devices", min(most, hardware.cores()))
