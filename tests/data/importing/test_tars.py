"""Tars in any order give the same clips; declared values affect neither memory nor which files are read."""

import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from refilm.data import read_examples
from refilm.data.importing import import_clips
from refilm.data.importing.archive import LONGEST, members_of

from .test_layouts import PNG, VIDEO


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **fields) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 512)


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    return header(name, len(content), kind) + padded(content)


END = b"\0" * 1024


def tar(path: Path, *parts: bytes, end: bytes = END) -> Path:
    path.write_bytes(b"".join(parts) + end)
    return path


def imported(source: Path, out: Path) -> list[tuple[str | None, str, int]]:
    list(import_clips(str(source), out))
    return [(one.source, one.caption, len(one.references)) for one in read_examples(out / "manifest.jsonl")]


FILES = (
    [(f"{n}.mp4", VIDEO) for n in "123"],
    [(f"{n}.txt", n.encode()) for n in "123"],
    [(f"{n}.png", PNG) for n in "123"],
)
FOLDERS = {".mp4": "videos/", ".txt": "labels/"}


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_members_may_lie_apart(tmp_path, order):
    source = tar(tmp_path / "a.tar", *(member(*file) for kind in order for file in FILES[kind]))
    assert imported(source, tmp_path / "out") == [(f"{n}.mp4", n, 1) for n in "123"]


def test_the_layout_of_folders_in_a_tar(tmp_path):
    files = [
        (FOLDERS.get(name[-4:], f"ref_images/{name[0]}/mask-") + name, content)
        for kind in FILES
        for name, content in kind
    ]
    source = tar(tmp_path / "a.tar", *(member(f"mine/{name}", content) for name, content in files))
    assert imported(source, tmp_path / "out") == [(f"mine/videos/{n}.mp4", n, 1) for n in "123"]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (
            ["clips/1.mp4", "words/1.txt"],
            "'words/1': has no video in its folder, but 'clips/1.mp4' is in another; put",
        ),
        (["1.mp4", "videos/1.mp4"], "has two videos"),
        (["1.mp4", "1.mp4"], "contains '1.mp4' twice"),
    ],
)
def test_what_belongs_together_is_not_guessed(tmp_path, names, complaint):
    source = tar(tmp_path / "a.tar", *(member(name, b"x") for name in names))
    with pytest.raises(ValueError, match=complaint):
        imported(source, tmp_path / "out")


def pax(**values: str) -> bytes:
    lines = []
    for key, value in values.items():
        body = f" {key.replace('_', '.')}={value}\n"
        length = next(n for n in range(len(body), len(body) + 9) if n == len(body) + len(str(n)))
        lines.append(f"{length}{body}")
    return member("pax", "".join(lines).encode(), tarfile.XHDTYPE)


def old_sparse() -> bytes:
    """One block in the archive that declares a file of a terabyte, as GNU tar writes with --sparse."""
    block = bytearray(header("1.mp4", 512, tarfile.GNUTYPE_SPARSE))
    block[386:410] = b"%011o\0%011o\0" % (0, 512)
    block[483:495] = b"%011o\0" % 2**32
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    return bytes(block) + b"x" * 512


HOSTILE = {
    "sparse": (old_sparse(), "'1.mp4' is not a regular file"),
    "sparse, newer": (
        pax(GNU_sparse_map="0,3", GNU_sparse_size="999999999999") + member("1.mp4", b"abc"),
        "not a regular file",
    ),
    "sparse, newest": (
        pax(GNU_sparse_major="1", GNU_sparse_minor="0") + member("1.mp4", b"1\n" * 256),
        "not a regular file",
    ),
    "long name": (header("x", 2**40, tarfile.GNUTYPE_LONGNAME), "truncated within 'x'"),
    "header": (header("x", 2 * LONGEST, tarfile.XHDTYPE) + b"1" * 2 * LONGEST, r"a header of 131,072 bytes"),
    "digits": (member("x", b"1" * LONGEST, tarfile.XHDTYPE), "an invalid header"),
    "size": (pax(size="-512") + member("1.mp4", b"abc"), "declares an invalid size of -512 bytes"),
    "large": (pax(size="9" * 5000) + member("1.mp4", b"abc"), "declares an invalid size of 9{20} bytes"),
    "negative": (header("1.mp4", -512), "declares an invalid size of -512 bytes"),
    "garbage": (member("1.mp4", VIDEO) + b"\xff" * 512, "not an uncompressed tar, or damaged"),
    "two": (member("1.mp4", VIDEO) + END + member("2.mp4", VIDEO), "contains data after its end marker"),
    "compressed": (b"\x1f\x8b" + b"x" * 600, "not an uncompressed tar, or damaged"),
    "device": (header("1.mp4", 0, tarfile.BLKTYPE), "not a regular file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_that_lies(tmp_path, name):
    content, complaint = HOSTILE[name]
    with pytest.raises(ValueError, match=rf"a\.tar: .*{complaint}"):
        list(members_of(tar(tmp_path / "a.tar", content)))


def test_an_archive_without_its_end_is_cut_short(tmp_path):
    source = tar(tmp_path / "a.tar", member("1.mp4", VIDEO), member("1.txt", b"a dog"), end=b"")
    with pytest.raises(ValueError, match=r"a\.tar: truncated, its end marker is missing"):
        imported(source, tmp_path / "out")


def test_names_of_any_length_and_bytes(tmp_path):
    """As Python's and GNU's tars write them, in each of their forms."""
    long = "a/" * 120 + "ü" * 60
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        names = [f"{long if form != tarfile.USTAR_FORMAT else 'b' * 90 + '/' + 'c' * 90}.mp4", "café.mp4"]
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as file:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(VIDEO), 1.5 if form == tarfile.PAX_FORMAT else 1
                file.addfile(info, io.BytesIO(VIDEO))
        assert [found.name for found in members_of(tmp_path / "a.tar")] == names
    names = "caf\udce9.mp4", "caf\udce9.txt"  # in Latin-1
    source = tar(tmp_path / "b.tar", member(names[0], VIDEO), member(names[1], b"a dog"))
    assert tuple(found.name for found in members_of(source)) == names
    assert imported(source, tmp_path / "out") == [(r"caf\xe9.mp4", "a dog", 0)]


def test_a_large_member_is_never_in_memory(tmp_path):
    source = tar(tmp_path / "a.tar", member("1.mp4", VIDEO + b"x" * 2**25), member("1.txt", b"a dog"))
    tracemalloc.start()
    list(import_clips(str(source), tmp_path / "out"))
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert (tmp_path / "out/videos/000001.mp4").stat().st_size == len(VIDEO) + 2**25
