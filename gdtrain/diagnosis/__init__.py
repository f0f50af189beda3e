"""Verdicts on a training, from its numbers alone."""
