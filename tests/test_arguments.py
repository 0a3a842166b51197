"""Public functions check their arguments against their signature, with one-line errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pytest
import torch

from refilm.arguments import checked


@dataclass(frozen=True)
class Thing:
    number: int


class Model(Protocol):
    def __call__(self, x: int) -> int: ...


@checked
def taken(
    count: int, scale: float = 1.0, *, names: Sequence[str] = (), thing: Thing | None = None, model: Model = abs
) -> tuple[object, ...]:
    return count, scale, names, thing, model(count)


def test_what_fits_arrives():
    thing = Thing(3)
    assert taken(4, 2, names=["a"], thing=thing, model=lambda x: -x) == (4, 2, ["a"], thing, -4)
    count, scale, *_ = taken(np.int64(4), np.float32(0.5))
    assert (type(count), type(scale), scale) == (int, float, 0.5)
    assert taken.__name__ == "taken"


@pytest.mark.parametrize("names", [["a", "b"], ("a", "b"), np.array(["a", "b"])])
def test_any_sequence_is_one(names):
    assert list(taken(4, names=names)[2]) == ["a", "b"]


def test_a_range_and_an_array_are_sequences_of_numbers():
    @checked
    def numbers(seeds: Sequence[int]) -> list[int]:
        return [*seeds]

    assert numbers(range(3)) == numbers(np.arange(3)) == numbers(torch.Size([0, 1, 2])) == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "named", "message"),
    [
        (["4"], {}, r"count: Input should be a valid integer \(received '4'\)"),
        ([True], {}, r"count: .* \(received True\)"),
        ([np.bool_(True)], {}, r"count: .* \(received True\)"),
        ([4.0], {}, r"count: .* \(received 4.0\)"),
        ([None], {}, r"count: .* \(received None\)"),
        ([4, "2"], {}, r"scale: Input should be a valid number \(received '2'\)"),
        ([4], {"names": "ab"}, r"names: Input should be a valid list \(received 'ab'\)"),
        ([4], {"names": ["a", 3]}, r"names\[1\]: Input should be a valid string \(received 3\)"),
        ([4], {"thing": {"number": 3}}, r"thing: Input should be an instance of Thing \(received a dict\)"),
        ([4], {"model": 3}, r"model: Input should be callable \(received 3\)"),
        ([4], {"scales": 2.0}, r"scales: unknown; did you mean scale\?"),
        ([4], {"guidance_scale": 2.0}, r"guidance_scale: refilm calls it guidance, in generate"),
        ([torch.zeros(2, 2)], {}, r"count: .* \(received a Tensor\)$"),
    ],
)
def test_what_does_not_is_refused(given, named, message):
    with pytest.raises(ValueError, match=message) as error:
        taken(*given, **named)
    assert "\n" not in str(error.value)


def test_a_function_complains_for_itself_too():
    with pytest.raises(TypeError, match="missing a required argument: 'count'"):
        taken()
