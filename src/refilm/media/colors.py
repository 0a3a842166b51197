"""Colors as red, green and blue."""

from typing import Annotated

from annotated_types import Interval

Byte = Annotated[int, Interval(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]

WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)
