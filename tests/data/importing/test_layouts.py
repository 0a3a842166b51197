"""Each layout is distinguished from the others, and a path from the id of a data set on the Hub."""

import json
import time
from pathlib import Path

import pytest

from refilm.data import read_examples
from refilm.data.importing import Columns, find_layout, import_clips

VIDEO, PNG = b"\0\0\0\x18ftypisom", b"\x89PNG"


def laid_out(home: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return home


def words(source: Path | str) -> str:
    return find_layout(str(source), Columns({}), split="train", allow_outside=False).words


def lines(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


LAYOUTS = {
    "research": ({"videos/a.mp4": VIDEO, "labels/a.txt": "a dog", "ref_images/a/1.png": PNG}, "videos/ and labels/"),
    "flat": ({"a.mp4": VIDEO, "a.txt": "a dog", "a.png": PNG, "notes.md": ""}, "videos with captions beside them"),
    "finetrainers": (
        {"videos/a.mp4": VIDEO, "prompts.txt": "\ufeffa dog\r\n\r\n", "videos.txt": "videos/a.mp4\n"},
        "prompts.txt and videos.txt",
    ),
    "jsonl": ({"a.mp4": VIDEO, "metadata.jsonl": lines({"file_name": "a.mp4", "text": "a dog"})}, "metadata.jsonl"),
    "csv": ({"a.mp4": VIDEO, "metadata.csv": "file_name,prompt\na.mp4,a dog\n"}, "metadata.csv"),
    "manifest": (
        {
            "videos/000001.mp4": VIDEO,
            "manifest.jsonl": lines(
                {"video": "videos/000001.mp4", "caption": "a dog", "references": [], "source": "a.mp4"}
            ),
        },
        "manifest.jsonl",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_reported_by_its_files(tmp_path, name):
    files, what = LAYOUTS[name]
    home = laid_out(tmp_path / "mine", files)
    assert words(home) == what
    assert list(import_clips(str(home), tmp_path / "out")) == [1]
    (one,) = read_examples(tmp_path / "out" / "manifest.jsonl")
    assert (one.caption, one.video.read_bytes(), one.video.name) == ("a dog", VIDEO, "000001.mp4")
    assert one.source in ("a.mp4", "videos/a.mp4")
    assert [item.image.read_bytes() for item in one.references] == [PNG] * ("research flat".count(name))


def test_names_with_dots_stay_apart(tmp_path):
    home = laid_out(tmp_path / "mine", {})
    for stem in ("trip.v1", "trip.v2", "trip"):
        laid_out(home, {f"{stem}.mp4": VIDEO, f"{stem}.txt": stem, f"{stem}.2.png": PNG, f"{stem}.mask.mp4": VIDEO})
    assert list(import_clips(str(home), tmp_path / "out")) == [1, 2, 3]
    found = {example.source: example for example in read_examples(tmp_path / "out" / "manifest.jsonl")}
    assert {source: example.caption for source, example in found.items()} == {
        "trip.v1.mp4": "trip.v1",
        "trip.v2.mp4": "trip.v2",
        "trip.mp4": "trip",
    }
    assert all(example.mask and len(example.references) == 1 for example in found.values())


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"a.mp4": VIDEO, "b.txt": "a dog"}, r"mine, 'b': has no video; add a video of that name; or remove 'b\.txt'"),
        (
            {"prompts.txt": "a\nb\n", "videos.txt": "a.mp4", "a.mp4": VIDEO},
            r"videos\.txt: ends before line 2 of prompts",
        ),
        ({"prompts.txt": "a\nb", "videos.txt": "\na.mp4", "a.mp4": VIDEO}, r"videos\.txt:1: has no video"),
        (
            {"metadata.jsonl": "{}", "metadata.csv": ""},
            r"mine: has metadata\.jsonl and metadata\.csv; import one of them",
        ),
        (
            {"metadata.jsonl": lines({"file_name": "../x.mp4", "text": "a"})},
            r"metadata\.jsonl:1: '\.\./x\.mp4' is outside",
        ),
        (
            {"metadata.jsonl": lines({"video": "a", "text": "a", "prompt": "b"})},
            r"columns 'text' and 'prompt' both match",
        ),
        ({"metadata.csv": "video,video,text\n"}, r"metadata\.csv: has two columns 'video'"),
        ({"videos/a.mp4": VIDEO}, r"mine: has no folder labels; arrange the files as .*with refilm data import"),
        ({"a.jpg": PNG}, r"mine: unknown layout; use a folder with"),
    ],
    ids=range(9),
)
def test_a_layout_that_is_at_fault(tmp_path, files, complaint):
    home = laid_out(tmp_path / "mine", files)
    with pytest.raises(ValueError, match=complaint):
        list(import_clips(str(home), tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


NUMBERS = ["NaN", "-Infinity", "1e999", "1" + "0" * 400, "1" + "0" * 5000, "-0.5", "true", "[" * 5000, '"soon"', "1e7"]


@pytest.mark.parametrize("number", NUMBERS, ids=range(len(NUMBERS)))
def test_numbers_of_strangers(tmp_path, number):
    """Both an import and a manifest refuse a start that is too large, and name the line."""
    text = f'{{"video": "a.mp4", "caption": "a dog", "references": [], "start": {number}}}\n'
    home = laid_out(tmp_path / "mine", {"a.mp4": VIDEO, "clips.jsonl": text})
    for read in (
        lambda: list(import_clips(f"{home}/clips.jsonl", tmp_path / "out")),
        lambda: read_examples(home / "clips.jsonl"),
    ):
        with pytest.raises(ValueError, match=r"clips\.jsonl:1: ") as caught:
            read()
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "line", "complaint"),
    [
        (b'1.mp4,"it says "hi" loudly"', 41, "not valid CSV"),
        ("1.mp4,été".encode("latin-1"), 41, r"not UTF-8 text \(byte e9 after 6 characters\)"),
        (b'1.mp4,"a caption\nof two lines\n1.mp4,a dog', 41, "not valid CSV"),
        (b"1.mp4," + b"a" * 200_000, 41, "field larger than field limit"),
        (b"1.mp4," + b"a" * 2_000_000, 41, "is longer than 1,048,576 characters"),
        (b"1.mp4,a\0 \0d\0", 41, "contains NUL characters, which usually means UTF-16"),
        (b"1.mp4", 41, "has 1 values, but there are 2 columns"),
        (b"2.mp4,a dog", 41, r"'2\.mp4' is not a file"),
    ],
    ids=range(8),
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_line_that_is_at_fault_is_named(tmp_path, content, line, complaint, end):
    sound = [b"1.mp4,a dog"] * 60
    rows = [b"video,caption", *sound[:38], b"", content, *sound]
    home = laid_out(tmp_path / "mine", {"1.mp4": VIDEO, "clips.csv": end.join(rows)})
    with pytest.raises(ValueError, match=rf"clips\.csv:{line}: .*{complaint}"):
        list(import_clips(f"{home}/clips.csv", tmp_path / "out"))


@pytest.mark.parametrize("delimiter", ",;\t")
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_whatever_parts_the_values(tmp_path, delimiter, mark):
    table = delimiter.join(["video", "caption"]) + "\r\n" + delimiter.join(["1.mp4", '"a fox, red; it jumps"'])
    home = laid_out(tmp_path / "mine", {"1.mp4": VIDEO, "clips.csv": mark + table})
    assert words(home / "clips.csv").split()[4] == {",": "commas", ";": "semicolons", "\t": "tabs"}[delimiter]
    list(import_clips(f"{home}/clips.csv", tmp_path / "out"))
    assert [example.caption for example in read_examples(tmp_path / "out" / "manifest.jsonl")] == [
        "a fox, red; it jumps"
    ]


def test_text_in_another_encoding_is_refused(tmp_path):
    home = laid_out(tmp_path / "mine", {"clips.csv": "video,caption\n".encode("utf-16")})
    with pytest.raises(ValueError, match=r"clips\.csv: not UTF-8 text but UTF-16; save it as UTF-8"):
        list(import_clips(f"{home}/clips.csv", tmp_path / "out"))
    text = '{"video": "a.mp4", "caption": "half a fox \\ud83e", "references": []}'
    laid_out(home, {"a.mp4": VIDEO, "clips.jsonl": text})
    with pytest.raises(
        ValueError, match=r"clips\.jsonl:1: caption contains half of a UTF-16 character, half a fox \\ud83e"
    ):
        list(import_clips(f"{home}/clips.jsonl", tmp_path / "out"))


# --- paths and ids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    ["clips/cat.csv", "./a/b", "/a/b", "a/b/c", "a", "mine/b", "a/b.mp4", "a/b.parquet", "ü/b", "a/..", "~/b", "a\\b"],
)
def test_what_can_only_be_a_path_asks_no_network(tmp_path, monkeypatch, source):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: pytest.fail("asked the Hub"))
    with pytest.raises(ValueError, match=r": no such file or folder; use a folder with"):
        words(source)


def test_what_may_be_an_id_costs_one_question(tmp_path, monkeypatch):
    """No server listens there: the error comes at once, without retries, and names both possibilities."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(
        ValueError,
        match=r"clpis/mine: no such local file or folder, and no readable data set on the Hub .*fix the path or the id",
    ):
        words("clpis/mine")
    assert time.monotonic() - started < 10
