"""Registers `DeeptraceScorer` with UniRL's reward service, which imports the module that a scorer's name stands for."""

from __future__ import annotations

from reward_service.scorers.registry import register

from deeptrace.reward.adapters.unirl import DeeptraceScorer

__all__ = ["DeeptraceScorer"]

register("deeptrace", DeeptraceScorer)
