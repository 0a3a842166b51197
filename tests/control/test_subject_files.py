"""Subject files: written and read back, damaged, and used without images and image encoder."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import refilm
from refilm import Subject
from refilm.control import load_subject, save_subject
from refilm.data import critters
from refilm.errors import UserError

PROMPT = "a critter bounces in the meadow"


@pytest.fixture(scope="module")
def images():
    return [
        Image.fromarray(critters.portrait(one, np.random.default_rng(0))) for one in critters.subjects("held_out")[:2]
    ]


@pytest.fixture(scope="module")
def mask(images):
    white = np.zeros((images[0].height, images[0].width), np.uint8)
    white[:, :32] = 255
    return Image.fromarray(white)


@pytest.fixture(scope="module")
def subject(images, mask):
    return Subject(name="fox", images=images, weights=(1.0, 0.5), image_masks=(mask, mask), words="critter")


@pytest.fixture(scope="module")
def pipeline(tiny_base):
    return refilm.load(tiny_base)


@pytest.fixture(scope="module")
def written(pipeline, subject, tmp_path_factory):
    return save_subject(pipeline.encode_subject(subject), tmp_path_factory.mktemp("subjects") / "fox.subject")


def test_a_video_from_the_file_is_that_of_the_images_and_needs_no_encoder(
    pipeline, subject, written, tiny_base, tmp_path
):
    shutil.copytree(tiny_base, tmp_path / "blind")
    shutil.rmtree(tmp_path / "blind" / "image_encoder")
    blind = refilm.load(tmp_path / "blind")
    expected = pipeline.generate(PROMPT, subject, seed=3, steps=2)
    for one in (pipeline, blind):
        assert np.array_equal(one.generate(PROMPT, Subject(file=written), seed=3, steps=2).frames, expected.frames)
    with pytest.raises(UserError, match="image encoder"):
        blind.generate(PROMPT, subject, seed=3, steps=2)


def test_what_is_written_is_read(pipeline, subject, written, images):
    made, read = pipeline.encode_subject(subject), load_subject(written)
    assert read.card == made.card
    assert torch.equal(read.tokens, made.tokens)
    assert torch.equal(read.weight, made.weight)
    assert np.array_equal(read.thumbnail, np.asarray(images[0].resize(read.thumbnail.shape[1::-1])))
    again = pipeline.encode_subject(Subject(images=images[::-1]))
    assert again.card.images == made.card.images[::-1]
    assert torch.equal(again.tokens.flip(0), made.tokens)


def test_masked_patches_are_not_read(pipeline, subject):
    weight = pipeline.encode_subject(subject).weight
    side = int((weight.shape[1] - 1) ** 0.5)
    patches = weight[:, 1:].view(2, side, side)
    assert torch.equal(weight[:, 0], torch.tensor([1.0, 0.5]))
    assert not patches[:, :, side // 2 + 1 :].any()
    assert (patches[0, :, : side // 2 - 1] == 1).all()
    assert (patches[1, :, : side // 2 - 1] == 0.5).all()


def test_an_adapter_that_reads_images_otherwise_refuses_it(pipeline, written, tiny_base, tmp_path):
    shutil.copytree(tiny_base, tmp_path / "other")
    card = tmp_path / "other" / "adapter" / "adapter.json"
    values = json.loads(card.read_text())
    hidden = "penultimate" if values["hidden_state"] == "last" else "last"
    card.write_text(json.dumps(values | {"hidden_state": hidden}))
    with pytest.raises(UserError, match=f"fox.subject: was made with hidden_state '.*', this adapter reads '{hidden}'"):
        refilm.load(tmp_path / "other").generate(PROMPT, Subject(file=written), seed=3, steps=2)
    card.write_text(json.dumps(values))
    encoder = tmp_path / "other" / "image_encoder" / "model.safetensors"
    with safe_open(encoder, framework="pt") as file:
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file({key: -weight for key, weight in weights.items()}, encoder, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"fox.subject: was made with another image encoder than that of this adapter"):
        refilm.load(tmp_path / "other").generate(PROMPT, Subject(file=written), seed=3, steps=2)


def damaged(written, path, *, about=None, **tensors):
    with safe_open(written, framework="pt") as file:
        kept = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        card = json.loads(file.metadata()["refilm_subject"])
    kept = {key: value for key, value in (kept | tensors).items() if value is not None}
    save_file(kept, path, metadata={"refilm_subject": json.dumps(card | about)} if about is not None else None)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "not a subject file; make one with `refilm subject make`"),
        ({"about": {"format": 2}}, "a subject file of version 2, this refilm reads up to 1; update refilm"),
        ({"about": {"name": "../up"}}, "its description is damaged: name"),
        ({"about": {"images": ["0" * 64]}}, "its tensors do not fit each other"),
        ({"about": {}, "weight": None}, "has no weight"),
        ({"about": {}, "weight": torch.ones(2, 3)}, "its tensors do not fit each other"),
        ({"about": {}, "tokens": torch.ones(2, 65)}, "tokens has shape"),
        ({"about": {"words": ["\x1b[2J"]}}, "its description is damaged: words.0: contains control characters"),
        ({"about": {}, "weight": 0.0}, "weights must be 0 to 100, and one above 0"),
        ({"about": {}, "weight": 1000.0}, "weights must be 0 to 100"),
        ({"about": {}, "weight": torch.nan}, "weight contains NaN or infinity"),
        ({"about": {}, "tokens": torch.nan}, "tokens contains NaN or infinity"),
        ({"about": {}, "tokens": 3}, "its tensors have wrong types"),
        ({"about": {}, "thumbnail": 0.5}, "its tensors have wrong types"),
        (
            {"about": {}, "tokens": torch.ones(2, 1, 32), "weight": torch.ones(2, 1)},
            "its tensors do not fit each other",
        ),
    ],
)
def test_damaged_files_are_refused(written, tmp_path, change, message):
    read = load_subject(written)
    for name, value in change.items():
        if isinstance(value, float | int):  # everywhere
            change = change | {name: torch.full(np.shape(getattr(read, name)), value)}
    path = damaged(written, tmp_path / "bad.subject", **change)
    with pytest.raises(UserError, match=f"bad.subject: {message}"):
        load_subject(path)


def test_no_file_and_half_a_file(written, tmp_path):
    with pytest.raises(UserError, match=r"missing\.subject: no such file"):
        load_subject(tmp_path / "missing.subject")
    half = tmp_path / "half.subject"
    half.write_bytes(written.read_bytes()[:-100])
    image = tmp_path / "image.subject"
    Image.new("RGB", (8, 8)).save(image, format="PNG")
    with pytest.raises(
        UserError, match=r"image\.subject: is truncated or not a subject file; make one with `refilm sub"
    ):
        load_subject(image)
    with pytest.raises(UserError, match=r"half\.subject: is truncated"):
        load_subject(half)
    with pytest.raises(UserError, match=r"must end in .subject"):
        save_subject(load_subject(written), tmp_path / "fox.png")
