"""The command line as a stranger meets it: what is wrong ends in one line, a code, and nothing lost."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxgan import features
from jaxgan.evaluation import METRICS
from jaxgan.features import classifier, recipe

EXPERIMENTS = pathlib.Path(__file__).parent.parent / "experiments"
RING, DIGITS, DCGAN, WGAN = (
    str(EXPERIMENTS / f"{name}.py") for name in ("ring", "digits", "mnist_dcgan", "mnist_wgan")
)
SMALL = ["--width", "16", "--batch-size", "16"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run directory, trained by the console script in a process of its own."""
    workdir = tmp_path_factory.mktemp("ring") / "run"
    command = [sys.executable, "-c", "from jaxgan.cli import main; main()", "train", RING, "--workdir", workdir]
    done = subprocess.run([*command, "--steps", "20", *SMALL], capture_output=True, text=True, check=True)
    assert "compiled in" in done.stderr and done.stdout == ""
    return workdir


def tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} if folder.exists() else {}


@pytest.fixture
def here(monkeypatch, tmp_path):
    """A folder with what users get wrong, and the current directory."""
    noise = np.random.default_rng(0)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "plain.py").write_text("x = 1\n")
    (tmp_path / "required.py").write_text("def experiment(*, width): pass\n")
    (tmp_path / "taken.py").write_text("def experiment(*, steps: int = 3): pass\n")
    np.save(tmp_path / "32x32.npy", noise.integers(0, 256, (300, 32, 32, 1), np.uint8))
    np.save(tmp_path / "floats.npy", noise.uniform(0, 255, (300, 28, 28, 1)).astype(np.float32))
    np.save(tmp_path / "few.npy", noise.integers(0, 256, (100, 28, 28, 1), np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUN = ["--workdir", "run", "--steps", "5"]
REFUSALS = {
    "unknown option": ([RING, *RUN, "--widht", "3"], "--widht"),
    "value of a wrong type": ([RING, *RUN, "--width", "wide"], "--width"),
    "missing options": ([RING], "--workdir"),
    "unknown experiment": (["nothing.py", *RUN], "no experiment 'nothing.py'"),
    "a file that is no experiment": (["plain.py", *RUN], "has no function 'experiment'"),
    "an option without a default": (["required.py", *RUN], "'width'"),
    "an option of the command's": (["taken.py", *RUN], "option 'steps' of 'experiment'"),
    "absent images": ([DCGAN, *RUN, "--dataset", "absent.npy"], "absent.npy"),
    "absent data set": ([DCGAN, *RUN, "--data-dir", ".", "--manual-dir", "."], "four official .gz files"),
    "unknown data set": ([DCGAN, *RUN, "--dataset", "no_such_set"], "no_such_set"),
    "unwritable directory": ([RING, "--workdir", "file/run", "--steps", "5"], "cannot be written"),
    "images of another shape": ([DCGAN, *RUN, "--dataset", "32x32.npy"], "[28, 28, 1]"),
    "images of another range": ([DCGAN, *RUN, "--dataset", "floats.npy"], "[-1, 1]"),
    "fewer images than a batch": ([DCGAN, *RUN, "--dataset", "few.npy"], "90 examples"),
    "an impossible game": ([WGAN, *RUN, "--critic-steps", "0"], "discriminator_steps=0"),
    "steps": ([RING, "--workdir", "run", "--steps", "0"], "--steps"),
    "seed": ([RING, *RUN, "--seed", "-1"], "--seed"),
    "target": ([RING, *RUN, "--target", "loss"], "--target"),
    "target without evaluations": ([RING, *RUN, "--target", "evaluate/modes>=8"], "--evaluate-every"),
    "an unknown metric": ([RING, *RUN, "--evaluate-every", "5", "--metrics", "fid"], "modes alone"),
    "measures without evaluations": ([DIGITS, *RUN, "--metrics", "frechet_pixels"], "--evaluate-every"),
    "an extractor that is none": ([DIGITS, *RUN, "--evaluate-every", "5", "--extractor", "32x32.npy"], "32x32.npy"),
    "a batch that devices do not divide": ([RING, *RUN, "--lift", "mesh", "--batch-size", "12"], "8 devices"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_wrong_is_said_in_one_line(jaxgan, here, name):
    arguments, says = REFUSALS[name]
    code, out, err = jaxgan("train", *arguments)
    assert code == 2 and out == ""
    assert err.startswith("jaxgan: ") and err.count("\n") == 1 and says in err, err
    assert not (here / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--width", "32", "--batch-size", "16"], "width 16 -> 32"),
        ([*SMALL, "--seed", "1"], "seed 0 -> 1"),
        ([*SMALL, "--learning-rate", "0.01"], "learning_rate 0.001 -> 0.01"),
    ],
)
def test_another_run_in_the_directory_is_refused_and_unharmed(jaxgan, trained, change, says):
    before = tree(trained)
    code, _, err = jaxgan("train", RING, "--workdir", trained, "--steps", "30", *change)
    assert code == 2 and err.count("\n") == 1 and says in err
    assert tree(trained) == before


def test_another_experiment_is_refused(jaxgan, trained):
    code, _, err = jaxgan("train", DIGITS, "--workdir", trained, "--steps", "30")
    assert code == 2 and err.count("\n") == 1 and "experiment ring.py -> digits.py" in err
    code, _, err = jaxgan("evaluate", DIGITS, "--workdir", trained)
    assert code == 2 and err.count("\n") == 1 and "ring.py" in err


def test_changed_code_is_told_and_a_changed_architecture_refused(jaxgan, trained, tmp_path):
    copy = tmp_path / "ring.py"
    copy.write_text(pathlib.Path(RING).read_text().replace("(width, width)", "(width, 2 * width)"))
    before = tree(trained / "checkpoints")
    code, _, err = jaxgan("train", copy, "--workdir", trained, "--steps", "30", *SMALL)
    assert code == 2 and "has changed since" in err
    assert "does not fit this architecture" in err.splitlines()[-1]
    assert tree(trained / "checkpoints") == before


def test_the_same_command_does_nothing_more(jaxgan, trained):
    before = tree(trained)
    code, out, err = jaxgan("train", RING, "--workdir", trained, "--steps", "20", *SMALL)
    assert code == 0 and out == "" and "at step 20: nothing to do" in err
    assert tree(trained) == before


def test_samples_are_written_as_an_array_and_as_a_picture(jaxgan, trained, tmp_path):
    array, again, picture = tmp_path / "a.npy", tmp_path / "b.npy", tmp_path / "c.png"
    assert jaxgan("sample", RING, "--workdir", trained, "--count", "100", "--out", array)[0] == 0
    assert jaxgan("sample", RING, "--workdir", trained, "--count", "7", "--out", again)[0] == 0
    assert jaxgan("sample", RING, "--workdir", trained, "--count", "100", "--out", picture)[0] == 0
    samples = np.load(array, allow_pickle=False)
    assert samples.shape == (100, 2) and np.isfinite(samples).all()
    np.testing.assert_array_equal(samples[:7], np.load(again, allow_pickle=False))
    with Image.open(picture) as image:
        assert image.size == (640, 640)
    assert jaxgan("sample", RING, "--workdir", trained, "--count", "7", "--seed", "1", "--out", again)[0] == 0
    assert (samples[:7] != np.load(again, allow_pickle=False)).all()


def test_evaluation_ends_in_one_json_object(jaxgan, trained):
    code, out, _ = jaxgan("evaluate", RING, "--workdir", trained)
    figures = json.loads(out.splitlines()[-1])
    assert code == 0 and figures["step"] == 20 and figures["experiment"] == "ring.py"
    assert figures.keys() >= {
        "seed",
        "train_seed",
        "samples",
        "modes",
        "high_quality",
        "high_quality_perfect",
        "reverse_kl",
    }


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    """A classifier's file, of the digits, hardly trained."""
    file = tmp_path_factory.mktemp("eyes") / "cnn-digits.npz"
    classifier.save(recipe.train("digits", epochs=1, say=lambda text: None), file)
    return file


def test_metrics_are_measured_in_training_and_after(jaxgan, tmp_path, eyes):
    """On a schedule and at the end, with the same extractor, named in every report; its digest may be demanded."""
    workdir = tmp_path / "run"
    small = ["--features", "4", "--batch-size", "16", "--latents", "4"]
    measures = ["--metrics", "frechet", "precision_recall", "--extractor", eyes, "--samples", "64"]
    command = ["train", DIGITS, "--workdir", workdir, "--steps", "4", *small, *measures]
    code, _, err = jaxgan(*command, "--evaluate-every", "2", "--target", "evaluate/FD-cnn-digits>=0")
    assert code == 0 and "step 2: the target is reached" in err
    (line,) = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    digest = hashlib.sha256(eyes.read_bytes()).hexdigest()
    assert line["step"] == 2 and line["evaluate/samples"] == 64
    assert line["evaluate/extractor"]["digest"] == digest and 0 < line["evaluate/extractor"]["accuracy"] <= 1
    assert 0 < line["evaluate/FD-cnn-digits_floor"] < line["evaluate/FD-cnn-digits_ceiling"]

    code, out, _ = jaxgan("evaluate", DIGITS, "--workdir", workdir, *measures, "--extractor-digest", digest)
    figures = json.loads(out)
    assert code == 0 and figures["extractor"]["digest"] == digest
    for name in ("FD-cnn-digits_floor", "recall-cnn-digits_floor"):  # of the data alone
        assert figures[name] == line[f"evaluate/{name}"]
    code, _, err = jaxgan("evaluate", DIGITS, "--workdir", workdir, *measures, "--extractor-digest", "0" * 64)
    assert code == 2 and err.count("\n") == 1 and digest in err
    code, _, err = jaxgan("evaluate", DIGITS, "--workdir", workdir, "--metrics", "frechet")
    assert code == 2 and "give --extractor" in err.splitlines()[-1]
    code, _, err = jaxgan("evaluate", DIGITS, "--workdir", workdir, "--samples", "361")
    assert code == 2 and "361 samples wanted: the data have 360" in err.splitlines()[-1]


def test_an_extractor_is_trained_from_the_command_line(jaxgan, tmp_path, monkeypatch):
    whole = recipe.train
    monkeypatch.setattr(recipe, "train", lambda *given, **options: whole(*given, **options, epochs=1))
    file = tmp_path / "cnn.npz"
    code, out, err = jaxgan("extractor", "digits", "--out", file, "--seed", "3")
    told = json.loads(out)
    assert code == 0 and "epoch 1 of 1" in err
    assert told["digest"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert told["dataset"] == "digits" and told["seed"] == 3
    assert features.load(file).about["accuracy"] == told["accuracy"]
    for out in (tmp_path / "cnn.pt", tmp_path / "no" / "cnn.npz"):
        code, _, err = jaxgan("extractor", "digits", "--out", out)
        assert code == 2 and err.count("\n") == 1 and "a folder that is there" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["extractor", "no_such_set", "--out", "x.npz"], "no_such_set"),
        (["evaluate", RING, "--workdir", "nowhere", "--samples", "-1"], "--samples -1"),
        (["sample", RING, "--workdir", "nowhere", "--out", "x.png"], "holds no run"),
        (["evaluate", RING, "--workdir", "nowhere"], "holds no run"),
        (["sample", RING, "--workdir", "nowhere", "--out", "x.gif"], ".png or .npy"),
        (["sample", RING, "--workdir", "nowhere", "--out", "x.png", "--count", "0"], "at least 1"),
        (["paint"], "paint"),
        ([], "sample, evaluate, extractor"),
    ],
)
def test_other_commands_refuse_in_one_line_too(jaxgan, arguments, says):
    code, out, err = jaxgan(*arguments)
    assert code == 2 and out == "" and err.count("\n") == 1 and says in err, err


def test_a_run_without_a_checkpoint_cannot_be_sampled(jaxgan, trained, tmp_path):
    (tmp_path / "config.json").write_text((trained / "config.json").read_text())
    code, _, err = jaxgan("evaluate", RING, "--workdir", tmp_path)
    assert code == 2 and "train first" in err.splitlines()[-1]


def test_an_unwritable_sample_file_is_refused(jaxgan, trained, tmp_path):
    code, _, err = jaxgan("sample", RING, "--workdir", trained, "--out", tmp_path / "no" / "x.png")
    assert code == 2 and "cannot be written" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--help"], ["train", "sample", "evaluate"]),
        (["train", "--help"], ["--workdir", "--steps", "--checkpoint-every", "--lift", "{jit,pmap,mesh,fsdp}"]),
        (["train", RING, "--help"], ["--gamma", "--width", "weight of the gradient penalties", "--seed"]),
        (["benchmark", DIGITS, "--help"], ["--scan", "--compare", "--devices", "--batch-size", "--gamma"]),
        (["sample", "--help"], ["--count", "--out", "--seed"]),
        (["evaluate", "--help"], ["--workdir", "JSON", "--metrics", "--extractor", *METRICS]),
        (["extractor", "--help"], ["--out", "--seed", "test split"]),
    ],
)
def test_help_names_the_options(jaxgan, arguments, says):
    code, out, err = jaxgan(*arguments)
    assert code == 0 and err == ""
    for words in says:
        assert words in out
    assert "axis" not in out  # the lift sets it


def test_who_reads_may_go():
    """`jaxgan train --help | head -1`: nothing is said of it."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", "from jaxgan.cli import main; main()", "train", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
