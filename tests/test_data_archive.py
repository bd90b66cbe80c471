"""Images in zip archives: those of the same files in a folder; a stranger's archive is read or refused in one line."""

import io
import os
import struct
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from checks import bounded, refused
from PIL import Image

from jaxgan.data import archive, images, labels, source, split
from jaxgan.data.source import Source
from jaxgan.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 7, 9, 3), np.uint8)


def picture(number=0, kind="PNG", mode="RGB"):
    file = io.BytesIO()
    Image.fromarray(PIXELS[number]).convert(mode).save(file, kind)
    return file.getvalue()


def zipped(path, members, compression=zipfile.ZIP_STORED):
    """Writes an archive of `(name, content)`."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


# Reading

FILES = {
    "b/two.PNG": picture(0),
    "c.jpg": picture(1, "JPEG"),
    "a/one.png": picture(2, mode="RGBA"),
    "a.png": picture(3, mode="P"),
    "a/deep/er/grey.bmp": picture(4, "BMP", "L"),
    "b/ten 10 ü.tif": picture(5, "TIFF"),
    "notes.txt": b"no image",
    "b/._two.PNG": b"what some systems leave beside a file",
    "inner.zip": b"PK\5\6" + bytes(18),
    "__MACOSX/a/._one.png": b"the same in an archive",
}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("size, channels", [(7, 3), (4, 1), (16, 3)])
def test_an_archive_gives_what_the_folder_gives(size, channels, compression, tmp_path):
    for name, content in FILES.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    path = zipped(tmp_path / "a.zip", [("a/", b""), ("folder.png/", b""), *FILES.items()], compression)
    expected = images.folder(tmp_path / "folder", size, channels)
    assert expected.shape == (6, size, size, channels)
    np.testing.assert_array_equal(images.archive(path, size, channels), expected)
    for whole in ("train", "all"):
        np.testing.assert_array_equal(images.load(str(path), whole, size=size, channels=channels), expected)
    refused(lambda: images.load(str(path), "test", size=size, channels=channels), "a path has no other", "'test'")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.zip", "folder"]  # nothing is unpacked


def test_a_folder_that_is_called_like_an_archive_is_a_folder(tmp_path):
    (tmp_path / "a.zip").mkdir()
    (tmp_path / "a.zip" / "a.png").write_bytes(picture())
    assert images.load(str(tmp_path / "a.zip"), size=4, channels=3).shape == (1, 4, 4, 3)


def test_large_archives_are_read_as_needed(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", [(f"{number}.png", picture(number)) for number in range(8)])
    whole = images.archive(path, 7, 3)
    monkeypatch.setattr(source, "HOLD_BYTES", 100)
    lazy = images.load(str(path), size=7, channels=3)
    assert isinstance(lazy, Source) and (lazy.size, lazy.image_shape) == (8, (7, 7, 3))
    rng = np.random.default_rng(0)
    wanted = [rng.integers(0, 8, 5) for _ in range(200)]
    with ThreadPoolExecutor(8) as threads:  # a run fetches in a thread of its own while it evaluates
        for indices, got in zip(wanted, threads.map(lazy.fetch, wanted), strict=True):
            np.testing.assert_array_equal(got, whole[indices])
    train, test = split.train_and_test(str(path), size=7, channels=3)
    assert isinstance(train, Source) and (train.size, test.size) == (8, 0)
    x = images.dataset(train, batch_size=4).batch_at(0, 1)["x"]
    np.testing.assert_allclose(x, whole[images.indices_at(0, 1, 8, 4)] / 127.5 - 1, atol=1e-6)


def test_an_archive_that_stays_open_is_no_trouble_at_the_end(tmp_path):
    path = zipped(tmp_path / "a.zip", [("a.png", picture())])
    code = (
        "import sys\nfrom jaxgan.data import images, source\nsource.HOLD_BYTES = 0\n"
        "kept = images.archive(sys.argv[1], 4, 3)\nprint(kept.fetch([0]).shape)"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", code, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 4, 4, 3)\n", "")


def test_emoji_are_those_of_pillow(data_sets):
    """Real data, against what Pillow does with some of the files, put together here."""
    for file, size in (("png32.zip", 32), ("png72.zip", 64)):
        path = data_sets / "noto-emoji" / file
        train, test = split.train_and_test(str(path), size=size, channels=3)
        assert train.dtype == np.uint8 and train.shape[1:] == test.shape[1:] == (size, size, 3)
        assert (len(train), len(test)) == (3225, 358)
        with zipfile.ZipFile(path) as opened:
            names = sorted(opened.namelist())
            assert len(names) == 3583
            for number in (0, 9, 1000, 2019, 3582):
                drawn = Image.open(io.BytesIO(opened.read(names[number])))
                assert drawn.mode == "RGBA" and drawn.size[0] == drawn.size[1]
                white = Image.new("RGB", drawn.size, "white")
                white.paste(drawn, mask=drawn.getchannel("A"))
                expected = np.asarray(white.resize((size, size), Image.Resampling.LANCZOS)).astype(int)
                index, held_out = divmod(number, 10)
                got = test[index] if held_out == 9 else train[number - index]
                assert abs(got - expected).max() <= 1 and expected.std() > 10
    refused(lambda: labels.load(str(data_sets / "noto-emoji" / "png32.zip")), "png32.zip", "got 1 of them")


# Labels of folders


@pytest.mark.parametrize("as_archive", [False, True])
def test_folders_are_classes(as_archive, tmp_path):
    shown = {"cat/1.png": 0, "cat/2.png": 1, "Dog/z.png": 2, "ant/x/deep.png": 3, "ant/y.png": 4, "cat/a/b.png": 5}
    place = tmp_path / ("a.zip" if as_archive else "folder")
    if as_archive:
        zipped(place, [(name, picture(number)) for name, number in shown.items()] + [("empty/", b"")])
    else:
        for name, number in shown.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(picture(number))
        (place / "empty").mkdir()
    values, classes = labels.load(str(place))
    assert values.dtype == np.int32 and classes == 3
    # Capitals are sorted first. Each image is told by its pixels.
    of_number = {shown[name]: ["Dog", "ant", "cat"].index(name.partition("/")[0]) for name in shown}
    known = {bytes(PIXELS[number, :, 1:8]): label for number, label in of_number.items()}
    read = images.load(str(place), size=7, channels=3)
    assert [known[bytes(image)] for image in read] == values.tolist() and sorted(values) == [0, 1, 1, 2, 2, 2]
    refused(lambda: labels.load(str(place), "test"), "a path has no other", "'test'")


def test_images_outside_of_the_folders_of_classes_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    names = ["a/1.png", "b/1.png"]
    zipped(path, [(name, picture()) for name in [*names, "c.png"]])
    refused(lambda: labels.load(str(path)), path, "got c.png beside")
    for without, count in ((["a.png", "b.png"], 0), (["a/1.png", "a/b/2.png"], 1), (["a/1.png", "b.png"], 1), ([], 0)):
        zipped(path, [(name, picture()) for name in without])
        refused(lambda: labels.load(str(path)), path, f"got {count} of them", "no labels")  # noqa: B023
    zipped(path, [(name, picture()) for name in names])
    assert labels.load(str(path), "all").classes == 2


# Archives from a stranger


def damages(content):
    """The content cut at every length, and with every byte changed."""
    rng = np.random.default_rng(0)
    for at in range(len(content)):
        yield content[:at]
        for changed in (content[at] ^ (1 << rng.integers(8)), 0, 255):
            yield content[:at] + bytes([changed]) + content[at + 1 :]


@pytest.mark.filterwarnings("ignore")  # a reader says what it has to say by its result alone
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_archive_is_read_or_refused(compression, tmp_path):
    tiny = io.BytesIO()
    Image.new("L", (2, 2), 9).save(tiny, "PNG")
    path = zipped(tmp_path / "a.zip", [("a.png", tiny.getvalue()), ("b.png", tiny.getvalue())], compression)
    whole, refusals, count = path.read_bytes(), 0, 0
    expected = images.archive(path, 2, 1)
    with bounded(most_seconds=60):
        for damaged in damages(whole):
            path.write_bytes(damaged)
            count += 1
            try:
                read = images.archive(path, 2, 1)
            except InputError as error:
                assert "\n" not in str(error) and str(path) in str(error) and len(str(error)) < 2000
                refusals += 1
            else:  # what is damaged says nothing of the images, or one of the two is no longer listed as one
                assert len(read) in (1, 2) and (read == expected[: len(read)]).all()
    print(f"{count} archives, {refusals} refused")
    assert count / 2 < refusals < count


def test_what_is_no_archive_is_refused(tmp_path):
    refused(lambda: images.archive(tmp_path / "none.zip", 4, 3), "none.zip", "no such file")
    refused(lambda: images.load(str(tmp_path / "none.zip"), size=4, channels=3), "none.zip", "no such file")
    path = tmp_path / "a.zip"
    for content in (b"", b"text", picture(), b"PK\3\4" + bytes(100), b"PK\5\6"):
        path.write_bytes(content)
        refused(lambda: images.archive(path, 4, 3), path, "expected a zip archive of images", "unpack it")
    zipped(path, [("a.txt", b"no image"), ("inner.zip", b"")])
    refused(lambda: images.archive(path, 4, 3), path, "without any")
    zipped(path, [("a.png", picture())])
    refused(lambda: images.archive(path, 4, 2), "1 or 3 channels", "got 2")
    refused(lambda: images.archive(path, 0, 3), "a size of at least 1", "0")


@pytest.mark.parametrize("content", [b"", b"no image", picture()[:60], b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_a_damaged_image_is_named_with_its_archive(content, tmp_path):
    path = zipped(tmp_path / "a.zip", [("a.png", picture()), ("b/c.png", content), ("d.png", picture())])
    refused(lambda: images.archive(path, 4, 3), f"{path}: b/c.png: expected an image")


def test_what_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "HOLD_BYTES", 0)
    path = zipped(tmp_path / "a.zip", [("a.png", picture(0)), ("b.png", picture(1))])
    lazy, whole = images.archive(path, 4, 3), path.read_bytes()
    at = whole.index(b"b.png")
    for changed in (whole[: at + 50], whole[:at] + b"c" + whole[at + 1 :], whole[: at + 90] + bytes(100), b""):
        with path.open("r+b") as file:
            file.write(changed)
            file.truncate(len(changed))
        refused(lambda: lazy.fetch([1]), f"{path}: b.png: expected an image")
    path.write_bytes(whole)
    assert images.archive(path, 4, 3).fetch([1]).shape == (1, 4, 4, 3)


def flagged(path, flag, method):
    """Has an archive say of its only file that it is encrypted, or compressed in an unknown way."""
    content = path.read_bytes()
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = content.index(mark) + at
        content = content[:start] + struct.pack("<HH", flag, method) + content[start + 4 :]
    path.write_bytes(content)


@pytest.mark.parametrize("flag, method, says", [(1, 0, "an encrypted one"), (0, 99, "compression 99"), (0, 12, "12")])
def test_what_only_some_programs_read_is_refused(flag, method, says, tmp_path):
    path = zipped(tmp_path / "a.zip", [("a.png", picture())])
    flagged(path, flag, method)
    refused(lambda: images.archive(path, 4, 3), f"{path}: a.png:", says, "unpack it")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_are_no_paths(tmp_path):
    (tmp_path / "place").mkdir()
    leading = ["../../outside.png", str(tmp_path / "outside.png"), "C:\\outside.png", "up\\..\\outside.png"]
    path = zipped(tmp_path / "place" / "a.zip", [(name, picture(n)) for n, name in enumerate(leading)])
    read = images.archive(path, 7, 3)
    expected = [PIXELS[leading.index(name), :, 1:8] for name in sorted(leading)]
    np.testing.assert_array_equal(read, expected)
    assert [file.name for file in tmp_path.rglob("*")] == ["place", "a.zip"]
    zipped(path, [("a.png", picture(0)), ("b.png", picture(1)), ("a.png", picture(2))])
    refused(lambda: images.archive(path, 7, 3), path, "two called a.png")
    refused(lambda: labels.load(str(path)), path, "two called a.png")
    zipped(path, [("\n\x1b[2J" + "x" * 60_000 + ".png", b"no image")])
    refused(lambda: images.archive(path, 7, 3), path, "\\x1b[2Jxx", "expected an image")


@pytest.mark.parametrize("stated", [None, 1000])
def test_what_a_file_unpacks_to_is_limited(stated, tmp_path):
    """Some kilobytes that stand for 512 MB, and say so or not."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened, opened.open("a.png", "w") as file:
        for _ in range(512):
            file.write(bytes(1 << 20))
    content = path.read_bytes()
    assert len(content) < 1 << 20
    if stated is not None:
        at = content.index(b"PK\1\2") + 24
        path.write_bytes(content[:at] + struct.pack("<I", stated) + content[at + 4 :])
    with bounded():
        refused(lambda: images.archive(path, 4, 3), f"{path}: a.png:", "of 536870912 bytes" if not stated else "CRC")


