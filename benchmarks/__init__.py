"""Speed, memory, size and start of this project's tracker beside its peers: ``python benchmarks/run.py``."""
