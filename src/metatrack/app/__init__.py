"""The commands of the command line: one module each, with its options (a frozen dataclass) and ``run``."""
