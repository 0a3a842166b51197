import json
from pathlib import Path

import pytest
from PIL import Image

from refilm.errors import UserError
from refilm.evaluation.result import ColumnRecord, MetricRecord, Result, ScoredVideo, Source, SuiteRecord
from refilm.evaluation.suites.opens2v import PARTS, OpenS2V, Part

ENTRIES = {  # as in the published file
    "singleobj_1": {
        "img_paths": ["Images/singleobject/cup/52.jpg"],
        "prompt": "A cup\u2019s steam rises.\n\nbackground",
        "synthesis_flag": "wrong",
        "class_label": ["Cup"],
    },
    "singleobj_2": {"img_paths": ["Images/singleobject/cup/52.jpg"], "prompt": "A cup.", "class_label": ["Cup"]},
    "singleobj_3": {"img_paths": ["Images/singleobject/hat/1.jpg"], "prompt": "A hat.", "class_label": ["Hat"]},
    "multiobject_30": {
        "img_paths": ["Images/multiobject/sofa/2.jpg", "Images/multiobject/desk/2.jpg"],
        "prompt": "A sofa and a desk.",
        "synthesis_flag": "True",
        "class_label": ["Sofa", "Desk"],
    },
}


def written(folder: Path, entries: object, name: str = "Open-Domain_Eval.json") -> Path:
    (folder / name).write_text(json.dumps(entries))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for entry in ENTRIES.values():
        for path in entry["img_paths"]:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(tmp_path / path)
    return written(tmp_path, ENTRIES)


def test_videos_have_the_names_of_the_benchmark_and_controls_beside_them(data):
    cases = {case.name: case for case in OpenS2V(data).cases(data)}
    right = [name for name, case in cases.items() if case.control == "right"]
    assert right == list(ENTRIES)
    assert cases["singleobj_1"].prompt == ENTRIES["singleobj_1"]["prompt"]
    assert cases["multiobject_30"].reference == tuple(data / path for path in ENTRIES["multiobject_30"]["img_paths"])
    assert cases["singleobj_1-none"].reference == ()
    assert cases["singleobj_1-wrong"].reference == cases["singleobj_3"].subject, "singleobj_2 shows the same cup"
    assert "multiobject_30-wrong" not in cases, "its category has no other case"
    assert dict(cases["multiobject_30"].details) == {"labels": ["Sofa", "Desk"], "category": "multiobject"}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "has no entries"),
        ([], "must contain a JSON object"),
        ({"a_1": []}, "'a_1': "),
        ({"a_1": {"prompt": "x"}}, "img_paths"),
        ({"a_1": {"prompt": 3, "img_paths": ["Images/a.jpg"]}}, "prompt"),
        ({"a_1": {"prompt": "x", "img_paths": ["../secret.png"]}}, "leads out of the data set"),
        ({"a_1": {"prompt": "x", "img_paths": ["/etc/passwd"]}}, "leads out of the data set"),
        ({"a_1": {"prompt": "x", "img_paths": ["a\0.png"]}}, "leads out of the data set"),
        ({"a_1": {"prompt": "x", "img_paths": ["gone.png"]}}, "there is no 'gone.png'"),
        ({"../../a": {"prompt": "x", "img_paths": ["Images/singleobject/hat/1.jpg"]}}, "it names a file"),
        ({"..": {"prompt": "x", "img_paths": ["Images/singleobject/hat/1.jpg"]}}, "it names a file"),
        ({"a" * 151: {"prompt": "x", "img_paths": ["Images/singleobject/hat/1.jpg"]}}, "it names a file"),
        ({"a_1": {"prompt": "\ud800", "img_paths": ["Images/singleobject/hat/1.jpg"]}}, "valid characters"),
        ({"a_1": {"prompt": "x" * 70_000, "img_paths": ["Images/singleobject/hat/1.jpg"]}}, "65,536"),
    ],
)
def test_hostile_files_are_refused_with_their_name(data, entries, message):
    with pytest.raises(UserError) as caught:
        OpenS2V(written(data, entries)).cases(data)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{data / 'Open-Domain_Eval.json'}: ")
    assert "\n" not in str(caught.value)


def test_without_data_the_error_says_where_they_are():
    with pytest.raises(UserError, match="hf download --repo-type dataset BestWishYsh/OpenS2V-Eval"):
        OpenS2V()


def result(scores: list[dict[str, float]]) -> Result:
    columns = {name: (ColumnRecord(name=name, description="", worst=0.0),) for name in PARTS}
    records = {name: MetricRecord(columns=columns[name], absent=None if name in scores[0] else "x") for name in PARTS}
    videos = [
        ScoredVideo(case=f"a_{n}", control="right", group=f"a_{n}", prompt="", seed=0, subject=(), scores=values)
        for n, values in enumerate(scores)
    ]
    wrong = videos[0].model_copy(
        update={"case": "a_0-wrong", "control": "wrong", "scores": dict.fromkeys(scores[0], 0.0)}
    )
    return Result(
        suite=SuiteRecord(name="opens2v", version="1", cases=""),
        source=Source(kind="folder"),
        metrics=records,
        videos=(*videos, wrong),
        machine={},
        refilm="0",
        date="",
    )


ALL = dict(zip(PARTS, (5.5, 0.9, 2.0, 0.4, 0.7, 0.02, 3.0), strict=True))


def test_with_all_sub_scores_the_total_is_the_published_sum(data):
    (remark,) = OpenS2V(data).remarks(result([ALL]))
    by_hand = 0.16 * 0.5 + 0.06 * 0.9 + 0.02 * 1 + 0.20 * 0.4 + 0.12 * 0.7 + 0.20 * 0.4 + 0.24 * 0.5
    assert remark.endswith(f"= {by_hand:.3f}.")
    written(data, ENTRIES, "Human-Domain_Eval.json")
    (remark,) = OpenS2V(data / "Human-Domain_Eval.json").remarks(result([ALL]))
    by_hand = 0.18 * 0.5 + 0.09 * 0.9 + 0.03 * 1 + 0.25 * 0.4 + 0.15 * 0.7 + 0.30 * 0.5
    assert remark.endswith(f"= {by_hand:.3f}.")


def test_without_some_there_is_no_total_and_the_missing_ones_are_named(data):
    there = {name: ALL[name] for name in ("aesthetic", "amplitude")}
    absent, partly = OpenS2V(data).remarks(result([there]))
    assert "no total" in absent
    assert "q_align_smoothness (0.06), face_similarity (0.20), gme (0.12), nexus (0.20), natural (0.24)" in absent
    assert f"= {0.16 * 0.5 + 0.02:.3f} of at most 0.18" in partly


def test_values_are_clipped_one_by_one_before_they_are_averaged():
    assert Part(1, 1, 4, 7).normalized([1, 100]) == 0.5
    assert sum(part.weight for part in PARTS.values()) == pytest.approx(1)
    assert sum(part.human_weight for part in PARTS.values()) == pytest.approx(1)
