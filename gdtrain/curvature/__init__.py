"""Curvature of the loss, measured."""
