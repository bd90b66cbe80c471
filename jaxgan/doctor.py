"""What a machine and a run directory are like, and what about them will not do for training."""

import contextlib
import glob
import importlib.metadata
import os
import pathlib
import platform
import shutil
import time
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import cache, checkpoint, hardware, lift, monitor, run
from jaxgan.errors import InputError, shown

PROBE_BYTES = 2**24
"""Size of the file that is written to try a disk."""


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
      about: what.
      verdict: "ok", "note" (worth knowing) or "bad" (will not do).
      text: what there is and, where it will not do, what to do.
    """

    about: str
    verdict: str
    text: str


def examine(workdir: pathlib.Path | None, data_dir: str) -> Iterator[Finding]:
    """Looks at everything, and tells each finding as soon as it is there.

    Args:
      workdir: a run directory, or None.
      data_dir: where prepared data sets lie, "" for `$TFDS_DATA_DIR` or their usual place.
    """
    yield versions()
    yield devices()
    yield collective()
    yield kept()
    yield data(data_dir)
    yield disk(workdir if workdir is not None else pathlib.Path.cwd())
    if workdir is not None:
        yield from directory(workdir)


def versions() -> Finding:
    """Python and the packages that a run's configuration names."""
    names = ("jaxgan", *run.PACKAGES)
    found = [f"python {platform.python_version()}", *(f"{name} {importlib.metadata.version(name)}" for name in names)]
    return Finding("versions", "ok", ", ".join(found))


def devices() -> Finding:
    """Every device of this process, by a product that it computes."""
    size = 64
    a = np.arange(size * size, dtype=np.float32).reshape(size, size) % 7
    wrong = [
        str(device)
        for device in jax.local_devices()
        if not np.array_equal(jax.jit(jnp.matmul)(jax.device_put(a, device), jax.device_put(a, device)), a @ a)
    ]
    about = hardware.describe()
    text = f"{jax.device_count()} {about['backend']} ({about['device_kind']}), {about['cores']} cores of {about['cpu']}"
    if wrong:
        return Finding("devices", "bad", f"{text}; a product of small whole numbers is wrong on {', '.join(wrong)}")
    return Finding("devices", "ok", text)


def collective() -> Finding:
    """A sum over all devices, which `--lift mesh`, `fsdp` and `pmap` stand on."""
    count = jax.device_count()
    if count == 1:
        return Finding("collective", "note", "one device: --lift jit; --devices N makes a CPU show more")
    mesh = lift.data_mesh()
    split, whole = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in ((lift.AXIS,), ()))
    began = time.perf_counter()
    total = int(jax.jit(jnp.sum, out_shardings=whole)(jax.device_put(jnp.arange(count), split)))
    if total != count * (count - 1) // 2:
        return Finding("collective", "bad", f"0 + ... + {count - 1} over the devices is {total}")
    return Finding("collective", "ok", f"a sum over {count} devices in {time.perf_counter() - began:.2f} s")


def kept() -> Finding:
    """The folder of compiled programs and decoded images."""
    folder = cache.folder()
    if folder is None:
        return Finding("cache", "note", "no folder to keep compiled programs in: set XDG_CACHE_HOME to one")
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # one that another process has just put away
                size += os.path.getsize(os.path.join(place, name))
    return Finding("cache", "ok", f"{size / 2**20:.0f} MiB in {folder}; it may be deleted")


def data(data_dir: str) -> Finding:
    """The prepared data sets."""
    place = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    place = pathlib.Path(os.path.expanduser(place))
    if not os.path.isdir(place):  # unlike a Path's own method, also of what cannot be a path at all
        absent = f"no folder {shown(place)}: digits are there, other sets are prepared when first used"
        return Finding("data", "note", absent)
    layouts = ("*/*/dataset_info.json", "*/*/*/dataset_info.json")  # name/version, name/config/version
    found = [path for layout in layouts for path in glob.iglob(layout, root_dir=place)]
    names = sorted({pathlib.Path(path).parts[0] for path in found})
    return Finding("data", "ok", f"{', '.join(names) or 'no prepared set'} in {place}")


def disk(place: pathlib.Path) -> Finding:
    """Space where a run would write, and a file written, flushed and read there."""
    while not os.path.isdir(place):
        place = place.parent
    probe, content = place / f".probe-{os.getpid()}", os.urandom(PROBE_BYTES)
    try:
        began = time.perf_counter()
        with probe.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        seconds = time.perf_counter() - began
        same = zlib.crc32(probe.read_bytes()) == zlib.crc32(content)
    except OSError as error:
        return Finding("disk", "bad", f"{place} cannot be written ({error.strerror}): choose another --workdir")
    finally:
        probe.unlink(missing_ok=True)
    free = shutil.disk_usage(place).free
    text = f"{free / 2**30:.1f} GiB free at {place}, {PROBE_BYTES / 2**20 / seconds:.0f} MiB/s written and flushed"
    return Finding("disk", "ok" if same else "bad", text if same else f"{text}; what was read back is another")


def directory(workdir: pathlib.Path) -> Iterator[Finding]:
    """A run directory: its configuration, its lines, who trains there, and every checkpoint."""
    try:
        config = run.read(workdir)
    except InputError as error:
        yield Finding("run", "bad", str(error))
        return
    if config is None:
        yield Finding("run", "note", f"{workdir} holds no run (no config.json)")
        return
    yield Finding(
        "run", "ok", f"{config.experiment}, seed {config.seed}, begun with jaxgan {config.versions['jaxgan']}"
    )
    holder = run.holder(workdir)
    yield Finding("lock", "note" if holder else "ok", f"in use by {holder}" if holder else "nobody trains there")
    lines, bad = monitor.count_lines(workdir)
    yield Finding("metrics", "bad" if bad else "ok", f"{lines} lines" + (f", {bad} are none of a run's" if bad else ""))
    folder = workdir / "checkpoints"
    there = checkpoint.steps(folder)
    for step in there:
        verdict = checkpoint.examine(folder, step)
        yield Finding(f"step {step}", "ok" if verdict == "sound" else "bad", verdict)
    if not there:
        yield Finding("checkpoints", "note", "there is none yet")
    for path in sorted(folder.glob("*.damaged*")):
        yield Finding("set aside", "note", f"{path}; delete it once you know why")
    if there:
        size = sum(path.stat().st_size for path in (folder / str(there[-1])).rglob("*") if path.is_file())
        free = shutil.disk_usage(folder).free
        text = f"a checkpoint takes {size / 2**20:.1f} MiB, {free / 2**20:.0f} MiB are free"
        yield Finding("room", "ok" if free > 2 * size else "bad", text)


def told(finding: Finding) -> str:
    """A finding as a line."""
    return f"{finding.verdict:<5} {finding.about:<12} {finding.text}"