def test_files_that_overlap_are_refused(tmp_path):
    """Each of many names stands for the same data: what they unpack to grows with the square of the archive."""
    path = zipped(tmp_path / "a.zip", [("a.png", picture())])
    content = path.read_bytes()
    start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    entry = content[start:end].removesuffix(b"a.png")
    entry = entry[:28] + struct.pack("<H", 9) + entry[30:]  # the length of the names
    listed = b"".join(entry + b"%05d.png" % number for number in range(1000))
    path.write_bytes(content[:start] + listed + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, len(listed), start, 0))
    with zipfile.ZipFile(path) as opened:
        assert len(opened.namelist()) == 1000 and opened.namelist()[1] == "00001.png"
    with bounded():
        refused(lambda: images.archive(path, 4, 3), path, "(files that overlap)")


@pytest.mark.parametrize("size", [(1 << 26) + 1, 2**32 - 2])
def test_a_list_of_too_many_files_is_not_read(size, tmp_path):
    path = tmp_path / "a.zip"
    with path.open("wb") as file:
        file.seek(64 << 30)  # takes no room
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size, 0, 0))
    with bounded():
        refused(lambda: images.archive(path, 4, 3), path, f"a list of files of {size} bytes", "unpack it")
        refused(lambda: labels.load(str(path)), path, "a list of files")


