"""Clips of every format become files and a manifest, atomically; no path in an archive or table leads outside."""

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import datasets
import pytest

from refilm.data import Example, Reference, read_examples
from refilm.data.importing import Columns, hub, import_clips

from ..checking.damaged import image, video, write
from .hub import serving

BUFFER = io.BytesIO()
image(0).save(BUFFER, "PNG")
PNG = BUFFER.getvalue()


@pytest.fixture(scope="module")
def mp4(tmp_path_factory) -> bytes:
    return write(tmp_path_factory.mktemp("video") / "1.mp4", video(0)).read_bytes()


@pytest.fixture
def home(tmp_path, mp4) -> Path:
    """A folder with files to list, and a file outside it."""
    (tmp_path / "home" / "clips").mkdir(parents=True)
    for name in ("clips/1.mp4", "clips/2.mov", "../secret.mp4"):
        (tmp_path / "home" / name).write_bytes(mp4)
    for name in ("1.png", "1b.png", "2.png"):
        (tmp_path / "home" / name).write_bytes(PNG)
    return tmp_path / "home"


def imported(source, out, **options) -> list[Example]:
    counts = list(import_clips(str(source), out, **options))
    assert counts == list(range(1, len(counts) + 1))
    assert {path.name for path in out.iterdir()} <= {"manifest.jsonl", "videos", "references", "masks"}
    return read_examples(out / "manifest.jsonl")


def nothing_left(out: Path) -> bool:
    return not out.exists() and not [path for path in out.parent.iterdir() if path.name.startswith(".")]


def table(path: Path, *rows: dict) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_folder_layout(home, tmp_path, mp4):
    for part in ("videos", "labels", "ref_images/7"):
        (home / part).mkdir(parents=True)
    (home / "videos/7.mp4").write_bytes(mp4)
    (home / "labels/7.txt").write_text(" a dog\nruns ")
    (home / "ref_images/7/7_masked.jpg").write_bytes(PNG)
    (one,) = imported(home, tmp_path / "out")
    assert (one.caption, one.video.name, one.references[0].image.name) == ("a dog runs", "000001.mp4", "000001-1.jpg")
    assert one.video.samefile(home / "videos/7.mp4")  # linked, not copied


def test_csv(home, tmp_path):
    rows = [
        {
            "": 0,
            "video": "clips/1.mp4",
            "caption": "a dog, running",
            "reference": "1.png; 1b.png",
            "start": "",
            "end": "1",
        },
        {"": 1, "video": "clips/1.mp4", "caption": "", "reference": "", "start": "0.5", "end": ""},
        {"": 2, "video": "clips/2.mov", "caption": "a fox", "reference": "1.png", "start": "", "end": ""},
    ]
    one, two, three = raw(table(home / "clips.csv", *rows), tmp_path / "out")
    assert (one["caption"], one["end"], one["references"]) == (
        "a dog, running",
        1.0,
        ["references/000001-1.png", "references/000001-2.png"],
    )
    assert two == {
        "video": one["video"],
        "caption": "",
        "references": [],
        "start": 0.5,
        "source": "clips/1.mp4",
    }  # for the check to tell
    assert three["video"] == "videos/000003.mov"
    assert three["references"] == ["references/000001-1.png"]  # the same file is there once


def raw(source, out, **options) -> list[dict]:
    list(import_clips(str(source), out, **options))
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_columns_of_other_names(home, tmp_path):
    rows = {"path": "clips/1.mp4", "words": "a dog", "who": "fido", "shown": "1.png", "m": "2.png"}
    columns = "video=path, caption=words,subject=who,references=shown,mask=m"
    (one,) = imported(table(home / "clips.csv", rows), tmp_path / "out", columns=columns)
    assert (one.caption, one.subject, one.mask) == ("a dog", "fido", tmp_path / "out/masks/000001.png")
    for wrong, complaint in {
        "video=path": r"clips\.csv: has no column 'caption', only 'path', .*; choose the column with --columns cap",
        "video=nope": r"no column 'nope'",
        "film=path": r"--columns 'film=path': assign a column to one of video, caption",
        "video": r"--columns 'video': assign a column to one of",
    }.items():
        with pytest.raises(ValueError, match=complaint):
            list(import_clips(str(home / "clips.csv"), tmp_path / "other", columns=wrong))
        assert nothing_left(tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"video": ""}, r"clips\.csv:3: has no video"),
        ({"video": "3.mp4"}, r"clips\.csv:3: '3\.mp4' is not a file in .*home; fix the path, or add the file"),
        ({"video": "../secret.mp4"}, r"is outside .*; use --allow-outside if that is intended"),
        ({"video": "/etc/passwd"}, r"'/etc/passwd' is outside"),
        ({"references": "1.png;link.png"}, r"'link\.png' is outside"),
        ({"video": "1\0.mp4"}, r"clips\.csv:3: contains NUL characters, which usually means UTF-16"),
        ({"start": "soon"}, r"clips\.csv:3: start must be between 0 and 1,000,000 seconds, received 'soon'"),
        ({"start": "2", "end": "1"}, r"clips\.csv:3: end must come after start, 2 s, but is 1 s"),
    ],
)
def test_a_row_that_is_at_fault_is_named_and_nothing_is_written(home, tmp_path, change, complaint):
    (home / "link.png").symlink_to("/etc/hosts")
    sound = {"video": "clips/1.mp4", "caption": "a dog", "references": "1.png", "start": "", "end": ""}
    with pytest.raises(ValueError, match=complaint):
        list(import_clips(str(table(home / "clips.csv", sound, sound | change)), tmp_path / "out"))
    assert nothing_left(tmp_path / "out")


