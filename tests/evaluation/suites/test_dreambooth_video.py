from pathlib import Path

import pytest
from PIL import Image

from refilm.errors import UserError
from refilm.evaluation.identity import identity_of
from refilm.evaluation.suites.dreambooth_video import DreamboothVideo, read_prompts

SUBJECTS = {"can": "can", "clock": "clock", "cat": "cat", "dog": "dog", "dog2": "dog", "dog8": "dog"}
OBJECTS, LIVE = ("a {0} {1} in the snow", "a red {0} {1}"), ("a {0} {1} in a chef outfit", "a wet {0} {1}")


def prompt_list(prompts: tuple[str, ...]) -> str:
    lines = ",\n".join(f"'{prompt}'.format(unique_token, class_token)" for prompt in prompts)
    return f"prompt_list = [\n{lines}\n]\n"


def text(subjects: dict[str, str] = SUBJECTS) -> str:
    table = "\n".join(f"{name},{kind}" for name, kind in subjects.items())
    return (
        f"Classes\n\nsubject_name,class\n{table}\n\nPrompts\n\nObject Prompts\n\n{prompt_list(OBJECTS)}\n"
        f"Live Subject Prompts\n\n{prompt_list(LIVE)}"
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    for name in SUBJECTS:
        (folder / name).mkdir(parents=True)
        for number in ("00", "03"):
            Image.new("RGB", (8, 8), "red").save(folder / name / f"{number}.jpg")
    (folder / "prompts_and_classes.txt").write_text(text())
    return folder


def test_each_subject_has_the_prompts_of_its_kind_in_all_controls(data, tmp_path):
    cases = DreamboothVideo(data).cases(tmp_path / "drawn")
    assert len(cases) == len(SUBJECTS) * 2 * 4
    assert len({case.name for case in cases}) == len(cases)
    right = {case.name: case for case in cases if case.control == "right"}
    assert right["can-01-right"].prompt == "a can in the snow"
    assert right["dog2-02-right"].prompt == "a wet dog"
    assert right["can-01-right"].reference == (data / "can" / "00.jpg", data / "can" / "03.jpg")
    assert {case.group for case in cases} == set(SUBJECTS)


def test_the_wrong_reference_is_another_subject_of_the_class_or_else_of_the_kind(data, tmp_path):
    cases = DreamboothVideo(data).cases(tmp_path)
    wrong = {case.group: case.reference[0].parent.name for case in cases if case.control == "wrong"}
    assert wrong == {"can": "clock", "clock": "can", "cat": "dog", "dog": "dog2", "dog2": "dog8", "dog8": "dog"}


def test_masks_beside_images_are_neither_images_nor_forgotten(data, tmp_path):
    def identity() -> list:
        (first, *_) = DreamboothVideo(data).cases(tmp_path)
        assert first.subject == (data / "can" / "00.jpg", data / "can" / "03.jpg")
        return identity_of(first)

    identities = [identity()]
    for gray in (255, 0):
        Image.new("L", (8, 8), gray).save(data / "can" / "03.mask.png")
        identities.append(identity())
    assert len({str(one) for one in identities}) == 3


@pytest.mark.parametrize(
    ("line", "other", "message"),
    [
        ("can,can", "../can,can", r":4: '../can,can' is not FOLDER,CLASS"),
        ("can,can", "can", r":4: 'can' is not FOLDER,CLASS"),
        ("can,can", "clock,clock", r":5: clock is listed twice"),
        ("'a red {0} {1}'.", "'a red can'.", r":17: \"'a red can'.*is not '... \{0\} \{1\} ...'"),
        ("Classes\n", "Kinds\n", r":1: 'Kinds' is under no known title"),
        ("Live Subject Prompts\n", "", "nothing is listed under Live Subject Prompts"),
    ],
)
def test_a_changed_file_is_refused_with_its_line(data, line, other, message):
    file = data / "prompts_and_classes.txt"
    file.write_text(file.read_text().replace(line, other, 1))
    with pytest.raises(UserError, match=message):
        read_prompts(file)


def test_missing_parts_are_named(data, tmp_path):
    with pytest.raises(UserError, match=r"clone github\.com/google/dreambooth"):
        DreamboothVideo()
    with pytest.raises(UserError, match=r"prompts_and_classes.txt: no such file"):
        DreamboothVideo(tmp_path).cases(tmp_path)
    for image in (data / "clock").iterdir():
        image.unlink()
    with pytest.raises(UserError, match=r"clock: no images .* restore the folder"):
        DreamboothVideo(data).cases(tmp_path)
