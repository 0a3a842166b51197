"""Create references for clips that have none: frames from other times, and subjects on a plain background."""

from refilm.data.preparing.plans import PreparePlan, plan, prepare
from refilm.data.preparing.removing import Remover, background_remover
from refilm.data.settings import PrepareSettings

__all__ = ["PreparePlan", "PrepareSettings", "Remover", "background_remover", "plan", "prepare"]