def test_rows_that_do_not_fit_their_header(home, tmp_path):
    for text, complaint in {
        "video,caption\nclips/1.mp4,a dog, running\n": r"clips\.csv:2: has 3 values, but there are 2 columns",
        "video,caption\nclips/1.mp4\n": r"clips\.csv:2: has 1 values, but there are 2",
        'video,caption\n"clips/1.mp4,a dog': r"clips\.csv:2: not valid CSV \(unexpected end of data\); quote values",
        "video,caption\n": r"out: was not written, because the source contains no clips",
        "": r"contains no clips",
    }.items():
        (home / "clips.csv").write_text(text)
        with pytest.raises(ValueError, match=complaint):
            list(import_clips(str(home / "clips.csv"), tmp_path / "out"))
        assert nothing_left(tmp_path / "out")


def test_files_that_stay_where_they_are(home, tmp_path):
    source = table(home / "clips.csv", {"video": "../secret.mp4", "caption": "a dog", "references": "1.png"})
    list(import_clips(str(source), tmp_path / "out", allow_outside=True))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.jsonl"]
    with pytest.raises(ValueError, match="is outside the manifest's folder"):
        read_examples(tmp_path / "out" / "manifest.jsonl")
    (one,) = read_examples(tmp_path / "out" / "manifest.jsonl", allow_outside=True)
    assert one.video.samefile(tmp_path / "secret.mp4")
    assert one.references == (Reference((home / "1.png").resolve()),)


def test_parquet_with_contents_and_with_paths(home, tmp_path, mp4):
    rows = {
        "video": [{"bytes": mp4, "path": "../../evil.mkv"}, {"bytes": mp4, "path": None}],
        "caption": ["a dog", "a fox"],
        "references": [[{"bytes": PNG, "path": "x.webp"}, {"bytes": PNG, "path": None}], []],
        "end": [1.0, None],
    }
    features = datasets.Features(
        {
            "video": datasets.Video(),
            "caption": datasets.Value("string"),
            "references": datasets.List(datasets.Image()),
            "end": datasets.Value("float32"),
        }
    )
    datasets.Dataset.from_dict(rows, features).to_parquet(home / "clips.parquet")
    one, two = imported(home / "clips.parquet", tmp_path / "out")
    assert (one.video.name, two.video.name) == ("000001.mkv", "000002.mp4")
    assert one.video.read_bytes() == two.video.read_bytes() == mp4
    assert [item.image.name for item in one.references] == ["000001-1.webp", "000001-2.png"]
    assert (one.end, two.end, two.references) == (1.0, None, ())
    (home / "clips.parquet").unlink()
    for number, path in enumerate(["clips/1.mp4", "clips/2.mov"]):
        named = {"file": [path], "text": ["a cat"], "reference": ["1.png;2.png"]}
        datasets.Dataset.from_dict(named).to_parquet(home / f"part-{number}.parquet")
    one, two = imported(home, tmp_path / "folder", columns="video=file,caption=text")
    assert (two.caption, two.video.name, len(two.references)) == ("a cat", "000002.mov", 2)


@pytest.mark.parametrize("name", ["clips[1].parquet", "clips?.parquet", "a*.parquet", "[!c]::x/clips.parquet"])
def test_a_path_of_a_parquet_file_is_no_pattern(home, tmp_path, mp4, name):
    (home / name).parent.mkdir(exist_ok=True)
    features = datasets.Features(video=datasets.Video(), caption=datasets.Value("string"))
    for path, caption in ((name, "a fox"), ("clips1.parquet", "another"), ("ab.parquet", "another")):
        rows = {"video": [{"bytes": mp4, "path": "1.mp4"}], "caption": [caption]}
        datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "new.parquet")
        (tmp_path / "new.parquet").rename(home / path)
    (one,) = imported(home / name, tmp_path / "out")
    assert one.caption == "a fox"


