"""Folders and manifests: valid entries are read completely, faults are named, and no path leads outside."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refilm.data import Example, Reference, list_examples, read_examples, write_manifest
from refilm.data.examples import LOST


@pytest.fixture
def folder(tmp_path) -> Path:
    """The layout of the SAT fork with reference cross-attention, with three clips. Listing decodes nothing."""
    home = tmp_path / "mine"
    for name, images in {"1": ["1_masked.jpg"], "2": ["b.PNG", "a.webp"], "a.b": ["x.png"]}.items():
        add(home / "videos" / f"{name}.mp4")
        add(home / "labels" / f"{name}.txt", f"  a dog\n runs {name}\n")
        for image in images:
            add(home / "ref_images" / name / image)
    add(home / "videos" / ".DS_Store")
    add(home / "README.md")
    return home


def images(*paths: Path) -> tuple[Reference, ...]:
    return tuple(Reference(path) for path in paths)


def add(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(scope="module")
def walled(tmp_path_factory) -> Path:
    """A manifest's folder, a file outside it, and links to that file."""
    home = tmp_path_factory.mktemp("walled")
    for path in ("mine/videos/1.mp4", "mine/1.mp4", "mine/1.png", "mine/ü 1.png", "mine2/1.mp4", "secret.mp4", "1.mp4"):
        add(home / path)
    (home / "mine/link").symlink_to("..")
    (home / "mine/secret.mp4").symlink_to("../secret.mp4")
    (home / "mine/loop").symlink_to("loop")
    return home / "mine"


# --- a user's folder ---------------------------------------------------------------------------------


def test_a_folder_is_matched_by_name(folder):
    assert read_examples(folder) == [
        Example(folder / "videos/1.mp4", "a dog runs 1", images(folder / "ref_images/1/1_masked.jpg")),
        Example(
            folder / "videos/2.mp4",
            "a dog runs 2",
            images(folder / "ref_images/2/a.webp", folder / "ref_images/2/b.PNG"),
        ),
        Example(folder / "videos/a.b.mp4", "a dog runs a.b", images(folder / "ref_images/a.b/x.png")),
    ]
    assert read_examples(str(folder)) == read_examples(folder)


def test_references_may_be_still_to_make(folder):
    wipe(folder / "ref_images/1/1_masked.jpg")
    assert [len(example.references) for example in read_examples(folder)] == [0, 2, 1]
    wipe(folder / "ref_images")
    assert [example.references for example in read_examples(folder)] == [()] * 3


def test_a_byte_order_mark_is_no_part_of_a_caption(folder):
    (folder / "labels/1.txt").write_bytes("a fox läuft".encode("utf-8-sig"))
    assert read_examples(folder)[0].caption == "a fox läuft"


@pytest.mark.parametrize(
    ("remove", "put", "culprit", "complaint"),
    [
        ("labels/2.txt", None, "videos/2.mp4", r"has no caption; write one to .*labels/2\.txt"),
        ("labels/2.txt", ("labels/2.txt", " \n"), "labels/2.txt", r"the caption is empty; describe what"),
        (
            None,
            ("ref_images/2/notes.txt", ""),
            "ref_images/2/notes.txt",
            r"not one of these file types: \.png, .*elsewhere",
        ),
        (None, ("ref_images/2/deep/1.png", ""), "ref_images/2/deep", r"not one of these file types"),
        (
            "videos/2.mp4",
            None,
            "labels/2.txt",
            r"does not belong to any video; add videos/2\.mp4, or move this file elsewhere",
        ),
        (None, ("ref_images/9/1.png", ""), "ref_images/9", r"does not belong to any video; add videos/9\.mp4"),
        (None, ("videos/2.mov", ""), "videos/2.mp4", r"2\.mov has the same name; rename one"),
        (None, ("videos/2.txt", ""), "videos/2.txt", r"not one of these file types: \.mp4, .*; convert it"),
        (None, ("videos/3.mp4/frame.png", ""), "videos/3.mp4", r"not one of these file types"),
        (None, ("labels/2.json", ""), "labels/2.json", r"not one of these file types: \.txt"),
        ("labels", None, "", r"has no folder labels; arrange the files as videos/1\.mp4, labels/1\.txt"),
        ("videos", None, "", r"has no folder videos; arrange the files"),
        (".", None, "", r"no such file or folder; choose a manifest, or a folder with videos/1\.mp4"),
    ],
)
def test_a_fault_of_a_folder_names_the_file_and_the_remedy(folder, remove, put, culprit, complaint):
    if remove:
        wipe(folder / remove)
    if put:
        add(folder / put[0], put[1])
    with pytest.raises(ValueError, match=complaint) as caught:
        read_examples(folder)
    assert str(caught.value).startswith(f"{folder / culprit}: ")
    assert "\n" not in str(caught.value)


