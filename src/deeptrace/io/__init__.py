"""Files that survive: atomic writes, JSON lines, run folders, fingerprints."""
