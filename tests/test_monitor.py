"""What a run tells: sums that do not see chunks, lines that are JSON, events that TensorBoard reads."""

import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from jaxgan.monitor import Sums, Timing, open_monitor

VALUES = {
    "discriminator/loss": 1.25,
    "generator/loss": 0.5,
    "discriminator/real_accuracy": 0.75,
    "discriminator/fake_accuracy": 1.0,
    "examples_per_second": 1234.5,
}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("cuts", [[1] * 24, [24], [1, 23], [7, 7, 7, 3], [12, 0, 12]])
def test_sums_do_not_see_how_steps_were_cut(cuts):
    """To the last bit: a resumed run is cut elsewhere, and its lines must be the same."""
    random = np.random.default_rng(0)
    rows = {
        "a": np.float32([2.0**60, 1.0, -(2.0**60), 1.0] * 6),  # every order of summation gives another sum
        "b": random.normal(size=24).astype(np.float32),
    }
    one_by_one = {name: 0.0 for name in rows}
    for name, values in rows.items():
        for value in values:
            one_by_one[name] += float(value)
    sums, start = Sums({}, 0), 0
    for length in cuts:
        sums = sums.add({name: values[start : start + length] for name, values in rows.items()})
        start += length
    assert sums == Sums(one_by_one, 24)
    assert sums.means() == {name: total / 24 for name, total in one_by_one.items()}
    # The sum of sums has other last bits: the equality above is not for nothing.
    in_pieces = sum(np.sum(piece.astype(np.float64)) for piece in np.split(rows["a"], [7, 14, 21]))
    assert float(in_pieces) != one_by_one["a"]


def test_sums_are_kept_whole_and_survive_a_checkpoints_json():
    sums = Sums({}, 0)
    first = sums.add({"a": np.float32([0.1, 0.2, 0.3])})
    assert sums == Sums({}, 0)  # not changed in place
    resumed = Sums(**json.loads(json.dumps(first._asdict())))
    further = {"a": np.float32([0.7])}
    assert resumed.add(further) == first.add(further)
    assert first.add(further).count == 4


def test_timing_figures():
    timing = Timing(0, 0.0, 0.0).add(10, 2.0, 0.5).add(30, 3.0, 0.25)
    assert timing == Timing(40, 5.0, 0.75)
    assert timing.figures(64) == {"examples_per_second": 40 * 64 / 5.0, "input_wait_seconds": 0.75}


def test_a_line_for_each_step_in_json(tmp_path):
    with open_monitor(tmp_path, 0, 10) as monitor:
        monitor.line(5, {"a": 0.1, "n": 3, "name": "text"})
        assert lines(tmp_path / "metrics.jsonl") == [{"step": 5, "a": 0.1, "n": 3, "name": "text"}]  # at once
        monitor.line(10, {"a": 1e-30})
    assert lines(tmp_path / "metrics.jsonl")[1] == {"step": 10, "a": 1e-30}


@pytest.mark.parametrize("start, kept", [(0, []), (4, []), (5, [5]), (9, [5]), (10, [5, 10]), (99, [5, 10, 15])])
def test_lines_after_the_step_that_is_resumed_are_dropped(tmp_path, start, kept):
    with open_monitor(tmp_path, 0, 20) as monitor:
        for step in (5, 10, 15):
            monitor.line(step, {"a": float(step)})
    with open_monitor(tmp_path, start, 200) as monitor:
        monitor.line(100, {"a": -1.0})
    found = lines(tmp_path / "metrics.jsonl")
    assert found == [{"step": s, "a": float(s)} for s in kept] + [{"step": 100, "a": -1.0}]