def wipe(path: Path) -> None:
    if path.is_file():
        return path.unlink()
    for entry in path.iterdir():
        wipe(entry)
    path.rmdir()


def test_a_caption_in_another_encoding(folder):
    (folder / "labels/1.txt").write_bytes("schön".encode("latin-1"))
    with pytest.raises(ValueError, match=r"labels/1\.txt: not UTF-8 text \(.*\); save it as UTF-8"):
        read_examples(folder)


def test_an_empty_layout_holds_nothing(tmp_path):
    for part in ("videos", "labels"):
        (tmp_path / part).mkdir()
    with pytest.raises(ValueError, match="contains no videos; arrange the files as"):
        read_examples(tmp_path)


def test_the_other_faults_are_counted(folder):
    (folder / "labels/1.txt").unlink()
    (folder / "labels/2.txt").unlink()
    add(folder / "labels/3.txt", "nobody's")
    with pytest.raises(ValueError, match=r"videos/1\.mp4: has no caption; .* \(2 more examples have faults\)$"):
        read_examples(folder)


def test_everything_is_listed_with_all_of_its_faults(folder):
    """A check reports more than the first fault."""
    wipe(folder / "labels/2.txt")
    add(folder / "videos/notes.txt")
    stray, one, two, _ = list_examples(folder)
    assert (stray.place, stray.example) == (str(folder / "videos/notes.txt"), None)
    assert [fault.kind for fault in stray.faults] == ["line"]
    assert (one.place, one.faults) == (str(folder / "videos/1.mp4"), ())
    assert [fault.kind for fault in two.faults] == ["caption"]
    text = json.dumps({"video": "3.mp4", "caption": "", "references": ["../../x.png", "ref_images/2/a.webp"]})
    (folder / "all.jsonl").write_text(f"{text}\n?\n")
    first, second = list_examples(folder / "all.jsonl")
    assert first.example.references[1].image == folder / "ref_images/2/a.webp"
    assert [fault.kind for fault in first.faults] == ["missing", "outside", "caption"]
    assert [fault.file for fault in first.faults] == [folder / "3.mp4", folder / "../../x.png", None]
    assert (second.place, second.example) == (f"{folder / 'all.jsonl'}:2", None)


# --- manifests ---------------------------------------------------------------------------------------


def line(**changes) -> str:
    return json.dumps({"video": "videos/1.mp4", "caption": "a dog", "references": ["ref_images/2/a.webp"]} | changes)


def test_a_manifest_round_trip(folder):
    examples = read_examples(folder)
    write_manifest(folder / "all.jsonl", examples)
    assert read_examples(folder / "all.jsonl") == read_examples(str(folder / "all.jsonl")) == examples
    rows = [json.loads(row) for row in (folder / "all.jsonl").read_text().splitlines()]
    assert rows[1]["references"] == ["ref_images/2/a.webp", "ref_images/2/b.PNG"]
    assert {path.name for path in folder.iterdir()} == {"README.md", "all.jsonl", "labels", "ref_images", "videos"}


