"""What the tests of faults share: runs that nothing happens to, and what one would go on from."""

import functools
import shutil

import jax
import numpy as np
import pytest
import small_run
from jax.sharding import SingleDeviceSharding

from jaxgan import experiment as experiments
from jaxgan import progress, run


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """`steps -> ` what a run of so many steps leaves that nothing happens to."""

    @functools.cache
    def of(steps):
        workdir = tmp_path_factory.mktemp("uninterrupted")
        code, said = small_run.finish(workdir, steps)
        assert code == 0, said
        return small_run.left(workdir)

    return of


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A run of 20 steps with checkpoints 10 and 20; who changes something takes a copy."""
    workdir = tmp_path_factory.mktemp("made") / "run"
    code, said = small_run.finish(workdir, 20)
    assert code == 0, said
    return workdir


@pytest.fixture(scope="session")
def restored(made):
    """`workdir -> (step, bits of every leaf, note)` of what a run would go on from."""
    config = run.read(made)
    experiment = experiments.load(str(small_run.DIGITS))(**config.options)
    place = SingleDeviceSharding(jax.devices()[0])

    def of(workdir):
        found = progress.newest(experiment, config, workdir, place, set_aside=True)
        return found.step, [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(found.state)], found.note

    return of


@pytest.fixture(scope="session")
def truth(made, restored, tmp_path_factory):
    """What the two checkpoints hold, by step."""
    earlier = shutil.copytree(made, tmp_path_factory.mktemp("earlier") / "run")
    shutil.rmtree(earlier / "checkpoints" / "20")
    found = {20: restored(made), 10: restored(earlier)}
    assert found[10][0] == 10 and found[10][1] != found[20][1]
    return found
