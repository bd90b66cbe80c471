"""Test policy: eight host devices, no silent rank promotion; data sets are found through an environment variable."""

import importlib.metadata
import os
import pathlib
import sys
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
# Most of a test's time is compilation, for programs that run a few times, and most of that the making of machine code:
# LLVM's passes, and the emitters through MLIR, which take two thirds of what is left. What XLA makes of a program, and
# so its operations and its memory, stays as it is. `XLA_FLAGS=--xla_backend_optimization_level=3` is what users have.
if "xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    quick = ["--xla_backend_optimization_level=0"]
    if importlib.metadata.version("jaxlib").startswith("0.10."):  # 0.11.1 and later end the process on it
        quick.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *quick])

import jax
import pytest

pytest.register_assert_rewrite("checks")  # a check that fails tells its values, as in a test
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Many tests run the same small game: what one of them compiled, the others load. Gone with the process.
_compiled = tempfile.TemporaryDirectory()
jax.config.update("jax_compilation_cache_dir", _compiled.name)
os.environ["XDG_CACHE_HOME"] = _compiled.name  # what a command in a process of its own keeps is kept there too
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def data_sets() -> pathlib.Path:
    """The folder of real data sets, `$TFDS_DATA_DIR`; tests that need it are skipped where it is absent."""
    folder = os.environ.get("TFDS_DATA_DIR")
    if not folder or not pathlib.Path(folder, "mnist").is_dir():
        pytest.skip("TFDS_DATA_DIR does not name a folder with mnist/ in it")
    return pathlib.Path(folder)


@pytest.fixture
def jaxgan(monkeypatch, capfd):
    """Runs a command line in this process: `(exit code, standard output, standard error)`."""
    from jaxgan import cli

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["jaxgan", *map(str, arguments)])
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # which the command line sets
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        said = capfd.readouterr()
        return code, said.out, said.err

    return call
