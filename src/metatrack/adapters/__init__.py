"""Our tracker behind the interfaces of other software, each in a few lines; the other software is not needed to import them."""
