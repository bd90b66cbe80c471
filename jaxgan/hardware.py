"""What a machine is, and how fast it multiplies matrices."""

import os
import pathlib
import platform
import resource
import statistics
import sys
import time

import jax
import jax.numpy as jnp


def describe() -> dict[str, str | int]:
    """Backend, kind of device, processor and cores."""
    return {
        "backend": jax.default_backend(),
        "device_kind": jax.devices()[0].device_kind,
        "cpu": processor(),
        "cores": cores(),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def processor() -> str:
    """The processor's name, as its maker or at least Python calls it."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def matrix_peak(dtype: str, repeats: int = 15) -> float:
    """Floating-point operations per second of one device in a square product, the median of several."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    # Not constants: a GPU that multiplies equal numbers takes less power and runs faster.
    a, b = jax.jit(lambda: jax.random.normal(jax.random.key(0), (2, size, size), dtype))()
    product = jax.jit(jnp.matmul)
    product(a, b).block_until_ready()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        product(a, b).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds)


def peak_memory() -> int:
    """Most bytes that one device has held since the start; where the backend does not say, that this process has."""
    held = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]
    if None not in held:
        return max(held)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
