"""Curves over steps, frames and blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refilm.errors import UserError
from refilm.settings import Settings
from refilm.settings.curves import Curve, values_along


class Holder(Settings):
    curve: Curve = 1.0


@pytest.mark.parametrize(
    ("curve", "values"),
    [
        (0.5, [0.5] * 5),
        ("0.5", [0.5] * 5),
        ("0..1", [0, 0.25, 0.5, 0.75, 1]),
        ("1..0.2", [1, 0.8, 0.6, 0.4, 0.2]),
        ("2-4", [0, 1, 1, 1, 0]),
        ("2:0 4:1", [0, 0, 0.5, 1, 1]),
        ("1:0, 3:0, 4:2", [0, 0, 0, 2, 2]),
        ((1, 0.5, 0, 0, 3), [1, 0.5, 0, 0, 3]),
        (" 0 .. 1 ", [0, 0.25, 0.5, 0.75, 1]),
        ("2 - 4", [0, 1, 1, 1, 0]),
        ("1 : 0 , 3: 0  4 :2", [0, 0, 0, 2, 2]),
    ],
)
def test_forms(curve, values):
    assert values_along(Holder(curve=curve).curve, 5, of="steps") == pytest.approx(values)
    plain = list(curve) if isinstance(curve, tuple) else curve
    assert Holder.from_values({"curve": plain}).curve == curve


@pytest.mark.parametrize(
    ("curve", "values"),
    [
        (range(5), (0, 1, 2, 3, 4)),
        ([1, np.float32(0.5), np.int64(0), 0.0, 3], (1, 0.5, 0, 0, 3)),
        (np.linspace(0, 1, 5), (0, 0.25, 0.5, 0.75, 1)),
        (np.arange(5, dtype=np.uint8), (0, 1, 2, 3, 4)),
        (np.float32(0.5), 0.5),
        (np.array(2), 2.0),
    ],
)
def test_any_numbers_of_python_are_a_curve(curve, values):
    assert Holder.of(curve=curve).curve == values
    assert values_along(curve, 5, of="steps") == (values if isinstance(values, tuple) else (values,) * 5)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        ("up", r'must be 0.8 \(constant\), "0..1"'),
        ("", "must be 0.8"),
        ((), "must be 0.8"),
        ("-1", "must be 0.8"),
        ("nan", "must be 0.8"),
        ("0..11", "values must be 0 to 10"),
        ("1:11", "values must be 0 to 10"),
        ((1.0, -0.5), "values must be 0 to 10"),
        (10**400, "values must be 0 to 10"),
        (-1, "values must be 0 to 10"),
        (float("nan"), "values must be 0 to 10"),
        (None, "must be 0.8"),
        (True, "must be 0.8"),
        ({}, "must be 0.8"),
        (b"12", "must be 0.8"),
        ((1, "0.5"), "must be 0.8"),
        ((1, True), "must be 0.8"),
        (np.ones((2, 2)), "must be 0.8"),
        (np.array(["1"]), "must be 0.8"),
        ("٢-٣", "must be 0.8"),
        ("١", "must be 0.8"),
        ("0...5", "must be 0.8"),
        ("1:0;2:1", "must be 0.8"),
        ("0-3", "places must rise, and are counted from 1"),
        ("4-3", "places must rise"),
        ("3:1 3:0", "places must rise"),
        ("3:1 2:0", "places must rise"),
    ],
)
def test_bad_curves_are_refused_with_the_fix(curve, message):
    with pytest.raises(UserError, match=f"^curve: {message}") as caught:
        Holder.of(curve=curve)
    assert str(caught.value).count("received") == 1  # not once for each form
    with pytest.raises(UserError, match="must"):
        values_along(curve, 5, of="steps")


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        ("2-6", "'2-6': there are 5 steps; give places from 1 to 5"),
        ("1:0 6:1", "there are 5 steps"),
        ((1.0, 0.5), "2 values for 5 steps: give one for each, or values at places, as in 1:0 5:1"),
    ],
)
def test_a_curve_that_does_not_fit_is_refused(curve, message):
    with pytest.raises(UserError, match=message):
        values_along(curve, 5, of="steps")


@given(
    st.dictionaries(st.integers(1, 30), st.floats(0, 10).map(lambda value: round(value, 3)), min_size=1),
    st.integers(30, 40),
)
def test_values_at_places_are_met(keys, count):
    text = " ".join(f"{place}:{value:.3f}" for place, value in sorted(keys.items()))
    values = values_along(text, count, of="frames")
    assert all(values[place - 1] == pytest.approx(value) for place, value in keys.items())
    assert min(keys.values()) - 1e-9 <= min(values) <= max(values) <= max(keys.values()) + 1e-9