def test_what_is_no_parquet(home, tmp_path):
    (home / "clips.parquet").write_bytes(b"PAR1 and so on")
    with pytest.raises(
        ValueError, match=r"clips\.parquet: cannot be read as Parquet \(.+\); download or write it again"
    ):
        list(import_clips(str(home / "clips.parquet"), tmp_path / "out"))
    datasets.Dataset.from_dict({"video": ["../secret.mp4"], "caption": ["x"]}).to_parquet(home / "clips.parquet")
    with pytest.raises(ValueError, match=r"clips\.parquet, row 1: '\.\./secret\.mp4' is outside"):
        list(import_clips(str(home / "clips.parquet"), tmp_path / "out"))


def archive(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def test_tars(home, tmp_path, mp4):
    reported = json.dumps({"text": "a fox", "end": 1.0, "subject": "fox", "license": "free"}).encode()
    archive(
        home / "b.tar",
        {
            "s/2.mkv": mp4,
            "s/2.json": reported,
            "s/2.png": PNG,
            "s/2.side.jpg": PNG,
            "s/2.mask.mp4": mp4,
            "s/2.cls": b"7",
        },
    )
    archive(home / "a.tar", {"1.mp4": mp4, "1.txt": "ein  Hündchen".encode(), "./.DS_Store": b"x"})
    one, two = imported(home, tmp_path / "out", columns="caption=text")
    out = tmp_path / "out"
    assert one == Example(out / "videos/000001.mp4", "ein Hündchen", (), source="1.mp4")
    images = (Reference(out / "references/000002-1.png"), Reference(out / "references/000002-2.jpg"))
    video, mask = out / "videos/000002.mkv", out / "masks/000002.mp4"
    assert two == Example(video, "a fox", images, end=1.0, subject="fox", mask=mask, source="s/2.mkv")
    assert mask.read_bytes() == mp4


def special(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_hostile_names_in_a_tar_are_no_paths(home, tmp_path, mp4):
    names = ["../../evil.mp4", "/etc/evil.mp4", "a/../../../evil2.mp4", "C:\\evil.mp4", "~/evil.mp4", "x\n.mp4"]
    examples = raw(archive(home / "a.tar", dict.fromkeys(names, mp4)), tmp_path / "out")
    assert [line["video"] for line in examples] == [f"videos/{number:06}.mp4" for number in range(1, 7)]
    assert not list(tmp_path.rglob("evil*"))
    assert {path.name for path in tmp_path.iterdir()} == {"home", "out", "secret.mp4"}


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        (
            {"1.mp4": special("1.mp4", tarfile.SYMTYPE, "/etc/passwd")},
            r"'1\.mp4' is not a regular file \(for example a link",
        ),
        ({"1.mp4": special("1.mp4", tarfile.LNKTYPE, "/etc/passwd")}, r"not a regular file"),
        ({"1.mp4": special("1.mp4", tarfile.CHRTYPE, "")}, r"not a regular file"),
        ({"1.mp4": special("1.mp4", tarfile.FIFOTYPE, "")}, r"not a regular file"),
        ({"1.txt": b"a dog"}, r"a\.tar, '1': has no video"),
        ({"1.mp4": b"", "1.mov": b""}, r"a\.tar, '1': has two videos"),
        (
            {"1.mp4": b"", "1.txt": b"\xff"},
            r"a\.tar, '1', '1\.txt': not UTF-8 text \(invalid start byte at byte 0\); save it",
        ),
        ({"1.mp4": b"", "1.json": b"[" * 100_000}, r"a\.tar, '1', '1\.json': not valid JSON"),
        ({"1.mp4": b"", "1.json": b"[]"}, r"must be a JSON object, received list"),
        ({"1.mp4": b"", "1.json": b'{"caption": 1}'}, r"caption must be text, received int"),
        ({"1.mp4": b"", "1.json": b'{"start": -1}'}, r"start must be between 0 and 1,000,000 seconds, received -1"),
    ],
    ids=range(11),
)
def test_a_tar_that_is_at_fault(home, tmp_path, members, complaint):
    with pytest.raises(ValueError, match=complaint):
        list(import_clips(str(archive(home / "a.tar", members)), tmp_path / "out"))
    assert nothing_left(tmp_path / "out")


def test_archives_that_lie_about_their_sizes(home, tmp_path, mp4):
    whole = archive(home / "a.tar", {"1.mp4": mp4, "2.mp4": mp4}).read_bytes()
    info = tarfile.TarInfo("1.mp4")
    info.size = 2**50
    for content in (whole[:3000], whole[:700], info.tobuf(), b"no tar", b"", whole[:512] + b"\xff" * 2000):
        (home / "a.tar").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"a\.tar: (truncated within|not an uncompressed tar, or damaged)|contains no clips"
        ):
            list(import_clips(str(home / "a.tar"), tmp_path / "out"))
        assert nothing_left(tmp_path / "out")


# --- the Hub ----------------------------------------------------------------------------------------------


