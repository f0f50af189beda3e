"""Probes and advice: what the learning rate is doing. Floor 5."""
