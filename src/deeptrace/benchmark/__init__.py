"""The benchmark: ground truth, runs, the LLM judge, tables, significance, the leaderboard."""
