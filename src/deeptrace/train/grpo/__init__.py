"""Reinforcement of language models with verifiable grounded rewards: GRPO on answers compared with annotated traces."""
