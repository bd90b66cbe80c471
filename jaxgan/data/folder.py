"""Images in a folder of files."""

import io
import os
import pathlib

import numpy as np

from jaxgan.data import files
from jaxgan.data.source import Source, held
from jaxgan.errors import InputError

# Of all that Pillow knows: some of the rest start other programs, such as Ghostscript, whatever the file is called.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def folder(path: str | os.PathLike, size: int, channels: int) -> np.ndarray | Source:
    """The images of a folder and the folders in it, sorted by path, cropped to a square and resized.

    Args:
      path: a folder; files that start with a dot or have another extension than an image's are passed over.
      size: height and width of the result, in pixels.
      channels: 1 (grey) or 3 (RGB); what is transparent is laid on white.

    Returns:
      uint8 `[N, size, size, channels]`, or a source of such images where the set is too large to hold.

    Raises:
      InputError: no such folder, no image in it, or a file that cannot be read as an image.
    """
    path = pathlib.Path(path)
    check_size(size, channels)
    found = names(path)
    if not found:
        raise InputError(f"{path}: expected a folder with images ({', '.join(EXTENSIONS)}), got none")

    def fetch(indices):
        return np.stack([decode(path / found[index], size, channels) for index in indices])

    return held(Source(len(found), (size, size, channels), fetch))


def names(path: str | os.PathLike) -> list[str]:
    """The paths of the images of a folder and the folders in it, relative to it, sorted.

    Raises:
      InputError: no such folder.
    """
    path = pathlib.Path(path)
    if not os.path.isdir(path):
        raise InputError(f"{path}: no such folder: expected a folder of images")
    return sorted(
        file.relative_to(path).as_posix() for file in path.rglob("*") if is_image(file.name) and file.is_file()
    )


def is_image(name: str) -> bool:
    """Whether a file is taken for an image: by its extension, and not where its name starts with a dot."""
    path = pathlib.PurePosixPath(name)
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def check_size(size: int, channels: int) -> None:
    """Refuses what images cannot be resized and converted to.

    Raises:
      InputError: other than 1 or 3 channels, or no pixel.
    """
    if channels not in (1, 3) or size < 1:
        raise InputError(f"resized images: expected 1 or 3 channels and a size of at least 1, got {channels}, {size}")


def decode(path: str | os.PathLike, size: int, channels: int, content: bytes | None = None) -> np.ndarray:
    """One image file, upright, on white, cropped to its central square, resized with Lanczos's filter.

    Args:
      path: a BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file, told by its content; of an animation, the first frame.
      size: height and width of the result, in pixels.
      channels: 1 (grey) or 3 (RGB).
      content: what the file holds, where it is part of another; `path` is then its name in messages.

    Returns:
      uint8 `[size, size, channels]`.

    Raises:
      InputError: the file cannot be read as an image of 8 or 16 bits a channel, or is so large as to be an attack.
    """
    from PIL import Image, ImageOps

    try:
        if content is None and not os.path.isfile(path):  # reading a pipe or a device may not end
            raise FileNotFoundError("no such file")
        with Image.open(path if content is None else io.BytesIO(content), formats=_FORMATS) as image:
            ImageOps.exif_transpose(image, in_place=True)
            image.load()
    except Exception as error:  # Pillow does not say which errors its decoders raise, and they raise many
        raise InputError(
            f"{path}: expected an image, got a file that cannot be read as one ({files.reason(error)}): "
            "remove or repair it"
        ) from error
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips 16 bits at 255 where it should scale.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F", "LAB"):
        raise InputError(f"{path}: expected 8 or 16 bits a channel, got Pillow's mode {image.mode}: convert it")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    # Resized after it is cropped: given a box instead, the filter of resize would reach beyond its edges.
    image = image.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(size, size, channels)
