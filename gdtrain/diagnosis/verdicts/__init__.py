"""Verdicts on a training, one in each file."""
