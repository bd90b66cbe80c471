"""Image sets of tensorflow-datasets, by name: read, and first prepared where they are not."""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
from typing import Any

import numpy as np

from jaxgan.data import idx, prepared
from jaxgan.data.source import Source, held
from jaxgan.errors import InputError, shown

PROBE_SECONDS = 5
# The packages that may decode an image: tensorflow-datasets takes OpenCV where there is one, else Pillow.
_DECODERS = ("tensorflow-datasets", "pillow", "opencv-python", "opencv-python-headless")
_DECODERS += ("opencv-contrib-python", "opencv-contrib-python-headless")
_CHUNK = 1024


def tfds(
    name: str, split: str, *, data_dir: str | None = None, manual_dir: str | None = None, decode: bool = True
) -> np.ndarray | Source:
    """The images of a set of tensorflow-datasets, with random access.

    A set that lies prepared in `data_dir` is read. Another is prepared there: MNIST and Fashion-MNIST without
    TensorFlow, the rest with it. What is decoded whole is kept for the next process, see `decoded`.

    Args:
      name: such as "mnist", "cifar10", "mnist_corrupted/shot_noise" or "mnist:3.0.1".
      split: such as "train", "test" or "train[:10%]".
      data_dir: where prepared sets lie; `$TFDS_DATA_DIR` where not given, else `~/tensorflow_datasets`.
      manual_dir: a folder with the files of the set, as its authors publish them; where not given they are downloaded.
      decode: whether to decode a set that is small enough to hold now; if not, images are decoded when fetched.

    Returns:
      uint8 `[N, H, W, C]`, or a source of such images.

    Raises:
      InputError: no such set or split, not a set of images of one size, or it cannot be prepared: no network, no
        TensorFlow, no permission, the wrong files.
    """
    images = _read(_prepared(name, data_dir, manual_dir), split)
    return held(images) if decode else images


def tfds_labels(
    name: str, split: str, *, data_dir: str | None = None, manual_dir: str | None = None
) -> tuple[np.ndarray, int]:
    """The feature "label" of a set of tensorflow-datasets, in the order of `tfds`; images are not decoded for it.

    Args: as of `tfds`.

    Returns:
      int32 `[N]` from 0, and the number of classes.

    Raises:
      InputError: as of `tfds`, no class labels by that name, or examples without one.
    """
    return _read_labels(_prepared(name, data_dir, manual_dir), split)


