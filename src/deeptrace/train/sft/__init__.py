"""Supervised fine-tuning of video language models on RewardData."""
