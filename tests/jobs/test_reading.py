"""Lists of videos: JSONL and CSV give the same rows; what is wrong is named with its line."""

import csv
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refilm import Subject
from refilm.errors import UserError
from refilm.jobs import Job, read_jobs

ROW = {"prompt": "a critter waits", "steps": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("list")
    for name in ("fox.png", "side.png", "mask.gif", "fox.subject"):
        (folder / name).write_text(name)
    return folder


def jsonl(folder: Path, *rows: Any) -> list[Job]:
    (path := folder / "jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return read_jobs(path)


def table(folder: Path, *rows: dict[str, Any]) -> list[Job]:
    columns = sorted({column for row in rows for column in row})  # their order is that of the subjects
    with (path := folder / "jobs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return read_jobs(path)


def same(one: Job, other: Job) -> bool:
    names = ("number", "output", "row", "seed", "subjects", "negative", "error")
    return all(getattr(one, name) == getattr(other, name) for name in names) and one.digest({}) == other.digest({})


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the cells of a table."""
    cells = {name: value for name, value in row.items() if name != "subjects"}
    for subject, values in row.get("subjects", {}).items():
        cells |= {f"subjects.{subject}.{name}": value for name, value in values.items()}
    return {name: ",".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in cells.items()}


number = st.floats(0, 10, allow_subnormal=False) | st.integers(0, 10)
curve = number | st.sampled_from(["0..1", "2-3", "1:0 3:1"])
image = st.sampled_from(["fox.png", "side.png"])
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
subject = st.fixed_dictionaries(
    {"images": st.lists(image, min_size=1, max_size=3)},
    optional={
        "words": st.lists(st.sampled_from(["fox", "2", "red fox"]), min_size=1, max_size=2),
        **dict.fromkeys(("frames", "steps", "blocks"), curve),
        "scale": number,
        "mask": st.just("mask.gif"),
    },
)
rows = st.fixed_dictionaries(
    {"prompt": text},
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "steps": st.integers(1, 999),
        "guidance": number,
        "guidance_steps": st.just("1-2"),
        "sampler": st.sampled_from(["ddim", "unipc"]),
        "negative_prompt": text,
        "size": st.just("64x32"),
        "negative_reference": st.lists(image, min_size=1, max_size=2),
        "subjects": st.dictionaries(st.sampled_from(["ball", "fox"]), subject, min_size=1).map(
            lambda subjects: dict(sorted(subjects.items()))
        ),
    },
)


@given(st.lists(rows, min_size=1, max_size=4))
def test_jsonl_and_csv_give_the_same_jobs(folder, given):
    ours, theirs = jsonl(folder, *given), table(folder, *map(flat, given))
    assert len(ours) == len(theirs) == len(given)
    assert all(map(same, ours, theirs))
    for job, row in zip(ours, given, strict=True):
        assert job.row.prompt == row["prompt"]
        assert all(getattr(job.row, name) == row[name] for name in ("steps", "guidance", "seed") if name in row)
        assert {one.name for one in job.subjects} == set(row.get("subjects", ()))


@given(
    st.dictionaries(
        st.sampled_from(["prompt", "seed", "steps", "output", "subjects", "reference"]),
        st.none()
        | st.booleans()
        | number
        | text
        | st.lists(text, max_size=2)
        | st.dictionaries(
            st.sampled_from(["fox"]), text | st.dictionaries(st.sampled_from(["images", "scale"]), text | number)
        ),
    )
)
def test_any_values_give_a_job_or_an_error_in_one_line(folder, given):
    (job,) = jsonl(folder, given)
    assert (job.row is None) == (job.error is not None)
    assert job.output.endswith((".mp4", ".webm", ".gif", ".webp", ".png"))
    assert "/" not in job.output


@given(st.binary(max_size=200))
def test_any_file_gives_jobs_or_an_error(folder, content):
    for name in ("any.jsonl", "any.csv"):
        (folder / name).write_bytes(content)
        with suppress(UserError):
            assert read_jobs(folder / name)


def test_a_row_has_the_settings_of_a_video(folder):
    (job,) = jsonl(
        folder,
        {
            **ROW,
            "size": "64x32",
            "scale": 2,
            "guidance_steps": "1-2",
            "negative_reference": "side.png",
            "negative_prompt": None,
            "subjects": {
                "fox": {"images": ["fox.png", "side.png"], "weights": [1, 0.5], "mask": "mask.gif"},
                "ball": {"file": "fox.subject", "steps": "0..1"},
                "hub": {"file": "owner/name"},
            },
        },
    )
    assert job.error is None
    assert job.row.request() == {"steps": 2, "width": 64, "height": 32, "guidance_steps": (1, 2)}
    assert job.negative == (folder / "side.png",)
    assert job.subjects == (
        Subject(
            name="fox",
            images=(folder / "fox.png", folder / "side.png"),
            weights=(1.0, 0.5),
            mask=folder / "mask.gif",
        ),
        Subject(name="ball", file=folder / "fox.subject", steps="0..1"),
        Subject(name="hub", file="owner/name"),
    )
    (job,) = jsonl(folder, {**ROW, "reference": ["fox.png", "side.png"]})
    assert job.subjects == (Subject(images=(folder / "fox.png", folder / "side.png")),)


def test_a_seed_depends_on_the_content_of_its_row(folder):
    def seeds(*rows):
        return [job.seed for job in jsonl(folder, *rows)]

    other = {**ROW, "prompt": "a critter spins"}
    first, second, third = seeds(ROW, ROW, other)
    assert len({first, second, third}) == 3  # rows with the same content are different videos
    assert seeds(other, ROW, {**ROW, "output": "named.mp4"}) == [third, first, second]  # not on place and name
    assert seeds({**ROW, "seed": 0}) == [0]


def test_a_digest_changes_with_everything_that_makes_the_video(folder):
    def digest(row, model=None):
        return jsonl(folder, row)[0].digest(model or {"base": "pocket"})

    row = {**ROW, "seed": 1, "reference": "fox.png"}
    first = digest(row)
    assert digest({**row, "output": "named.mp4"}) == digest(row) == first
    for change in ({"seed": 2}, {"steps": 3}, {"reference": "side.png"}, {"scale": 2}):
        assert digest({**row, **change}) != first
    assert digest(row, {"base": "other"}) != first
    subjects = {name: {"images": "fox.png"} for name in ("fox", "ball")}
    one, other = (
        {**ROW, "subjects": {name: subjects[name] for name in names}} for names in (("fox", "ball"), ("ball", "fox"))
    )
    assert digest(one) != digest(other)  # sums of floats depend on their order
    (folder / "fox.png").write_text("a longer text")
    assert digest(row) != first
    (folder / "fox.png").write_text("fox.png")
    assert digest(row) == first


def test_files_are_named_after_number_and_prompt(folder):
    names = [
        job.output for job in jsonl(folder, {"prompt": "Ein Füchslein, 3 x!"}, {"prompt": "狐"}, {"prompt": "a " * 99})
    ]
    assert names == ["0001-ein-fuchslein-3-x.mp4", "0002.mp4", "0003-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a.mp4"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"steps": 2}, "prompt: Field required"),
        ({"prompt": ["a", "b"]}, "prompt: give one text"),
        ({**ROW, "steps": 2.5}, "steps: Input should be a valid integer"),
        ({**ROW, "seed": -1}, "seed: "),
        ({**ROW, "size": "64"}, "size: "),
        ({**ROW, "reference": "nowhere.png"}, "nowhere.png: no such file in "),
        ({**ROW, "reference": "x" * 5000}, "no such file in "),
        ({**ROW, "reference": 3}, "reference.0: "),
        ({**ROW, "subjects": {"fox": {"images": [3]}}}, "subjects.fox: images.0: an image must be a path"),
        ({**ROW, "subjects": {"fox": {"images": "fox.png", "scale": "much"}}}, "subjects.fox: scale: "),
        ({**ROW, "subjects": {"fox": {"words": "fox"}}}, "give images or a subject file"),
        ({**ROW, "subjects": {"a fox": {"images": "fox.png"}}}, "subjects.a fox"),
        ({**ROW, "subjects": {"fox": "fox.png"}}, "subjects.fox: "),
        ({**ROW, "subjects": ["fox.png"]}, "subjects: "),
        ({**ROW, "subjects": {"fox": {"images": "fox.png"}}, "reference": "fox.png"}, "add them to subjects"),
        ({**ROW, "output": "videos/fox.mp4"}, "output: must be the name of a file, without folders"),
        ({**ROW, "output": "fox.avi"}, "output: must end in .mp4, .webm, .gif, .webp or .png"),
    ],
)
def test_an_invalid_value_is_an_error_of_its_row(folder, row, message):
    good, bad, again = jsonl(folder, ROW, row, ROW)
    assert message in bad.error
    assert bad.output == "0002.mp4"
    assert good.error is again.error is None


def test_default_names_avoid_given_ones(folder):
    """The error of row 2 is not hidden by the name that it happens to have."""
    names = "0002.mp4", "0003-A-critter-waits.mp4", "0002-2.MP4"
    first, bad, default, *_ = jobs = jsonl(
        folder, {**ROW, "output": names[0]}, {"prompt": 5}, ROW, *({**ROW, "output": name} for name in names[1:])
    )
    assert bad.error.startswith("prompt: ")
    assert [job.output for job in (first, bad, default)] == [names[0], "0002-3.mp4", "0003-a-critter-waits-2.mp4"]
    assert len({job.output.casefold() for job in jobs}) == len(jobs)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 5000])
@pytest.mark.parametrize("name", ["jobs.jsonl", "jobs.csv"])
def test_a_number_that_no_setting_can_have_is_an_error_of_its_row(tmp_path, name, number):
    """NaN is not JSON, but programs write it."""
    lines = {
        "jobs.jsonl": f'{{"prompt": "a", "guidance": {number}}}\n{{"prompt": "b"}}\n',
        "jobs.csv": f"prompt,guidance\na,{number}\nb,\n",
    }
    (tmp_path / name).write_text(lines[name])
    bad, good = read_jobs(tmp_path / name)
    assert bad.error.startswith("guidance: Input should be a ")
    assert good.error is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("jobs.json", "[]", "jobs.json: give a list of videos, .jsonl or .csv"),
        ("jobs.jsonl", "", "jobs.jsonl: has no rows"),
        ("jobs.jsonl", "\n{", "jobs.jsonl:2: not valid JSON"),
        ("jobs.jsonl", '["a"]', "jobs.jsonl:1: must be a JSON object"),
        ("jobs.jsonl", '{"prompt": "a"}\n{"promt": "b"}', "jobs.jsonl:2: promt: unknown; did you mean prompt?"),
        ("jobs.jsonl", '{"base": "b"}', "base: is the same for all rows; give the command --base"),
        ("jobs.jsonl", '{"image_encoder": "b"}', "give the command --image-encoder"),
        ("jobs.jsonl", '{"width": 64}', 'width: give size, for instance "720x480"'),
        ("jobs.jsonl", '{"subjects": {"fox": {"scal": 1}}}', "1: subjects.fox.scal: unknown; did you mean scale?"),
        ("jobs.jsonl", '{"subjects": {"fox": {"name": "a"}}}', "subjects.fox.name: unknown"),
        (
            "jobs.jsonl",
            '{"prompt": "a", "output": "A.mp4"}\n\n{"prompt": "b", "output": "a.mp4"}',
            "jobs.jsonl:3: output a.mp4 is also that of ",
        ),
        ("jobs.csv", "", "jobs.csv:1: there is no column prompt"),
        ("jobs.csv", "prompt\n", "jobs.csv: has no rows"),
        ("jobs.csv", "prompt;seed\na;1\n", "jobs.csv:1: columns must be separated by commas"),
        ("jobs.csv", "prompt,prompt\na,b\n", "jobs.csv:1: two columns are named 'prompt'"),
        ("jobs.csv", 'prompt\n"a\nb"\nc,d\n', "jobs.csv:4: has 2 cells, the header 1"),
        ("jobs.csv", 'prompt\na\n"b', "jobs.csv:3: not CSV: unexpected end of data"),
        ("jobs.csv", "prompt,guidanc\na,2\n", "jobs.csv:2: guidanc: unknown; did you mean guidance?"),
        ("jobs.csv", "prompt,subjects.fox\na,fox.png\n", "jobs.csv:2: subjects.fox: unknown"),
    ],
)
def test_an_invalid_file_is_refused_with_its_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        read_jobs(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "jobs.csv").write_bytes("prompt\nein Füchslein\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"jobs\.csv: not UTF-8 text"):
        read_jobs(tmp_path / "jobs.csv")
    with pytest.raises(UserError, match=r"nowhere\.csv: no such file"):
        read_jobs(tmp_path / "nowhere.csv")


def test_spreadsheets_write_byte_order_marks_and_line_breaks(tmp_path):
    (tmp_path / "jobs.csv").write_bytes(b'\xef\xbb\xbfprompt,steps\r\n"two\r\nlines",2\r\n,\r\n\r\nb,x\r\n')
    first, second = read_jobs(tmp_path / "jobs.csv")
    assert (first.row.prompt, first.row.steps) == ("two\r\nlines", 2)
    assert (second.place, second.number) == (f"{tmp_path / 'jobs.csv'}:6", 2)
    assert second.error == "steps: Input should be a valid integer (received 'x')"