def test_all_that_a_line_can_say_comes_back(folder):
    masked = Reference(folder / "ref_images/1/1_masked.jpg", mask=folder / "ref_images/2/b.PNG")
    plain = Reference(folder / "ref_images/2/a.webp")
    examples = [
        Example(folder / "videos/1.mp4", "a dog", (masked, plain), 0.5, 3.0, "fido", mask=folder / "videos/2.mp4"),
        Example(folder / "videos/2.mp4", "no reference yet", ()),
    ]
    write_manifest(folder / "all.jsonl", examples)
    assert read_examples(folder / "all.jsonl") == examples
    first, second = (json.loads(row) for row in (folder / "all.jsonl").read_text().splitlines())
    assert first["references"] == [
        {"image": "ref_images/1/1_masked.jpg", "mask": "ref_images/2/b.PNG"},
        "ref_images/2/a.webp",
    ]
    assert second == {"video": "videos/2.mp4", "caption": "no reference yet", "references": []}
    assert len(examples[0].files) == 5


@given(
    captions=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters=[LOST]))
        .map(lambda text: " ".join(text.split()))
        .filter(bool),
        min_size=1,
        max_size=5,
    )
)
def test_any_caption_comes_back(walled, captions):
    examples = [Example(walled / "1.mp4", caption, images(walled / "ü 1.png")) for caption in captions]
    write_manifest(walled / "captions.jsonl", examples)
    assert read_examples(walled / "captions.jsonl") == examples


