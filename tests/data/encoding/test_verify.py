"""Damage anywhere in a cache is found and named, and encoding again fixes only that."""

import pytest

from refilm.data.encoding import EncodedSet, verify

from .clips import CLIPS, contents


def faults(cache) -> dict[str, str]:
    return {verdict.name: verdict.fault for verdict in verify(cache) if verdict.fault is not None}


def flip(path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_sound_cache(cache):
    names = [verdict.name for verdict in verify(cache)]
    assert faults(cache) == {}
    assert names[-1] == "index.json"
    assert len(names) == 1 + sum(path.name.startswith(("l", "t", "r")) for path in cache.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("pattern", "place", "complaint", "again"),
    [
        ("latents-*.safetensors", -1, "the content differs from what was written", 4),
        ("references-*.safetensors", 3, "the content differs from what was written", 4),
        ("text-*.json", 30, "its sidecar", 4),
        ("clips-*.safetensors", -1, "the content of clips-", 0),
    ],
)
def test_a_flipped_bit_is_found_and_mended(encoding, sound, cache, pattern, place, complaint, again):
    path = max(cache.glob(pattern), key=lambda path: path.stat().st_size)
    flip(path, place)
    (name,) = (name for name, fault in faults(cache).items() if complaint in fault)
    assert name in (path.with_suffix(".safetensors").name, "index.json")
    with pytest.raises(ValueError, match="encode again"):
        EncodedSet(cache)
    assert encoding(CLIPS, cache) == again
    assert contents(cache) == contents(sound)
    assert faults(cache) == {}


def test_what_is_not_there_is_named(encoding, cache):
    (gone, *_) = cache.glob("references-*.safetensors")
    gone.unlink()
    assert faults(cache) == {gone.name: "is missing"}
    with pytest.raises(ValueError, match=f"1 shards are missing, the first is {gone.name}"):
        EncodedSet(cache)
    assert encoding(CLIPS, cache) > 0
    assert faults(cache) == {}


def test_no_cache(tmp_path):
    with pytest.raises(ValueError, match="not a complete cache"):
        list(verify(tmp_path))
