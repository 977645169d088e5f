"""Track any object through video."""
