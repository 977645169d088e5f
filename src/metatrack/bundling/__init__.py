"""From trained networks to a model bundle: calibration of the score, 8 bits, export. In torch."""
