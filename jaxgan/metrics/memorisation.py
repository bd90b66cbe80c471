"""Has the generator learnt its training examples by heart? Samples and their nearest training examples."""

import numpy as np

from jaxgan.metrics.arrays import pair
from jaxgan.metrics.neighbours import distance_blocks, squared_radii


def nearest_examples(samples: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The training example nearest to each sample, to look at beside it.

    >>> nearest_examples(np.array([[3.0, 4.0]]), np.array([[9.0, 9.0], [0.0, 0.0]]))
    (array([5.]), array([1]))

    Args:
      samples: features, or pixels, of samples, `[N, d]`.
      train: those of the training examples, `[M, d]`.

    Returns:
      Distances `[N]` and indices into `train` `[N]`, the smallest where several are equally near. A copy is at 0.

    Raises:
      InputError: wrong rank, differing d, no examples, or values that are not finite.
    """
    samples, train = pair(samples, train, ("samples", "train"), least=1)
    nearest, index = np.full(len(samples), np.inf), np.zeros(len(samples), np.int64)
    for rows, columns, squared in distance_blocks(samples, train):
        best = squared.argmin(axis=1)
        value = np.take_along_axis(squared, best[:, None], axis=1)[:, 0]
        index[rows] = np.where(value < nearest[rows], columns.start + best, index[rows])
        nearest[rows] = np.minimum(value, nearest[rows])
    return np.sqrt(nearest), index


def authenticity(samples: np.ndarray, train: np.ndarray) -> float:
    """Share of the samples that are farther from the nearest training example than it is from its own nearest.

    With `t_i` the training example nearest to a sample x, x is authentic if `|x - t_i| > min_{j != i} |t_j - t_i|`.
    Copies, with a little noise or without, are not. Even new samples of the data's own distribution are only some of
    the time, so compare with the authenticity of held-out data. dgm-eval's AuthPct is 100 times this.

    >>> authenticity(np.array([[0.1], [1.5], [9.0]]), np.array([[0.0], [1.0], [2.0]]))
    0.3333333333333333

    Args:
      samples: features of samples, `[N, d]`.
      train: features of the training examples, `[M, d]`, M at least 2.

    Raises:
      InputError: wrong rank, differing d, fewer than two examples, or values that are not finite.

    References:
      Alaa et al., How Faithful is your Synthetic Data?, https://arxiv.org/abs/2102.08921, 2022, Section 3.3.
      Stein et al., Exposing flaws of generative model evaluation metrics, https://arxiv.org/abs/2306.04675, 2023.
    """
    samples, train = pair(samples, train, ("samples", "train"))
    distances, index = nearest_examples(samples, train)
    return float(np.mean(distances > np.sqrt(squared_radii(train, 1))[index]))
