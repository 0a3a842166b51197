"""Controls of subjects: neutral ones change nothing, others do what they say, and no work is done twice."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

import refilm
from refilm import Subject
from refilm.control.routing import WordRouting, visible
from refilm.data import critters
from refilm.errors import UserError
from refilm.generation import Pipeline
from refilm.geometry import AdapterSize
from refilm.model import Adapter, ReferenceAttention, swapped

from ..model.tiny import wild

PROMPT = "a critter bounces in the meadow"


@pytest.fixture(scope="module", params=["tiny_base", "tiny_wan", "tiny_base_15"])
def pipeline(request):
    loaded = refilm.load(request.getfixturevalue(request.param))
    if loaded.adapter is not None:
        return loaded
    size = AdapterSize.of(loaded.base.size, reference_dim=loaded.base.encoders.image.width)
    return Pipeline(loaded.base, wild(Adapter(size)))


@pytest.fixture(scope="module")
def pocket():
    return refilm.load("pocket")


@pytest.fixture(scope="module")
def tiny(tiny_base):
    return refilm.load(tiny_base)


@pytest.fixture(scope="module")
def images():
    subjects = critters.subjects("held_out")[:2]
    return [Image.fromarray(critters.portrait(one, np.random.default_rng(0))) for one in subjects]


def frames(pipeline, reference, **settings):
    return pipeline.generate(PROMPT, reference, seed=7, **{"steps": 3, "guidance": 4.0, **settings}).frames.astype(int)


LEFT = np.pad(np.full((64, 32), 255, np.uint8), ((0, 0), (0, 32)))
NEUTRAL = {
    "a subject": {},
    "scale": {"scale": 1.0},
    "weights": {"weights": (1.0,)},
    "mask": {"mask": np.full((8, 8), 255, np.uint8)},
    "image mask": {"image_masks": np.full((64, 64, 3), 255, np.uint8)},
    "frames": {"frames": "1..1"},
    "steps": {"steps": "1-3"},
    "blocks": {"blocks": "1:1"},
}


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_neutral_control_changes_nothing(tiny, images, name):
    plain = frames(tiny, images[0])
    assert np.array_equal(plain, frames(tiny, Subject(images=images[0], **NEUTRAL[name])))


@pytest.mark.parametrize(
    "settings", [{"binding": "separate"}, {"negative_reference": None}, {"guidance_steps": (1, 3)}]
)
def test_neutral_settings_change_nothing(tiny, images, settings):
    assert np.array_equal(frames(tiny, images[0]), frames(tiny, images[0], **settings))


ACTIVE = {
    "scale": {"scale": 0.3},
    "mask": {"mask": LEFT},
    "frames": {"frames": "9-17"},
    "steps": {"steps": "1..0"},
    "blocks": {"blocks": "1:0 2:1"},
    "words": {"words": "critter"},
}


@pytest.mark.parametrize("name", ACTIVE)
def test_a_control_changes_the_video_of_every_family(pipeline, images, name):
    plain = frames(pipeline, images[0])
    assert (frames(pipeline, Subject(images=images[0], **ACTIVE[name])) != plain).any()


def test_what_is_switched_off_is_absent(pipeline, images):
    without = frames(pipeline, None)
    assert (frames(pipeline, images[0]) != without).any()
    for off in ({"scale": 0.0}, {"steps": "0"}, {"blocks": 0.0}, {"frames": 0.0}):
        assert np.abs(frames(pipeline, Subject(images=images[0], **off)) - without).max() <= 1
    assert np.array_equal(frames(pipeline, Subject(images=images[0], steps="0")), without)  # also one pass fewer


def test_of_two_equal_views_each_counts_half_and_a_weight_counts_double(pocket, images):
    one, other = images
    plain = frames(pocket, one)
    assert np.abs(frames(pocket, [one, one]) - plain).max() <= 1
    double = frames(pocket, [one, one, other])
    assert np.abs(frames(pocket, Subject(images=(one, other), weights=(2.0, 1.0))) - double).max() <= 1
    assert np.abs(double - frames(pocket, [one, other])).max() > 8


@pytest.mark.parametrize("binding", ["separate", "joint"])
def test_subjects_in_a_batch_are_those_alone(tiny, images, binding):
    """Videos of one and of two subjects, with one and two views, in one batch."""
    pair = [
        Subject(name="a", images=images[0], scale=0.5),
        Subject(name="b", images=images, steps="2-3", blocks="1..0"),
    ]
    single = Subject(images=images[1], frames="1-9")
    settings = {"steps": 3, "binding": binding}
    batch = tiny.generate_batch([PROMPT, PROMPT], [pair, single], seeds=[3, 4], **settings)
    for video, reference, seed in zip(batch, (pair, single), (3, 4), strict=True):
        alone = tiny.generate(PROMPT, reference, seed=seed, **settings)
        assert np.abs(alone.frames.astype(int) - video.frames).max() <= 2


@pytest.mark.parametrize("binding", ["separate", "joint"])
def test_a_batch_with_words_and_other_numbers_of_subjects(tiny, images, binding):
    pair = [Subject(images[0], name="a", words="critter"), Subject(images[1], name="b", words="meadow", scale=0.5)]
    settings = {"steps": 2, "binding": binding}
    batch = tiny.generate_batch([PROMPT] * 2, [Subject(images[1], words="critter"), pair], seeds=[3, 4], **settings)
    alone = tiny.generate(PROMPT, Subject(images[1], words="critter"), seed=3, **settings)
    assert np.abs(alone.frames.astype(int) - batch[0].frames).max() <= 2
    alone = tiny.generate(PROMPT, pair, seed=4, **settings)
    assert np.abs(alone.frames.astype(int) - batch[1].frames).max() <= 2


def test_a_subject_that_is_off_is_absent_from_a_joint_softmax(pipeline, images):
    first, others = Subject(images[0], name="a"), {"name": "b", "images": images[1]}
    alone = frames(pipeline, first, binding="joint")
    for off in ({"scale": 0.0}, {"steps": "0"}, {"blocks": 0.0}, {"frames": 0.0}):
        assert np.abs(frames(pipeline, [first, Subject(**others, **off)], binding="joint") - alone).max() <= 1
    assert np.abs(frames(pipeline, [first, Subject(**others)], binding="joint") - alone).max() > 1


def test_a_mask_lets_the_reference_change_only_its_side(tiny, images):
    """At the first step of the first block, before tokens exchange what they know."""
    seen = []

    def recording(forward):
        def record(video, references):
            out = forward(video, references)
            seen.append(out[-1])
            return out

        return record

    layer = tiny.adapter.layers[0]
    with swapped(layer, ReferenceAttention, forward=recording):
        frames(tiny, Subject(images=images[0], mask=LEFT), steps=2)
    term = seen[0].view(5, 4, 4, -1)
    assert not term[:, :, 2:].any()
    assert (term[:, :, :2].abs().amax(-1) > 0).all()


def test_a_negative_reference_is_moved_away_from(pocket, images):
    plain = frames(pocket, images[0])
    away = frames(pocket, images[0], negative_reference=images[1])
    assert np.abs(away - plain).max() > 8
    same = frames(pocket, images[0], negative_reference=images[0], negative_prompt=PROMPT)
    assert np.abs(same - frames(pocket, images[0], guidance=1.0)).max() <= 1  # away from itself is no guidance


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guidance": 1.0}, "negative_reference has no effect without guidance"),
        ({"guidance": 1.0, "negative_prompt": "rain"}, "negative_prompt has no effect without guidance"),
        ({"reference_scale": 0.0}, "negative_reference has no effect: reference_scale is 0"),
        ({"guidance_schedule": "rising", "guidance": 1.0}, ""),
        ({"reference_guidance": 2.0, "guidance": 1.0}, ""),
    ],
)
def test_negative_conditions_without_effect_are_reported(tiny, images, caplog, settings, message):
    frames(tiny, images[0], negative_reference=images[1], **{"steps": 1, "guidance": 2.0} | settings)
    warnings = [record.getMessage() for record in caplog.records if "no effect" in record.getMessage()]
    assert any(message in one for one in warnings) if message else not warnings


def test_words_of_a_negative_reference_are_refused(tiny, images):
    with pytest.raises(UserError, match="negative_reference: subject: words do not bind it"):
        frames(tiny, images[0], negative_reference=Subject(images[1], words="critter"))


def test_nothing_is_encoded_projected_or_keyed_inside_the_loop(tiny, images, tmp_path):
    counts = Counter()
    encoders, adapter = tiny.base.encoders, tiny.adapter
    modules = {
        "text": encoders.text.model,
        "image": encoders.image.model,
        "projection": adapter.projection,
        **{f"keys {index}": layer.key_value for index, layer in enumerate(adapter.layers)},
    }
    hooks = [
        module.register_forward_hook(lambda *_, name=name: counts.update([name])) for name, module in modules.items()
    ]
    subjects = [Subject(name="a", images=images), Subject(name="b", images=images[1], words="critter", steps="0..1")]
    request = tiny.request(steps=4, guidance=3.0, reference_guidance=2.0)
    try:
        steps = tiny.sample([PROMPT], [subjects], seeds=[1], request=request, negative_reference=images[1])
        next(steps)
        before = counts.copy()
        assert set(before) == set(modules)
        assert before["keys 0"] == before["projection"] == 2  # the references and the negative one
        assert len([*steps]) == 3
        assert counts == before
    finally:
        for hook in hooks:
            hook.remove()


def test_a_subject_of_several_videos_is_encoded_once(tiny, images):
    calls = []
    hook = tiny.base.encoders.image.model.register_forward_hook(lambda *_: calls.append(1))
    try:
        subject = Subject(images=images)
        tiny.generate_batch([PROMPT] * 3, [subject] * 3, seeds=[1, 2, 3], steps=2)
    finally:
        hook.remove()
    assert len(calls) == 2  # its views


def test_words_say_where_their_subject_is(pocket, images):
    """In the pocket model "critter" is where the critter is: there the routed mask is larger than elsewhere."""
    clip = critters.story(5, 3, "held_out")
    shot = critters.shoot(clip, np.random.default_rng(0))
    latents = pocket.base.encoders.autoencoder.posterior(torch.from_numpy(shot.frames)[None])[0]
    mask = shot.masks[0][1:].reshape(4, 4, 4, 16, 4, 16).mean((1, 3, 5)).reshape(-1)  # of the later token frames
    transformer, text = pocket.base.transformer, pocket.base.encoders.text
    words = (text.places(clip.caption, "critter"),)
    alpha, sigma = pocket.base.schedule.alpha_sigma(700)
    noisy = alpha * latents + sigma * torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        routing = WordRouting([words], transformer, text([clip.caption]))
        (attention,) = routing.attention(noisy, 700.0, transformer).values()
    where = visible(attention, words, sharpness=4.0, threshold=0.5)
    later = where[0].view(5, -1)[1:].flatten().numpy()
    inside, outside = later[mask > 0.5], later[mask < 0.05]
    assert inside.mean() > outside.mean() + 0.3


def test_subjects_compete_for_the_tokens_that_attend_to_their_words():
    attention = torch.tensor([[0.4, 0.1, 0.2, 0.01], [0.1, 0.4, 0.2, 0.01], [0.0, 0.0, 0.0, 0.0]])
    seen = visible(attention, [(1,), (2,), ()], sharpness=4.0, threshold=0.5)
    assert torch.equal(seen[2], torch.ones(4))
    assert seen[0, 0] > 0.9
    assert seen[0, 1] < 0.01
    assert seen[0, 2] == seen[1, 2] < 0.5
    assert seen[:2, 3].max() < 0.01


@pytest.mark.parametrize(
    ("reference", "settings", "message"),
    [
        (["a.png", Subject(images="a.png")], {}, "give images of one subject, or Subject objects, but not both"),
        ([Subject(images="a.png"), Subject(images="b.png")], {}, "two subjects are named 'subject'"),
        (Subject(images="a.png"), {}, "a.png: no such file"),
        (Subject(file="a.subject"), {}, "a.subject: no such file"),
    ],
)
def test_bad_references_are_refused_before_sampling(tiny, reference, settings, message):
    with pytest.raises(UserError, match=message):
        frames(tiny, reference, **settings)


@pytest.mark.parametrize(
    ("control", "message"),
    [
        ({"steps": "1-4"}, "subject: steps: '1-4': there are 3 steps"),
        ({"frames": (1.0, 0.0)}, "subject: frames: 2 values for 17 frames"),
        ({"blocks": "9:1"}, "subject: blocks: '9:1': there are 8 blocks"),
        ({"mask": np.zeros((8, 8), np.uint8)}, "mask: is black"),
        ({"image_masks": np.zeros((64, 64), np.uint8)}, "subject: the mask of an image: is black"),
        ({"words": "dragon"}, "subject: the prompt .* contains none of its words"),
        ({"image_masks": np.full((8, 8, 3), 255, np.uint8)}, "an image of 64 x 64 has a mask of 8 x 8"),
    ],
)
def test_controls_that_do_not_fit_are_refused_before_sampling(pocket, images, control, message):
    with pytest.raises(UserError, match=message):
        frames(pocket, Subject(images=images[0], **control))
    prompt = pocket.base.encoders.text([PROMPT])
    with pytest.raises(UserError, match="the prompt is an embedding"):
        pocket.generate_batch(prompt, [Subject(images=images[0], words="critter")], seeds=[1], steps=2)