def from_hub(repository: Path, home: Path, *words: str) -> subprocess.CompletedProcess:
    """`refilm data import owner/name out`, in a process with a simulated Hub."""
    with serving(repository) as address:
        place = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home / "cache")}
        command = [sys.executable, "-m", "refilm.cli", "data", "import", "owner/name", str(home / "out"), *words]
        return subprocess.run(command, env=os.environ | place, capture_output=True, text=True, timeout=300)


def test_a_data_set_of_the_hub_as_parquet(tmp_path, mp4):
    (tmp_path / "repository").mkdir()
    rows = {"video": [{"bytes": mp4, "path": "x.mov"}] * 2, "caption": ["a dog", "a fox"], "reference": [PNG, None]}
    features = {"video": datasets.Video(), "caption": datasets.Value("string"), "reference": datasets.Image()}
    datasets.Dataset.from_dict(rows, datasets.Features(features)).to_parquet(tmp_path / "repository" / "train.parquet")
    done = from_hub(tmp_path / "repository", tmp_path, "--columns", "video=video")
    assert done.returncode == 0, done.stderr
    one, two = read_examples(tmp_path / "out" / "manifest.jsonl")
    assert (one.video.name, one.video.read_bytes(), one.caption) == ("000001.mov", mp4, "a dog")
    assert ([item.image.read_bytes() for item in one.references], two.references) == ([PNG], ())
    assert not list((tmp_path / "cache").rglob("*.parquet"))  # streamed, not stored as well


def test_a_data_set_of_the_hub_as_files(tmp_path, mp4):
    (tmp_path / "repository").mkdir()
    for name in ("1.mp4", "2.mp4"):
        (tmp_path / "repository" / name).write_bytes(mp4)
    lines = ({"file_name": f"{number}.mp4", "text": f"dog {number}"} for number in (1, 2))
    (tmp_path / "repository" / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = from_hub(tmp_path / "repository", tmp_path, "--columns", "caption=text")
    assert done.returncode == 0, done.stderr
    examples = read_examples(tmp_path / "out" / "manifest.jsonl")
    assert [(example.caption, example.video.read_bytes()) for example in examples] == [("dog 1", mp4), ("dog 2", mp4)]


def test_a_data_set_of_strangers_names_no_file_of_this_machine(home, tmp_path, monkeypatch):
    """The library reads a folder of that name as it reads a repository."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    for path in (str(tmp_path / "secret.mp4"), "secret.mp4", "file:///etc/passwd", "zip://x::/etc/a.zip"):
        datasets.Dataset.from_dict({"video": [path], "caption": ["x"]}).to_parquet("owner/name/train-0.parquet")
        with pytest.raises(
            ValueError, match=r"owner/name, row 1: '.*' is not a file of the data set; only its own files are read"
        ):
            list(hub.hub_rows("owner/name", "train", Columns({})))


def test_a_data_set_that_cannot_be_reached(tmp_path):
    with pytest.raises(
        ValueError, match=r"nobody/nothing: no such local file or folder, and no readable data set on the Hub .*\(.+\)"
    ):
        list(import_clips("nobody/nothing", tmp_path / "out"))
    assert nothing_left(tmp_path / "out")


# --- all or nothing -----------------------------------------------------------------------------------


def test_a_folder_that_holds_something_is_not_touched(home, tmp_path):
    source = str(table(home / "clips.csv", {"video": "clips/1.mp4", "caption": "a dog"}))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    for out, complaint in {"full": "full: is not empty", "secret.mp4": r"secret\.mp4: is a file"}.items():
        with pytest.raises(ValueError, match=complaint):
            list(import_clips(source, tmp_path / out))
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert list(import_clips(source, tmp_path / "empty")) == [1]


def test_whoever_stops_leaves_nothing(home, tmp_path):
    rows = [{"video": "clips/1.mp4", "caption": "a dog"}] * 3
    steps = import_clips(str(table(home / "clips.csv", *rows)), tmp_path / "out")
    next(steps)
    assert not (tmp_path / "out").exists()
    steps.close()
    assert nothing_left(tmp_path / "out")


def test_another_disk_gets_copies(home, tmp_path, monkeypatch, mp4):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (one,) = imported(table(home / "clips.csv", {"video": "clips/1.mp4", "caption": "a dog"}), tmp_path / "out")
    assert one.video.read_bytes() == mp4
    assert not one.video.samefile(home / "clips/1.mp4")


@pytest.mark.parametrize("source", ["nowhere", "home", "secret.mp4", "home/1.png"])
def test_what_cannot_be_imported(home, tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)
    complaint = "no such file or folder" if source == "nowhere" else "unknown layout"
    with pytest.raises(ValueError, match=f"{complaint}; use a folder with videos/1"):
        list(import_clips(source, tmp_path / "out"))
