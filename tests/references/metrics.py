# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0", "torch-fidelity==0.4.0", "pytorch-fid==0.3.0", "prdc==0.2", "torchmetrics==1.9.0", "piq==0.8.0",
#     "POT==0.9.7.post1", "pytorch-msssim==1.0.0", "scikit-image==0.26.0", "scikit-learn==1.9.1", "numpy==2.4.6",
#     "scipy==1.17.1",
# ]
# ///
"""Writes metrics.json: what other packages make of fixed arrays, for every metric and as many packages as have it.

    python tests/references/metrics.py

The arrays come from NumPy's seeds, here and in the tests alike, so they are not stored. Everything is float64.
torchvision, which some of the packages import, stands empty: what is called here are functions of arrays.
"""

import contextlib
import importlib.machinery
import importlib.metadata
import io
import json
import pathlib
import sys
import unittest.mock

import numpy as np

GOLDEN = pathlib.Path(__file__).with_suffix(".json")
PACKAGES = (
    "torch-fidelity pytorch-fid prdc torchmetrics piq POT pytorch-msssim scikit-image scikit-learn torch numpy scipy"
).split()


def feature_sets(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features that differ in mean and covariance."""
    seed, n, m, d = {"tall": (1, 300, 300, 16), "far": (2, 260, 260, 8), "blocks": (3, 1300, 1100, 6)}[name]
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(2, d, d)) / np.sqrt(d)
    offset = 100.0 if name == "far" else 0.3  # far from the origin digits cancel
    return rng.normal(size=(n, d)) @ mixing[0] + offset, rng.normal(size=(m, d)) @ (
        mixing[0] + 0.3 * mixing[1]
    ) + offset


def class_logits() -> np.ndarray:
    """Logits `[253, 10]`: the splits have unequal lengths, and some probabilities are below 1e-300."""
    rng = np.random.default_rng(4)
    return rng.normal(size=(253, 10)) * rng.choice([0.5, 3.0, 400.0], size=(253, 1))


def image_pairs(height: int, width: int, channels: int, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Images in [0, 1], and the same with more and more noise and less and less contrast."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:height, :width]
    phases = rng.uniform(0, 6, (count, 1, 1, channels))
    waves = 0.5 + 0.3 * np.sin(0.2 * rows[..., None] + 0.05 * columns[..., None] * phases + phases)
    noise = rng.uniform(-1, 1, (2, *waves.shape))
    strength = np.linspace(0.05, 0.6, count)[:, None, None, None]
    return (waves + 0.1 * noise[0]).clip(0, 1), ((1 - strength / 2) * waves + strength * noise[1]).clip(0, 1)


def directions(dimensions: int) -> np.ndarray:
    """Seventy unit vectors as columns."""
    vectors = np.random.default_rng(6).normal(size=(dimensions, 70))
    return vectors / np.linalg.norm(vectors, axis=0)


def main():
    import torch

    vision = unittest.mock.MagicMock(__version__="0.28.0")  # what of it is imported is never called
    vision.__spec__ = importlib.machinery.ModuleSpec("torchvision", None)  # torchmetrics asks whether it is there
    for name in ("", ".datasets", ".models", ".transforms", ".transforms.functional"):
        sys.modules[f"torchvision{name}"] = vision
    import ot
    import piq
    import prdc
    import pytorch_msssim
    import skimage.metrics
    import torch_fidelity.metric_fid
    import torch_fidelity.metric_isc
    import torch_fidelity.metric_kid
    import torch_fidelity.metric_prc
    import torchmetrics.image.kid
    from pytorch_fid import fid_score
    from sklearn import linear_model, metrics, neighbors

    from_numpy = torch.from_numpy
    statistics = torch_fidelity.metric_fid.fid_features_to_statistics

    def frechet(a, b):
        a, b = statistics(from_numpy(a)), statistics(from_numpy(b))
        return torch_fidelity.metric_fid.fid_statistics_to_metric(a, b, False)["frechet_inception_distance"]

    def frechets(a, b):
        moments = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (a, b)]
        (mean_a, cov_a), (mean_b, cov_b) = moments
        return {
            "torch-fidelity": frechet(a, b),
            "pytorch-fid": fid_score.calculate_frechet_distance(mean_a, cov_a, mean_b, cov_b),
            "POT": ot.gaussian.bures_wasserstein_distance(mean_a, mean_b, cov_a, cov_b) ** 2,
        }

    def frechet_infinity(a, b):
        rng = np.random.default_rng(7)
        sizes = np.linspace(min(5000, len(a) // 10), len(a), 15).astype(int)
        distances = [frechet(a[rng.permutation(len(a))[:size]], b) for size in sizes]
        line = linear_model.LinearRegression().fit(1 / sizes[:, None], distances)
        return {"torch-fidelity and scikit-learn": line.intercept_}

    def kid(a, b):
        torch_fidelity_kid = torch_fidelity.metric_kid.kid_features_to_metric(
            from_numpy(a), from_numpy(b), kid_subsets=1, kid_subset_size=len(a), verbose=False
        )
        return torch_fidelity_kid["kernel_inception_distance_mean"]

    def kernels(a, b):
        def within(x):
            kernel = metrics.pairwise.polynomial_kernel(x, degree=3, coef0=1)
            return (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))

        cross = metrics.pairwise.polynomial_kernel(a, b, degree=3, coef0=1).mean()
        values = {"scikit-learn": within(a) + within(b) - 2 * cross}
        if len(a) == len(b):
            values["torch-fidelity"] = kid(a, b)
            values["torchmetrics"] = torchmetrics.image.kid.poly_mmd(from_numpy(a), from_numpy(b))
        return values

    def kernel_subsets(a, b):
        rng = np.random.default_rng(8)
        values = [kid(*(x[rng.choice(len(x), 50, replace=False)] for x in (a, b))) for _ in range(20)]
        return {"torch-fidelity": [np.mean(values), np.std(values)]}

    def manifold(real, fake, k):
        with contextlib.redirect_stdout(io.StringIO()):
            of_prdc = prdc.compute_prdc(real_features=real, fake_features=fake, nearest_k=k)
        precision, recall = torch_fidelity.metric_prc.calculate_precision_recall_full(
            from_numpy(fake), from_numpy(real), k
        )
        return {"prdc": of_prdc, "torch-fidelity": {"precision": precision, "recall": recall}}

    def scores(logits):
        of_torch_fidelity = torch_fidelity.metric_isc.isc_features_to_metric(from_numpy(logits), 10, False)
        return {"torch-fidelity": list(of_torch_fidelity.values())}

    def scores_piq(logits):  # divides by the number of splits less one, and needs equal splits
        mean, std = piq.isc.inception_score(from_numpy(logits), num_splits=10)
        return {"piq": [mean, std * np.sqrt(9 / 10)]}

    def nchw(x):
        return from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))

    def window(channels):  # pytorch-msssim's own is float32
        taps = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
        return (taps / taps.sum()).repeat(channels, 1, 1, 1)

    def ssims(a, b):
        similarity = skimage.metrics.structural_similarity
        options = dict(data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1)
        return {
            "scikit-image": [similarity(x, y, **options) for x, y in zip(a, b, strict=True)],
            "pytorch-msssim": pytorch_msssim.ssim(
                nchw(a), nchw(b), data_range=1.0, size_average=False, win=window(a.shape[-1])
            ).tolist(),
        }

    def ms_ssims(a, b, scales):
        weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
        weights = (weights[:scales] * (weights.sum() / weights[:scales].sum())).tolist()
        options = dict(data_range=1.0, size_average=False, weights=weights, win=window(a.shape[-1]))
        values = {"pytorch-msssim": pytorch_msssim.ms_ssim(nchw(a), nchw(b), **options).tolist()}
        if scales == 5:
            values["piq"] = piq.multi_scale_ssim(nchw(a), nchw(b), data_range=1.0, reduction="none").tolist()
        return values

    def psnrs(a, b):
        ratio = skimage.metrics.peak_signal_noise_ratio
        return {"scikit-image": [ratio(x, y, data_range=1.0) for x, y in zip(a, b, strict=True)]}

    def sliced(a, b, p):
        return {"POT": ot.sliced_wasserstein_distance(a, b, projections=directions(a.shape[1]), p=p)}

    def nearest(samples, train):
        distances, index = neighbors.NearestNeighbors(n_neighbors=1).fit(train).kneighbors(samples)
        own = neighbors.NearestNeighbors(n_neighbors=2).fit(train).kneighbors(train)[0][:, 1]
        # dgm-eval's authpct, which is not in the registry: own[nearest] < distance
        authentic = own[index[:, 0]] < distances[:, 0]
        return {
            "scikit-learn": {
                "sum of distances": distances.sum(),
                "sum of indices": int(index.sum()),
                "authentic": int(authentic.sum()),
            }
        }

    small, large, logits = image_pairs(24, 33, 3), image_pairs(176, 192, 2), class_logits()
    golden = {
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "frechet": {name: frechets(*feature_sets(name)) for name in ("tall", "far", "blocks")},
        "frechet infinity": {"blocks": frechet_infinity(*feature_sets("blocks"))},
        "kernel": {name: kernels(*feature_sets(name)) for name in ("tall", "far", "blocks")},
        "kernel subsets": {"tall": kernel_subsets(*feature_sets("tall"))},
        "prdc": {f"{name} {k}": manifold(*feature_sets(name), k) for name in ("tall", "far", "blocks") for k in (3, 5)},
        "inception score": {"253": scores(logits), "250": scores(logits[:250]) | scores_piq(logits[:250])},
        "ssim": {"small": ssims(*small), "large": ssims(*large)},
        "ms-ssim": {"5": ms_ssims(*large, 5), "3": ms_ssims(*large, 3)},
        "psnr": {"small": psnrs(*small)},
        "sliced": {f"{name} {p}": sliced(*feature_sets(name), p) for name in ("tall", "blocks") for p in (1, 2)},
        "nearest": {name: nearest(*feature_sets(name)) for name in ("tall", "blocks")},
    }
    GOLDEN.write_text(json.dumps(golden, indent=2, default=float) + "\n")
    print(GOLDEN.read_text())


if __name__ == "__main__":
    main()
