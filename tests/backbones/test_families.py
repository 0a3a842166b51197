"""Every family in the table provides what the rest of refilm uses."""

import json
from typing import get_args

import pytest

from refilm.backbones import BackboneSize, Family, families, family_in, native_format
from refilm.backbones.family import NativeFormat
from refilm.errors import UserError


@pytest.mark.parametrize("known", families(), ids=lambda known: known.NAME)
def test_a_family_has_every_part_of_the_protocol(known):
    assert isinstance(known, Family)
    assert known.native is None or isinstance(known.native, NativeFormat)
    sizes = [kind for kind in get_args(BackboneSize) or (BackboneSize,) if known is family_named(kind.family)]
    assert len(sizes) == 1, "the sizes of a family are in BackboneSize, once"


def family_named(name):
    return next(known for known in families() if known.__name__ == f"refilm.backbones.{name}.family")


def test_the_class_in_a_config_selects_the_family(tmp_path):
    for known in families():
        (tmp_path / "config.json").write_text(json.dumps({"_class_name": known.TRANSFORMER}))
        assert family_in(tmp_path) is known
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "FluxTransformer2DModel"}))
    with pytest.raises(UserError, match="config of a 'FluxTransformer2DModel'; refilm supports CogVideoXTransformer3D"):
        family_in(tmp_path)


def test_what_is_in_no_native_format_is_none(tmp_path):
    assert native_format(tmp_path) is None
    with pytest.raises(UserError, match="use a folder or a weights file"):
        native_format(tmp_path / "weights.zip")
