"""A range of sampler steps as a setting."""

import re
from typing import Any, NamedTuple, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from refilm.errors import UserError


class StepRange(NamedTuple):
    """The sampler steps from a first to a last, both included and counted from 1. As a setting it is "FIRST-LAST" or a
    pair: "1-20", (1, 20)."""

    first: int
    last: int

    @classmethod
    def of(cls, value: Any) -> Self:
        """Read a range from "FIRST-LAST" or a pair of integers.

        Raises:
            UserError: the value has another form, or the steps are not in order.
        """
        pair = value
        if isinstance(value, str) and (match := re.fullmatch(r"([0-9]{1,3})\s*-\s*([0-9]{1,3})", value.strip())):
            pair = [int(number) for number in match.groups()]
        whole = isinstance(pair, list | tuple) and len(pair) == 2 and all(type(number) is int for number in pair)
        if not whole or not 1 <= pair[0] <= pair[1]:
            raise UserError("give the first and the last step, counted from 1, for instance 1-20, or 5-5 for one step")
        return cls(*pair)

    def __repr__(self) -> str:
        """As in a command line; errors contain it."""
        return f"{self.first}-{self.last}"

    def indices(self, steps: int) -> range:
        """The indices of these steps, counted from 0.

        Raises:
            UserError: the run has fewer steps.
        """
        if self.last > steps:
            raise UserError(f"the run has {steps} steps; give 1-{steps} or a part of it")
        return range(self.first - 1, self.last)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.of,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.to_string_ser_schema(when_used="json"),
        )
