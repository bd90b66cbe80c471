"""Nearest neighbours and what is built on them, against direct distances and other packages (references/metrics.py)."""

import json

import numpy as np
import pytest
from references.metrics import GOLDEN, feature_sets
from scipy.spatial.distance import cdist

from jaxgan.errors import InputError
from jaxgan.metrics import arrays
from jaxgan.metrics.manifold import PRDC, prdc
from jaxgan.metrics.memorisation import authenticity, nearest_examples
from jaxgan.metrics.neighbours import distance_blocks, own_distance_blocks, squared_radii

REFERENCES = json.loads(GOLDEN.read_text())


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(params=[4, 1024])
def block_size(request, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK", request.param)


def assembled(x, y=None):
    """The whole matrix of squared distances, every pair of it given exactly once."""
    whole = np.full((len(x), len(x if y is None else y)), np.nan)
    if y is not None:
        for rows, columns, block in distance_blocks(x, y):
            assert np.isnan(whole[rows, columns]).all()
            whole[rows, columns] = block
    return whole


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_distances_against_differences(rng, block_size, offset):
    """Pairs near and far, equal points, and a cluster a millionth as wide as its distance from the rest."""
    x, y = rng.normal(size=(30, 7)), rng.normal(size=(41, 7))
    y[:9] = x[:9] + 1e-7 * rng.normal(size=(9, 7))
    y[9:12] = x[20]
    x, y = x + offset, y + offset
    expected = cdist(x, y, "sqeuclidean")
    np.testing.assert_allclose(assembled(x, y), expected, rtol=1e-10)
    assert (assembled(x, y)[20, 9:12] == 0).all()


@pytest.mark.parametrize("copies", [1, 3, 30])
def test_radii_against_sorted_distances(rng, block_size, copies):
    """The smallest distance of all is a point's own; copies are neighbours at exactly 0."""
    x = np.repeat(rng.normal(size=(30 // copies, 5)), copies, axis=0)
    expected = np.sort(cdist(x, x, "sqeuclidean"), axis=1)
    for k in (1, 2, 5, 29):
        found = squared_radii(x, k)
        np.testing.assert_allclose(found, expected[:, k], rtol=1e-10)
        assert (found[expected[:, k] == 0] == 0).all()


def test_own_distances_come_once_each_way(rng, block_size):
    x, seen = rng.normal(size=(11, 3)), np.zeros(11, int)
    for rows, block in own_distance_blocks(x):
        seen[rows] += block.shape[1]
        assert (block > 0).all()
    assert (seen == 11).all()


@pytest.mark.parametrize("name", REFERENCES["prdc"])
def test_prdc_of_other_packages(name):
    """The same counts as the prdc package and torch-fidelity, whose shares are float32."""
    which, k = name.split()
    real, fake = feature_sets(which)
    found = prdc(real, fake, nearest_k=int(k))._asdict()
    sizes = {"precision": len(fake), "recall": len(real), "density": int(k) * len(fake), "coverage": len(real)}
    for package, tolerance in (("prdc", 1e-9), ("torch-fidelity", 1e-3)):
        for key, value in REFERENCES["prdc"][name][package].items():
            assert value * sizes[key] == pytest.approx(round(value * sizes[key]), abs=tolerance)
            assert round(found[key] * sizes[key]) == round(value * sizes[key])
            assert found[key] == round(value * sizes[key]) / sizes[key]


def test_prdc_does_not_depend_on_blocks_or_order(rng, block_size):
    real, fake = rng.normal(size=(60, 4)), 0.8 * rng.normal(size=(50, 4))
    distances = np.sqrt(cdist(real, fake))
    radius_real, radius_fake = (np.sort(np.sqrt(cdist(x, x)), axis=1)[:, 3] for x in (real, fake))
    inside = distances < radius_real[:, None]
    expected = PRDC(
        inside.any(axis=0).mean(),
        (distances < radius_fake[None, :]).any(axis=1).mean(),
        inside.sum() / (3 * 50),
        inside.any(axis=1).mean(),
    )
    assert prdc(real, fake, nearest_k=3) == pytest.approx(expected, rel=1e-14)
    assert prdc(rng.permutation(real), rng.permutation(fake), nearest_k=3) == pytest.approx(expected, rel=1e-14)


def test_prdc_swaps_precision_and_recall(rng):
    a, b = rng.normal(size=(70, 4)), 0.7 * rng.normal(size=(70, 4))
    there, back = prdc(a, b), prdc(b, a)
    assert there.precision == back.recall and there.recall == back.precision


def test_prdc_of_a_set_with_itself(rng):
    """Every point is inside its own ball; a ball holds itself and its k - 1 nearest: density 1 on distinct points."""
    x = rng.normal(size=(80, 4))
    assert prdc(x, x) == PRDC(1.0, 1.0, 1.0, 1.0)


def test_prdc_of_a_collapse(rng):
    """Samples around one typical example: precise and dense, but neither recall nor coverage. And the reverse."""
    data = rng.normal(size=(500, 2))
    collapsed = prdc(data, data[np.argmin(np.sum(data**2, axis=1))] + 1e-3 * rng.normal(size=(500, 2)))
    assert collapsed.precision == 1.0 and collapsed.density >= 0.8
    assert collapsed.recall < 0.05 and collapsed.coverage < 0.05
    spread = prdc(data, 20 * rng.normal(size=(500, 2)))
    assert spread.precision < 0.3 and spread.recall > 0.9
    one_point = prdc(data, np.zeros((500, 2)))
    assert one_point.recall == 0.0 and np.isfinite(one_point).all()


def test_prdc_of_ties():
    """Neighbours at a distance of exactly the radius are outside; points with k copies have empty balls."""
    grid = np.array([[0.0], [1.0], [2.0], [3.0]])
    assert prdc(grid, grid + 1.0, nearest_k=1) == PRDC(0.75, 0.75, 0.75, 0.75)
    repeated = np.repeat(0.1 * grid, 6, axis=0)
    assert prdc(repeated, repeated, nearest_k=5) == PRDC(0.0, 0.0, 0.0, 0.0)
    assert prdc(repeated, repeated, nearest_k=6).precision == 1.0


def test_prdc_in_float32_is_that_in_float64(rng):
    real, fake = (100 + rng.normal(size=(2, 90, 5))).astype(np.float32)
    assert prdc(real, fake) == prdc(real.astype(np.float64), fake.astype(np.float64))


@pytest.mark.parametrize("n, m, k", [(5, 9, 5), (9, 5, 5), (9, 9, 0)])
def test_prdc_refuses_more_neighbours_than_there_are(n, m, k):
    with pytest.raises(InputError, match="nearest_k"):
        prdc(np.ones((n, 2)), np.ones((m, 2)), nearest_k=k)


@pytest.mark.parametrize("name", REFERENCES["nearest"])
def test_nearest_examples_of_scikit_learn(name):
    samples, train = feature_sets(name)
    golden = REFERENCES["nearest"][name]["scikit-learn"]
    distances, index = nearest_examples(samples, train)
    assert distances.sum() == pytest.approx(golden["sum of distances"], rel=1e-12)
    assert index.sum() == golden["sum of indices"]
    assert authenticity(samples, train) == golden["authentic"] / len(samples)


def test_nearest_examples_of_ties_and_copies(rng, block_size):
    train = rng.normal(size=(20, 3)) + 1e3
    train[11] = train[3]
    distances, index = nearest_examples(train, train)
    assert (distances == 0).all()
    assert index.tolist() == [i if i != 11 else 3 for i in range(20)]
    single, where = nearest_examples(train[:1] + [[3.0, 0.0, 4.0]], train[:1])
    assert single == pytest.approx([5.0]) and where.tolist() == [0]


def test_authenticity_of_copies_and_of_novelty(rng, block_size):
    train = rng.normal(size=(40, 3))
    assert authenticity(train, train) == 0.0
    assert authenticity(train + 1e-6, train) == 0.0
    assert authenticity(train + 100.0, train) == 1.0
    line = np.array([[0.0], [1.0], [2.0]])  # a sample exactly as far as the example's own neighbour is no new one
    assert authenticity(np.array([[-1.0], [3.0], [3.5], [9.0]]), line) == 0.5
    samples = rng.normal(size=(50, 3))
    distances = cdist(samples, train)
    own = cdist(train, train) + np.diag(np.full(40, np.inf))
    expected = np.mean(own.min(axis=0)[distances.argmin(axis=1)] < distances.min(axis=1))  # dgm-eval's authpct / 100
    assert 0 < expected < 1
    assert authenticity(samples, train) == pytest.approx(expected, rel=1e-14)
