"""`refilm doctor`: what is installed and configured, what is wrong with it, and which base models fit here.

Each module gathers facts into a dataclass and judges them in a pure function. Nothing is changed or downloaded; files
are written to temporary folders only.
"""

from refilm.doctor.checks import Check, Section, Status, examined
from refilm.doctor.sections import sections

__all__ = ["Check", "Section", "Status", "examined", "sections"]
