"""Training material out of annotated public repositories: the tables say what is taken of each, the modules how."""