def test_the_limit_is_of_the_list_alone(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", [(f"{number}.png", picture(number)) for number in range(8)])
    listed = path.read_bytes().index(b"PK\5\6") - path.read_bytes().index(b"PK\1\2")
    monkeypatch.setattr(archive, "_LARGEST_DIRECTORY", listed)
    assert images.archive(path, 4, 3).shape == (8, 4, 4, 3)
    monkeypatch.setattr(archive, "_LARGEST_DIRECTORY", listed - 1)
    refused(lambda: images.archive(path, 4, 3), path, f"{listed} bytes, more than {listed - 1}")


def test_a_picture_of_too_many_pixels_is_refused(tmp_path):
    header = b"IHDR" + struct.pack(">IIBBBBB", 10**5, 10**5, 8, 2, 0, 0, 0)
    content = picture()
    bomb = content[:12] + header + struct.pack(">I", zipfile.crc32(header)) + content[33:]
    path = zipped(tmp_path / "a.zip", [("a.png", bomb)])
    with bounded():
        refused(lambda: images.archive(path, 4, 3), f"{path}: a.png: expected an image", "decompression bomb")


def test_pipes_and_devices_are_no_archives(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "device.zip").symlink_to("/dev/zero")
    (tmp_path / "loop.zip").symlink_to("loop.zip")
    with bounded():
        for name in ("pipe.zip", "device.zip", "loop.zip", "a\0.zip", "x" * 5000 + ".zip"):
            with pytest.raises(InputError, match="no such file|expected a zip archive"):
                images.load(str(tmp_path / name), size=4, channels=3)
