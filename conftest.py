"""What the collector must not import for its doctests: plug-ins that are only importable inside their host program."""

collect_ignore = [f"src/deeptrace/reward/adapters/{name}.py" for name in ("cosmos_rl", "flow_factory", "unirl_service")]