def test_a_manifest_by_hand_may_have_a_mark_empty_lines_and_windows_ends(folder):
    text = f"\n{line(caption=' a  dog ')}\r\n\r\n{line(video='./videos/../videos/2.mp4')}"
    (folder / "manifest.jsonl").write_bytes(text.encode("utf-8-sig"))
    first, second = read_examples(folder / "manifest.jsonl")
    assert first == Example(folder / "videos/1.mp4", "a dog", images(folder / "ref_images/2/a.webp"))
    assert second.video.samefile(folder / "videos/2.mp4")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", r'Invalid JSON: EOF.*; write \{"video": "1\.mp4", "caption": '),
        ("[" * 100_000, r"Invalid JSON: recursion limit"),
        ('"videos/1.mp4"', r"Input should be an object \(received 'videos/1\.mp4'\)"),
        ('{"video": "videos/1.mp4", "caption": "a dog"}', r"references: Field required"),
        (line(references="ref_images/2/a.webp"), r"references: Input should be a valid array"),
        (line(references=[{"mask": "ref_images/2/a.webp"}]), r"references\..*image: Field required"),
        (line(references=[{"image": "ref_images/2/a.webp", "mask": "m.png"}]), r"'m\.png' is not a file in"),
        (line(mask="m.mp4"), r"'m\.mp4' is not a file in"),
        (line(start=-1), r"start: Input should be greater than or equal to 0 \(received -1\)"),
        (line(start=2, end=2), r"end must come after start, 2 s, but is 2 s"),
        (line(end=float("nan")), r"end: Input should be a finite number"),
        (line(subject=""), r"subject: String should have at least 1 character"),
        (line(video=1), r"video: Input should be a valid string \(received 1\)"),
        (line(dog="fido"), r"dog: unknown \(received 'fido'\)"),
        (line(caption=" \t"), r"the caption is empty; describe what happens"),
        (line(video="videos/3.mp4"), r"'videos/3\.mp4' is not a file in .*mine; fix the path, or add the file"),
        (line(video="videos"), r"'videos' is not a file in"),
        (line(video=""), r"'' is not a file in"),
        (line(references=["ref_images/2/a.webp", "b.png"]), r"'b\.png' is not a file in"),
        (line(video="videos/1.mp4\0"), r"'videos/1\.mp4\\x00' is not a valid path \(.*null"),
        (line(video="v" * 9999), r"is not a valid path \(.*too long"),
    ],
)
def test_a_fault_of_a_manifest_names_the_line(folder, text, complaint):
    manifest = folder / "manifest.jsonl"
    manifest.write_text(f"{line()}\n{text}\n")
    with pytest.raises(ValueError, match=complaint) as caught:
        read_examples(manifest)
    assert str(caught.value).startswith(f"{manifest}:2: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_manifest(folder):
    add(folder / "empty.jsonl", "\n \n")
    (folder / "latin.jsonl").write_bytes("schön".encode("latin-1"))
    for name, complaint in {
        "absent.jsonl": "no such file or folder; choose a manifest",
        "videos": "has no folder videos; arrange the files",
        "empty.jsonl": "contains no examples; write one per line",
        "latin.jsonl": r"latin\.jsonl:1: not UTF-8 text \(byte f6 after 3 characters\); save it as UTF-8",
    }.items():
        with pytest.raises(ValueError, match=complaint) as caught:
            read_examples(folder / name)
        assert str(caught.value).startswith(f"{folder / name}:")


# --- nothing leads out -------------------------------------------------------------------------------

STEPS = st.sampled_from(["..", ".", "", "videos", "1.mp4", "secret.mp4", "mine", "mine2", "link", "loop", "~", "\\.."])


@given(
    name=st.one_of(
        st.lists(STEPS, min_size=1, max_size=6).map("/".join),
        st.text(st.characters(codec="utf-8"), max_size=12),
    ),
    absolute=st.booleans(),
    as_video=st.booleans(),
)
def test_no_path_of_a_manifest_leads_out_of_its_folder(walled, name, absolute, as_video):
    name = f"{walled}/{name}" if absolute else name
    files = {"video": name} if as_video else {"references": ["1.png", name]}
    (walled / "manifest.jsonl").write_text(line(**({"video": "1.mp4", "references": ["1.png"]} | files)))
    try:
        (found,) = read_examples(walled / "manifest.jsonl")
    except ValueError as error:
        complaint = str(error)
    else:
        complaint = None
        for path in found.files:
            assert Path(os.path.realpath(path)).is_relative_to(os.path.realpath(walled))
            assert path.is_file()
    assert complaint is None or complaint.startswith(f"{walled / 'manifest.jsonl'}:1: ")
    assert complaint or not absolute


@pytest.mark.parametrize(
    "name", ["../secret.mp4", "../mine2/1.mp4", "link/secret.mp4", "secret.mp4", "videos/../../1.mp4", "/etc/passwd"]
)
def test_a_path_that_leads_out_says_so(walled, name):
    (walled / "manifest.jsonl").write_text(line(video=name, references=["1.png"]))
    with pytest.raises(ValueError, match=r"is outside the manifest's folder; copy the file into it"):
        read_examples(walled / "manifest.jsonl")


def test_a_manifest_that_would_lead_out_is_not_written(folder):
    with pytest.raises(ValueError, match=r"1\.mp4: is outside .*labels, the manifest's folder"):
        write_manifest(folder / "labels" / "manifest.jsonl", read_examples(folder))
    assert {path.name for path in (folder / "labels").iterdir()} == {"1.txt", "2.txt", "a.b.txt"}
    examples = read_examples(folder)
    write_manifest(folder / "labels" / "manifest.jsonl", examples, allow_outside=True)
    outside = read_examples(folder / "labels" / "manifest.jsonl", allow_outside=True)
    assert [
        [path.samefile(twin) for path, twin in zip(a.files, b.files, strict=True)]
        for a, b in zip(outside, examples, strict=True)
    ]
    with pytest.raises(ValueError, match=r"is outside .*; copy the file into it, or use --allow-outside"):
        read_examples(folder / "labels" / "manifest.jsonl")
    with pytest.raises(ValueError, match=r"all\.jsonl: the folder .*nowhere does not exist; create it first"):
        write_manifest(folder / "nowhere" / "all.jsonl", [])