def test_the_half_line_of_a_killed_run_does_not_stop_it_from_going_on(tmp_path):
    """A process may die, or a disk fill up, in the middle of a line."""
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "a": 1.0}\n{"step": 10, "a"')
    with open_monitor(tmp_path, 5, 20) as monitor:
        monitor.line(10, {"a": 2.0})
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [5, 10]


@pytest.mark.parametrize("line", ['{"step": true}', '{"step": 5.0}', '{"step": "5"}', "[5]", "5", "{}", ""])
def test_a_line_that_is_no_steps_is_left_out_and_kept_beside(tmp_path, capsys, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 5}}\n{line}\n')
    with open_monitor(tmp_path, 10, 20):
        pass
    assert lines(tmp_path / "metrics.jsonl") == [{"step": 5}]
    assert (tmp_path / "metrics.jsonl.damaged").exists() and "1 lines" in capsys.readouterr().err


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_hold_is_refused(tmp_path, value):
    with open_monitor(tmp_path, 0, 10) as monitor:
        monitor.line(1, {"a": 1.0})
        with pytest.raises(ValueError, match="JSON compliant"):
            monitor.line(2, {"a": value})
    assert lines(tmp_path / "metrics.jsonl") == [{"step": 1, "a": 1.0}]  # and leaves no half a line


def test_pictures(tmp_path):
    random = np.random.default_rng(0)
    grey, colour = (random.integers(0, 256, (6, 9, channels), np.uint8) for channels in (1, 3))
    with open_monitor(tmp_path, 0, 10) as monitor:
        monitor.picture("real", 0, grey)
        monitor.picture("0000010", 10, colour)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["0000010.png", "real.png"]
    for name, picture in (("real", grey[:, :, 0]), ("0000010", colour)):
        with Image.open(tmp_path / "samples" / f"{name}.png") as read:
            np.testing.assert_array_equal(np.asarray(read), picture)


def test_the_status_is_one_line_on_standard_error(tmp_path, capsys):
    with open_monitor(tmp_path, 0, 500) as monitor:
        monitor.status(50, VALUES)
        monitor.advance(3)  # without a bar, nothing
    out, err = capsys.readouterr()
    assert out == ""  # standard output is for results
    assert err == "step 50/500  D 1.250  G 0.500  D(real) 0.750  D(fake) 1.000  1234 examples/s\n"


def test_a_terminal_gets_a_bar_that_starts_where_the_run_does(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with open_monitor(tmp_path, 40, 100) as monitor:
        assert (monitor.bar.n, monitor.bar.total) == (40, 100)
        monitor.advance(10)
        assert monitor.bar.n == 50
        monitor.status(50, VALUES)
    assert "D 1.250  G 0.500" in terminal.getvalue()


def events(folder):
    """What TensorBoard shows of a folder."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="reading events needs tensorboard"
    )
    read = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    read.Reload()
    return read


@pytest.mark.filterwarnings("ignore")  # tensorboard's own, of its dependencies
def test_events_can_be_read_back(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (6, 9, 1), np.uint8)
    with open_monitor(tmp_path, 0, 10) as monitor:
        for step in (5, 10):
            monitor.line(step, {"generator/loss": step / 4, "modes": step, "name": "text"})
        monitor.picture("real", 0, picture)
        for step in (5, 10):
            monitor.picture(f"{step:07d}", step, picture)
    read = events(tmp_path)
    assert set(read.Tags()["scalars"]) == {"generator/loss", "modes"}
    assert [(e.step, e.value) for e in read.Scalars("generator/loss")] == [(5, 1.25), (10, 2.5)]
    assert set(read.Tags()["images"]) == {"real", "samples"}
    assert [e.step for e in read.Images("samples")] == [5, 10]  # one picture that moves, not one for each step
    with Image.open(io.BytesIO(read.Images("real")[0].encoded_image_string)) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("L")), picture[:, :, 0])


@pytest.mark.filterwarnings("ignore")
def test_events_after_the_step_that_is_resumed_are_dropped(tmp_path):
    with open_monitor(tmp_path, 0, 20) as monitor:
        for step in (5, 10, 15):
            monitor.line(step, {"a": 1.0})
    (written,) = tmp_path.glob("events.*")  # named by the second: two runs of one second would share a name
    written.rename(tmp_path / "events.out.tfevents.0000000001.first")
    with open_monitor(tmp_path, 10, 20) as monitor:
        monitor.line(15, {"a": 2.0})
    assert [(e.step, e.value) for e in events(tmp_path).Scalars("a")] == [(5, 1.0), (10, 1.0), (15, 2.0)]
