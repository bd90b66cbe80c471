"""Checkpoints: what comes back is what was saved, to the last bit, or an error that names what is wrong."""

import collections
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from jaxgan import checkpoint, lift
from jaxgan.checkpoint import KEEP, open_checkpoints, restore, restore_newest, save, steps
from jaxgan.errors import DamagedError, InputError, UnwrittenError
from jaxgan.players import GANState, Player

NOTE = {"sums": {"totals": {"generator/loss": 0.1, "discriminator/loss": 1 / 3}, "count": 3}, "reached": None}


def make_state(seed=0):
    """A state as `make_gan` makes them: chained optimisers with counters, half precision, statistics or none."""
    random = np.random.default_rng(seed)

    def array(*shape, dtype=jnp.float32):
        return jnp.asarray(random.normal(size=shape), dtype)

    g_params = {"Dense_0": {"kernel": array(20, 40), "bias": array(40, dtype=jnp.bfloat16)}}
    d_params = {"Conv_0": {"kernel": array(3, 3, 1, 8)}, "scale": array()}
    g_tx, d_tx = optax.adam(1e-3), optax.chain(optax.clip(1.0), optax.adam(1e-3, b1=0.0), optax.add_noise(0.1, 0.5, 1))
    g_opt = g_tx.update(jax.tree.map(jnp.ones_like, g_params), g_tx.init(g_params), g_params)[1]
    d_opt = optax.chain(optax.clip(1.0), optax.rmsprop(1e-3, momentum=0.9)).init(d_params)
    d_opt = (d_opt, d_tx.init(d_params)[1])
    stats = {"batch_stats": {"mean": array(40), "var": array(40)}, "counters": {"calls": jnp.int32(2**31 - 1)}}
    return GANState(
        step=jnp.int32(12345),
        generator=Player(g_params, stats, g_opt),
        discriminator=Player(d_params, {}, d_opt),
        ema=jax.tree.map(lambda v: v - 1, {"params": g_params, **stats}),
    )


def template(tree, sharding=None):
    sharding = sharding or SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=sharding), tree)