def _prepared(name: str, data_dir: str | None, manual_dir: str | None) -> Any:
    """The builder of a set, prepared first where it is not."""
    data_dir = os.path.expanduser(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    builder = _builder(name, data_dir)
    if not builder.data_path.exists():
        _prepare(builder, os.path.expanduser(manual_dir or ""))
        builder = _builder(name, data_dir)  # the stock builder reads what was written only when it is made
    elif not builder.is_prepared():
        raise InputError(f"{builder.data_path}: expected a prepared set, got a part of one: remove that folder")
    return builder


def _builder(name: str, data_dir: str) -> Any:
    import tensorflow_datasets

    with prepared.reading(os.path.join(data_dir, name)):
        try:
            plain, _ = tensorflow_datasets.core.naming.parse_builder_name_kwargs(name)
            prepared.check_metadata(pathlib.Path(data_dir, plain.name))
            return tensorflow_datasets.builder(name, data_dir=data_dir)
        except InputError:
            raise
        except (ValueError, AssertionError) as error:
            reason = shown(str(error).strip().partition("\n")[0])
            raise InputError(
                f"{name!r}: expected the name of a tensorflow-datasets set, an existing folder or an existing .zip, "
                f".npy or .npz file, got none of them ({reason}): check the spelling"
            ) from error


def _read(builder: Any, split: str) -> Source:
    features = builder.info.features
    images = {key: feature for key, feature in features.items() if type(feature).__name__ == "Image"}
    if len(images) != 1 and "image" not in images:
        raise InputError(f"{builder.name}: expected a set with an image, got the features {', '.join(features)}")
    key = "image" if "image" in images else next(iter(images))
    shape, dtype = images[key].shape, np.dtype(images[key].np_dtype)
    if None in shape or dtype != np.uint8:
        raise InputError(
            f"{builder.name}: expected uint8 images of one size, got {dtype} {list(shape)}: write them to a folder of "
            "image files, which are resized, and pass that"
        )
    examples = _examples(builder, split)

    def fetch(indices):
        with prepared.reading(builder.data_path):
            found = np.stack([example[key] for example in examples.__getitems__([int(index) for index in indices])])
            if found.shape[1:] != shape:
                raise ValueError(f"images of the shape {list(found.shape[1:])}, not {list(shape)}")
        return found

    return Source(len(examples), tuple(shape), fetch, _origin(builder, split, key))


def _origin(builder: Any, split: str, key: str) -> str:
    """All that the decoded images of a split are made of: the parts of which files, as they are now, and by what."""
    parts = []
    for part in builder.info.splits[split].file_instructions:
        status = os.stat(part.filename)
        parts.append([os.path.abspath(part.filename), part.skip, part.take, status.st_size, status.st_mtime_ns])
    versions = [[name, found.version] for name in _DECODERS for found in importlib.metadata.distributions(name=name)]
    return json.dumps([builder.info.full_name, key, parts, versions])


def _read_labels(builder: Any, split: str) -> tuple[np.ndarray, int]:
    import tensorflow_datasets

    features = builder.info.features
    if "label" not in features or type(features["label"]).__name__ != "ClassLabel":
        raise InputError(f'{builder.name}: expected a set with class labels, "label", got {", ".join(features)}')
    skip = tensorflow_datasets.decode.SkipDecoding()
    images = {key: skip for key, feature in features.items() if type(feature).__name__ == "Image"}
    examples = _examples(builder, split, images)
    with prepared.reading(builder.data_path):
        values = np.empty(len(examples), np.int32)
        for start in range(0, len(values), _CHUNK):  # they come with their encoded images: not all into memory at once
            some = range(start, min(start + _CHUNK, len(values)))
            values[some] = [example["label"] for example in examples.__getitems__(some)]
    if values.min() < 0:  # how tensorflow-datasets marks what its authors keep to themselves
        raise InputError(f"split of {builder.name}: expected a label to every example, got none to some in {split!r}")
    return values, features["label"].num_classes


def _examples(builder: Any, split: str, decoders: dict[str, Any] | None = None) -> Any:
    """The examples of a split by random access, once it is known that all of them are there."""
    if "array_record" not in {form.value for form in builder.info.available_file_formats()}:
        raise InputError(
            f"{builder.data_path}: expected a set prepared as array_record, got {builder.info.file_format.value}: "
            "remove that folder, or pass another data directory"
        )
    try:
        parts = [instruction.filename for instruction in builder.info.splits[split].file_instructions]
    except (KeyError, ValueError, AssertionError) as error:
        raise InputError(
            f"split of {builder.name}: expected one of {', '.join(builder.info.splits)} or a part such as "
            f"'train[:10%]', got {split!r}"
        ) from error
    if not parts:
        raise InputError(f"split of {builder.name}: expected at least one image, got none in {split!r}")
    missing = [part for part in parts if not os.path.exists(part)]
    if missing:
        raise InputError(f"{missing[0]}: no such file, the prepared set is not whole: remove {builder.data_path}")
    with prepared.reading(builder.data_path):
        return builder.as_data_source(split=split, decoders=decoders)


def _prepare(stock: Any, manual_dir: str) -> None:
    import requests
    import tensorflow_datasets

    if stock.name in idx.NAMES:
        builder = idx.builder(stock.name, os.fspath(stock.data_dir_root))
    elif importlib.util.find_spec("tensorflow"):
        builder = stock
    else:
        raise InputError(
            f"{stock.name}: not found in {stock.data_path}, and its preparation needs TensorFlow, which is not "
            "installed: pip install 'jaxgan[tensorflow]', or pass a data directory where it lies prepared"
        )
    _check_files(stock, manual_dir)
    _check_writable(stock)
    config = tensorflow_datasets.download.DownloadConfig(
        manual_dir=manual_dir or None, try_download_gcs=False, force_checksums_validation=stock.name in idx.NAMES
    )
    try:
        # It writes to a folder with another name, and renames that when all is written: a preparation that was cut
        # short is never taken for a prepared set.
        builder.download_and_prepare(download_config=config, file_format="array_record")
    except (requests.RequestException, tensorflow_datasets.download.DownloadError) as error:
        raise InputError(
            f"{stock.name}: the download failed ({' '.join(str(error).split())}): {_ways(stock)}"
        ) from error
    except OSError:
        # Of two processes that prepare one set at the same time, the second finds the folder in place.
        if not stock.is_prepared():
            raise


def _check_files(stock: Any, manual_dir: str) -> None:
    """Fails fast where neither the folder nor the network has the files: tfds itself tries a dead host for minutes."""
    import requests

    urls = stock.url_infos or {}
    if manual_dir:
        if not os.path.isdir(manual_dir):
            raise InputError(f"{manual_dir}: no such folder: expected one with the files of {stock.name}")
        if stock.name in idx.NAMES:
            idx.check_folder(manual_dir, {info.filename: info.checksum for info in urls.values()})
        return
    if stock.MANUAL_DOWNLOAD_INSTRUCTIONS:
        instructions = " ".join(stock.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
        raise InputError(f"{stock.name}: its files must be fetched by hand, and --manual-dir given: {instructions}")
    url = next((url for url in urls if url.startswith("http")), None)
    if url is not None:
        try:
            requests.head(url, timeout=PROBE_SECONDS)
        except requests.RequestException as error:
            raise InputError(
                f"{stock.name}: not found in {stock.data_path}, and {url} cannot be reached: {_ways(stock)}"
            ) from error


def _ways(stock: Any) -> str:
    """What to do where there is no network."""
    which = "the files of the set"
    if stock.name in idx.NAMES:
        which = f"the four official files ({', '.join(sum(idx.FILES.values(), ()))})"
    return f"pass --manual-dir with a folder of {which}, or --data-dir with a folder where the set lies prepared"


def _check_writable(stock: Any) -> None:
    for folder in (pathlib.Path(stock.data_dir_root), pathlib.Path(stock.data_path.parent)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".jaxgan-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"{folder}: expected a folder to prepare {stock.name} in, got one that cannot be written "
                f"({error.strerror}): pass --data-dir with another"
            ) from error
