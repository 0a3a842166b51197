"""One value for how images are read, in the files and keys that had it before."""

import json

import torch

from refilm.checkpoints import load_adapter, load_encoders, read_card, save_adapter
from refilm.checkpoints.adapters import CARD
from refilm.checkpoints.bases import load_base
from refilm.data.encoding import identify
from refilm.data.encoding.keys import digest
from refilm.media.preprocessing import ImagePreprocessing
from refilm.training.recipes import AdapterRecipe


def test_the_shipped_adapter_reads_images_as_it_says():
    base = load_base("pocket", device="cpu")
    assert base.adapter is not None
    assert read_card(base.adapter).preprocessing == ImagePreprocessing(hidden_state="last")


def test_an_adapter_folder_keeps_its_format(tmp_path):
    base = load_base("pocket", device="cpu")
    assert base.adapter is not None
    shipped = json.loads((base.adapter / CARD).read_text())
    how = ImagePreprocessing(image_encoder="Owner/Clip", image_fit="squash-bilinear", hidden_state="last")
    save_adapter(load_adapter(base.adapter), tmp_path, base_fingerprint=None, facts={}, preprocessing=how)
    saved = json.loads((tmp_path / CARD).read_text())
    assert list(saved) == list(shipped)
    assert [saved[name] for name in ("image_encoder", "image_fit", "hidden_state")] == list(dict(how).values())
    assert read_card(tmp_path).preprocessing == how


def test_keys_of_references_depend_on_fit_and_hidden_state_as_before():
    base = load_base("pocket", device="cpu")
    base.read_images_with(ImagePreprocessing(hidden_state="last"))
    processor = base.encoders.image.processor.to_dict()
    found = identify(base.encoders, lambda module: "weights").references
    assert found == digest("weights", "last", "pad", processor)
    base.read_images_with(ImagePreprocessing())
    assert identify(base.encoders, lambda module: "weights").references == digest(
        "weights", "penultimate", "pad", processor
    )


def test_without_an_adapter_a_base_model_reads_the_last_hidden_state_as_in_version_0_1():
    base = load_base("pocket", device="cpu")
    stage_base = load_encoders(base.source.folder, base.size, device=torch.device("cpu"), dtype=torch.float32)
    for encoders in (base.encoders, stage_base):
        references = identify(encoders, lambda module: "weights").references
        assert references == "80a8427fc6163b70f5bfb072078eef04"


def test_an_adapter_that_is_saved_without_preprocessing_reads_the_last_hidden_state(tmp_path):
    base = load_base("pocket", device="cpu")
    assert base.adapter is not None
    save_adapter(load_adapter(base.adapter), tmp_path, base_fingerprint=None, facts={})
    assert read_card(tmp_path).preprocessing == ImagePreprocessing(hidden_state="last")


def test_recipes_share_the_default_and_the_sentences():
    for name in ("image_encoder", "hidden_state"):
        ours, theirs = AdapterRecipe.model_fields[name], ImagePreprocessing.model_fields[name]
        assert (ours.default, ours.description) == (theirs.default, theirs.description)


def test_an_encoder_has_the_chosen_hidden_state():
    base = load_base("pocket", device="cpu")
    for state in ("last", "penultimate"):
        base.read_images_with(ImagePreprocessing(hidden_state=state))
        assert base.encoders.image.preprocessing.hidden_state == state
