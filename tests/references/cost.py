"""What the metrics cost in time and memory, beside the packages that references/metrics.py checks them against.

    python tests/references/cost.py --ours PYTHON --reference PYTHON

names an interpreter that has jaxgan and one with the packages of references/metrics.py. Every measurement is a process
of its own: it makes the arrays, takes the time of one call, and by how much the call raised the process's largest
resident memory. Ours and the packages' alternate; the table and the line of JSON give medians.
"""

import argparse
import importlib.machinery
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import unittest.mock

import numpy as np

SUBSET, DIRECTIONS, CLASSES = 1000, 128, 1008


def features(count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two float32 sets `[count, width]`, positive as features after a rectifier are."""
    rng = np.random.default_rng(0)
    sets = rng.standard_exponential((2, count, width), np.float32)
    sets[1] *= 1.1
    return sets[0], sets[1]


def images(count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two float32 sets of 64 x 64 x 3 images, one for every 20 sets of features."""
    sets = np.random.default_rng(0).random((2, count // 20, 64, 64, 3), np.float32)
    return sets[0], sets[1]


def logits(count: int, width: int) -> tuple[np.ndarray]:
    return (3 * np.random.default_rng(0).standard_normal((count, CLASSES), np.float32),)


def directions(width: int) -> np.ndarray:
    vectors = np.random.default_rng(1).standard_normal((width, DIRECTIONS))
    return vectors / np.linalg.norm(vectors, axis=0)


def ours() -> dict:
    from jaxgan.metrics import classes, frechet, kernel, manifold, memorisation, similarity, sliced

    return {
        "frechet": frechet.frechet_distance,
        "kernel subsets": lambda a, b: kernel.kernel_distance_of_subsets(
            a, b, np.random.default_rng(0), subset_size=min(SUBSET, len(a))
        ),
        "kernel": kernel.kernel_distance,
        "prdc": manifold.prdc,
        "authenticity": memorisation.authenticity,
        "sliced": lambda a, b: sliced.sliced_wasserstein(a, b, directions(a.shape[1])),
        "inception score": classes.inception_score,
        "ssim": lambda a, b: similarity.ssim(a, b, data_range=1.0),
    }


def packages() -> dict:
    import torch

    vision = unittest.mock.MagicMock(__version__="0.28.0")  # what of it is imported is never called
    vision.__spec__ = importlib.machinery.ModuleSpec("torchvision", None)
    for name in ("", ".datasets", ".models", ".transforms", ".transforms.functional"):
        sys.modules[f"torchvision{name}"] = vision
    import ot
    import prdc
    import pytorch_msssim
    import skimage.metrics
    from pytorch_fid import fid_score
    from sklearn.neighbors import NearestNeighbors
    from torch_fidelity import metric_fid, metric_isc, metric_kid

    def frechet(a, b):
        a, b = (metric_fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b))
        return metric_fid.fid_statistics_to_metric(
            *({k: np.float64(v) for k, v in x.items()} for x in (a, b)), verbose=False
        )

    def pytorch_fid(a, b):
        return fid_score.calculate_frechet_distance(
            *(moment for x in (a, b) for moment in (np.mean(x, axis=0), np.cov(x, rowvar=False)))
        )

    def kid(a, b, subsets, size, dtype):
        a, b = torch.from_numpy(a).to(dtype), torch.from_numpy(b).to(dtype)
        return metric_kid.kid_features_to_metric(a, b, kid_subsets=subsets, kid_subset_size=size, verbose=False)

    def authenticity(samples, train):
        distances, index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(train).kneighbors(samples)
        own = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(train).kneighbors(train)[0][:, 1]
        return np.mean(own[index[:, 0]] < distances[:, 0])

    def ssim(a, b):
        options = dict(data_range=1.0, gaussian_weights=True, use_sample_covariance=False, channel_axis=-1)
        return [skimage.metrics.structural_similarity(x, y, **options) for x, y in zip(a, b, strict=True)]

    def torch_ssim(a, b, dtype):
        a, b = (torch.from_numpy(x).to(dtype).permute(0, 3, 1, 2) for x in (a, b))
        return pytorch_msssim.ssim(a, b, data_range=1.0, size_average=False)

    single, double = torch.float32, torch.float64
    return {
        "frechet": {"torch-fidelity": frechet, "pytorch-fid": pytorch_fid},
        "kernel subsets": {
            "torch-fidelity, float64": lambda a, b: kid(a, b, 100, min(SUBSET, len(a)), double),
            "torch-fidelity, float32": lambda a, b: kid(a, b, 100, min(SUBSET, len(a)), single),
        },
        "kernel": {"torch-fidelity, float64": lambda a, b: kid(a, b, 1, len(a), double)},
        "prdc": {"prdc": lambda a, b: prdc.compute_prdc(a, b, nearest_k=5)},
        "authenticity": {"scikit-learn": authenticity},
        "sliced": {"POT": lambda a, b: ot.sliced_wasserstein_distance(a, b, projections=directions(a.shape[1]), p=2)},
        "inception score": {
            "torch-fidelity": lambda x: metric_isc.isc_features_to_metric(torch.from_numpy(x), 10, False)
        },
        "ssim": {
            "scikit-image": ssim,
            "pytorch-msssim, float64": lambda a, b: torch_ssim(a, b, double),
            "pytorch-msssim, float32": lambda a, b: torch_ssim(a, b, single),
        },
    }


def rows() -> list[tuple[str, str]]:
    return [
        ("frechet", "torch-fidelity"),
        ("frechet", "pytorch-fid"),
        ("kernel subsets", "torch-fidelity, float64"),
        ("kernel subsets", "torch-fidelity, float32"),
        ("kernel", "torch-fidelity, float64"),
        ("prdc", "prdc"),
        ("authenticity", "scikit-learn"),
        ("sliced", "POT"),
        ("inception score", "torch-fidelity"),
        ("ssim", "scikit-image"),
        ("ssim", "pytorch-msssim, float64"),
        ("ssim", "pytorch-msssim, float32"),
    ]


def measure(metric: str, package: str, count: int, width: int) -> dict[str, float]:
    """Seconds and MiB of one call in this process."""
    function = ours()[metric] if package == "jaxgan" else packages()[metric][package]
    arrays = {"ssim": images, "inception score": logits}.get(metric, features)(count, width)
    # the first call of a process pays for loading and threads: that is no part of the metric
    function(*(x[: 20 if metric != "kernel subsets" else 40] for x in arrays))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    function(*arrays)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "MiB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", default=sys.executable, help="interpreter that has jaxgan")
    parser.add_argument("--reference", default=sys.executable, help="interpreter that has the other packages")
    parser.add_argument("--count", type=int, default=10_000, help="examples of each set")
    parser.add_argument("--width", type=int, default=2048, help="features of an example")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("METRIC", "PACKAGE"), help="one measurement, in this process")
    wanted = parser.parse_args()
    if wanted.measure:
        print(json.dumps(measure(*wanted.measure, wanted.count, wanted.width)))
        return

    def run(metric, package):
        python = wanted.ours if package == "jaxgan" else wanted.reference
        size = ["--count", str(wanted.count), "--width", str(wanted.width)]
        command = [python, __file__, *size, "--measure", metric, package]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])

    results = {}
    for metric in dict.fromkeys(metric for metric, _ in rows()):
        who = ["jaxgan", *(package for of, package in rows() if of == metric)]
        found = {package: [] for package in who}
        for _ in range(wanted.repeats):
            for package in who:
                found[package].append(run(metric, package))
        for package, values in found.items():
            results[f"{metric}: {package}"] = {
                key: statistics.median(value[key] for value in values) for key in ("seconds", "MiB")
            } | {"all seconds": [round(value["seconds"], 3) for value in values]}
            medians = results[f"{metric}: {package}"]
            print(f"{metric:16} {package:24} {medians['seconds']:9.3f} s {medians['MiB']:8.0f} MiB", flush=True)
    print(json.dumps({"count": wanted.count, "width": wanted.width, "cores": os.cpu_count(), "results": results}))


if __name__ == "__main__":
    main()
