"""References for clips that have none: frames of other moments, and subjects on plain ground."""

from refilm.data.preparing.plans import Plan, PrepareSettings, plan, prepare
from refilm.data.preparing.removing import Remover, background_remover

__all__ = ["Plan", "PrepareSettings", "Remover", "background_remover", "plan", "prepare"]
