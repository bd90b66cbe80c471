"""What the tests of faults share: a run that nothing happens to."""

import functools

import pytest
import small_run


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