def bits(leaf):
    return leaf.dtype, leaf.shape, np.ascontiguousarray(leaf).tobytes()


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    return all(bits(a) == bits(b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory with one checkpoint; tests that write take a copy."""
    directory = tmp_path_factory.mktemp("saved")
    with open_checkpoints(directory) as checkpoints:
        save(checkpoints, 7, make_state(), NOTE)
    return directory


def test_round_trip_to_the_last_bit(saved):
    state = make_state()
    assert steps(saved) == [7]
    step, restored, note = restore(saved, 7, template(state))
    assert step == 7
    assert same(restored, state)
    assert not same(restored, make_state(seed=1))
    assert note == NOTE
    assert note["sums"]["totals"]["discriminator/loss"].hex() == (1 / 3).hex()


def test_numbers_that_only_look_equal_come_back_as_they_were(tmp_path):
    """Minus zero, NaN with its payload, subnormal and extreme numbers, in each precision."""
    words = np.uint32([0x80000000, 0x7FC00001, 0xFFC12345, 0x00000001, 0x7F7FFFFF, 0x7F800000])
    state = {"single": words.view(np.float32), "half": words.view(jnp.bfloat16)}
    state = jax.tree.map(jnp.asarray, state)
    with open_checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 0, state, {})
    _, restored, note = restore(tmp_path, 0, template(state))
    assert same(restored, state) and note == {}


def replaced(tree, **leaves):
    return {**tree, **leaves}


MISFITS = {
    "shape": (lambda t, leaf: replaced(t, b=leaf((4,), jnp.float32)), r"b is float32\[3\] there, float32\[4\] here"),
    "rank": (lambda t, leaf: replaced(t, b=leaf((3, 1), jnp.float32)), r"b is float32\[3\] there, float32\[3, 1\]"),
    # Orbax casts without a word
    "dtype": (lambda t, leaf: replaced(t, b=leaf((3,), jnp.bfloat16)), r"b is float32\[3\] there, bfloat16\[3\] here"),
    "kind": (lambda t, leaf: replaced(t, n=leaf((), jnp.float32)), r"n is int32\[\] there, float32\[\] here"),
    "missing": (lambda t, leaf: {k: v for k, v in t.items() if k != "b"}, r"b is float32\[3\] there, nothing here"),
    "extra": (lambda t, leaf: replaced(t, c=leaf((2,), jnp.float32)), r"c is nothing there, float32\[2\] here"),
    "deep": (
        lambda t, leaf: replaced(t, layers={"0": {"kernel": leaf((2, 3), jnp.float32)}}),
        r"layers/0/kernel is float32\[2, 2\] there, float32\[2, 3\] here",
    ),
    "renamed": (
        lambda t, leaf: replaced({k: v for k, v in t.items() if k != "b"}, bias=t["b"]),
        r"b is float32\[3\] there, nothing here",
    ),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    directory = tmp_path_factory.mktemp("small")
    state = {"b": jnp.ones(3), "n": jnp.int32(3), "layers": {"0": {"kernel": jnp.ones((2, 2))}}}
    with open_checkpoints(directory) as checkpoints:
        save(checkpoints, 3, state, {})
    return directory, template(state)


@pytest.mark.parametrize("change, message", MISFITS.values(), ids=MISFITS)
def test_another_architecture_is_refused_by_the_name_of_its_leaf(small, change, message):
    directory, fitting = small
    place = SingleDeviceSharding(jax.devices()[0])
    wanted = change(fitting, lambda shape, dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=place))
    with pytest.raises(InputError, match=f"checkpoint 3 does not fit this architecture: {message}"):
        restore(directory, 3, wanted)
    restore(directory, 3, fitting)  # and the right one still can


def outcome(directory, state):
    """What became of a checkpoint: that it is refused as damaged, or whether state and note are what they were."""
    try:
        _, restored, note = restore(directory, 7, template(state))
    except DamagedError:
        return "refused"
    return "whole" if same(restored, state) and note == NOTE else "wrong"


def damaged(saved, file, change, to):
    """A copy of a run's checkpoints with a file changed."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(saved, to)
    (to / file).write_bytes(change(bytearray((to / file).read_bytes())))
    return to


def flip(at, bit):
    def change(content):
        content[at] ^= 1 << bit
        return content

    return change


def test_a_flipped_bit_is_never_silent(saved, tmp_path):
    """In every file of the state; most in the arrays' own, whose bits no checksum of TensorStore's covers."""
    state = make_state()
    files = [path for path in (saved / "7" / "state").rglob("*") if path.is_file()]
    arrays = [path for path in files if path.parent.name == "d"]
    largest = max(arrays, key=lambda path: path.stat().st_size)
    seen = {}
    for path in files:
        size, file = path.stat().st_size, path.relative_to(saved)
        outcomes = collections.Counter()
        for i in range(12 if path == largest else 3):
            at = (2 * i + 1) * size // (24 if path == largest else 6)
            outcomes[outcome(damaged(saved, file, flip(at, i % 8), tmp_path / "damaged"), state)] += 1
        seen[str(file)] = outcomes
    assert not [file for file, outcomes in seen.items() if outcomes["wrong"]], seen
    assert seen[str(largest.relative_to(saved))]["refused"] == 12, seen


def test_a_cut_or_lost_file_is_never_silent(saved, tmp_path):
    state = make_state()
    for path in (saved / "7").rglob("*"):
        if path.is_file():
            file = path.relative_to(saved)
            assert outcome(damaged(saved, file, lambda c: c[: len(c) // 2], tmp_path / "cut"), state) != "wrong", file


@pytest.mark.parametrize("old, new", [(b"0.1", b"0.2"), (b'"count": 3', b'"count": 2')])
def test_a_changed_note_is_never_silent(saved, tmp_path, old, new):
    """The note holds sums that go into `metrics.jsonl`: they are part of what a resumed run must have right."""
    state = make_state()
    file = (saved / "7" / "record" / "metadata").relative_to(saved)
    before = (saved / file).read_bytes()
    assert old in before
    assert outcome(damaged(saved, file, lambda _: before, tmp_path / "same"), state) == "whole"
    changed = damaged(saved, file, lambda _: before.replace(old, new), tmp_path / "changed")
    assert outcome(changed, state) != "wrong"


def test_an_existing_step_is_not_written_again(tmp_path):
    one, other = {"x": jnp.zeros(3)}, {"x": jnp.ones(3)}
    with open_checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 5, one, {"n": 1})
        for step in (5, 4):
            with pytest.raises(RuntimeError, match=f"checkpoint {step} was not written: 5 is there already"):
                save(checkpoints, step, other, {"n": 2})
    _, restored, note = restore(tmp_path, 5, template(one))
    assert same(restored, one) and note == {"n": 1}


def test_only_the_newest_are_kept(tmp_path):
    with open_checkpoints(tmp_path) as checkpoints:
        for step in range(10, 10 * (KEEP + 3), 10):
            save(checkpoints, step, {"x": jnp.full(3, step)}, {"step": step})
    newest = [10 * i for i in range(3, KEEP + 3)]
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == newest
    assert steps(tmp_path) == newest
    _, restored, note = restore(tmp_path, newest[0], template({"x": jnp.zeros(3, jnp.int32)}))
    assert (restored["x"] == newest[0]).all() and note == {"step": newest[0]}


@pytest.mark.parametrize("before", [1, 8])
@pytest.mark.parametrize("after", [1, 8])
def test_on_one_device_and_on_eight(before, after, tmp_path):
    whole = NamedSharding(lift.data_mesh(), PartitionSpec())
    place = {1: SingleDeviceSharding(jax.devices()[0]), 8: whole}
    state = make_state()
    with open_checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, jax.device_put(state, place[before]), NOTE)
    _, restored, note = restore(tmp_path, 1, template(state, place[after]))
    assert same(restored, state) and note == NOTE
    for leaf in jax.tree.leaves(restored):
        assert leaf.sharding.is_equivalent_to(place[after], leaf.ndim)
        assert len(leaf.sharding.device_set) == after


def test_a_state_may_be_given_up_while_it_is_written(tmp_path):
    """The next step donates its buffers; the writer, in the background, must have its own."""
    state = {"x": jnp.arange(100_000.0)}
    advance = jax.jit(lambda state: jax.tree.map(lambda v: -v - 1, state), donate_argnums=0)
    with open_checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, state, {})
        for _ in range(5):
            state = advance(state)
    _, restored, _ = restore(tmp_path, 1, template(state))
    np.testing.assert_array_equal(restored["x"], np.arange(100_000.0))


def test_the_best_is_kept_beside_the_newest(tmp_path):
    with open_checkpoints(tmp_path) as checkpoints:
        for step in range(8):
            save(checkpoints, step, {"x": jnp.full(3, step)}, {}, best=2 if step < 6 else 6)
            checkpoints.wait()
            there = steps(tmp_path)
            assert step in there and (2 in there or not 2 <= step < 6) and (6 in there or step < 6)
            assert len(there) <= KEEP + 1
    assert checkpoint.best_step(tmp_path) == 6


def write_three(directory):
    """Checkpoints 1, 2, 3 of different states."""
    with open_checkpoints(directory) as checkpoints:
        for step in (1, 2, 3):
            save(checkpoints, step, {"x": jnp.full(5, float(step))}, {"n": step})
    return template({"x": jnp.zeros(5)})


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_taken(tmp_path, capsys):
    wanted = write_three(tmp_path)
    for step in (3, 2):
        (tmp_path / str(step) / "record" / "metadata").write_text("{}")
        found = restore_newest(tmp_path, wanted, set_aside=step == 2)
        assert found.step == step - 1 and (found.state["x"] == step - 1).all() and found.note == {"n": step - 1}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3 and all("is damaged" in line and "an older one is taken" in line for line in said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2.damaged", "3.damaged"]
    (tmp_path / "1" / "record" / "metadata").unlink()
    with pytest.raises(InputError, match="no checkpoint in .* can be used"):
        restore_newest(tmp_path, wanted, set_aside=True)
    with pytest.raises(InputError, match="no checkpoint in .* can be used, 3 damaged"):
        restore_newest(tmp_path, wanted, set_aside=True)
    assert restore_newest(tmp_path / "nowhere", wanted, set_aside=True) is None


def test_what_is_no_checkpoint_is_let_be_and_what_a_kill_left_is_removed(tmp_path):
    wanted = write_three(tmp_path)
    (tmp_path / "200").write_text("a file")
    (tmp_path / "007").mkdir()
    (tmp_path / "4.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "0.removed").mkdir()
    with open_checkpoints(tmp_path):
        assert restore_newest(tmp_path, wanted, set_aside=True).step == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["007", "1", "2", "200", "3"]


def test_a_link_in_a_checkpoint_is_refused(tmp_path):
    wanted = write_three(tmp_path / "run")
    metadata = tmp_path / "run" / "3" / "record" / "metadata"
    metadata.replace(tmp_path / "elsewhere")
    metadata.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedError, match="3/record/metadata is a symbolic link"):
        restore(tmp_path / "run", 3, wanted)


def test_metadata_too_large_to_be_any_is_not_read(tmp_path):
    wanted = write_three(tmp_path)
    with (tmp_path / "3" / "state" / "_METADATA").open("r+b") as file:
        file.truncate(2**40)  # no bytes on the disk
    with pytest.raises(DamagedError, match="3/state/_METADATA has 1099511627776 bytes"):
        restore(tmp_path, 3, wanted)


def test_an_error_of_writing_is_told_where_the_next_one_begins_or_at_the_end(tmp_path, monkeypatch):
    """Orbax writes in the background; a failure there must not be lost, not even in the last checkpoint of all."""
    wanted = write_three(tmp_path)

    def fail(directory):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_seal", fail)
    with pytest.raises(UnwrittenError, match="the disk is full.*newest that is whole is step 3"):
        with open_checkpoints(tmp_path) as checkpoints:
            save(checkpoints, 4, {"x": jnp.zeros(5)}, {})
    with pytest.raises(UnwrittenError, match="the disk is full"):
        with open_checkpoints(tmp_path) as checkpoints:
            save(checkpoints, 4, {"x": jnp.zeros(5)}, {})
            save(checkpoints, 5, {"x": jnp.zeros(5)}, {})
    assert restore_newest(tmp_path, wanted, set_aside=True).step == 3


def test_every_checkpoint_can_be_examined_without_its_experiment(saved, tmp_path):
    assert checkpoint.examine(saved, 7) == "sound"
    record = (saved / "7" / "record" / "metadata").relative_to(saved)
    changed = damaged(saved, record, lambda c: c.replace(b"12", b"13", 1), tmp_path / "changed")
    assert checkpoint.examine(changed, 7) == "checkpoint 7 is damaged: 7/record/metadata is not what was written"


def test_no_code_is_in_a_checkpoint(saved):
    """No file of it is a pickle, which begins (from protocol 2 on) with 0x80 and its protocol and ends with a dot."""
    for path in saved.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not (content[:1] == b"\x80" and content[1:2] <= b"\x05" and content[-1:] == b"."), path
    assert not hasattr(checkpoint, "pickle")
