"""Where batches come from, and in which order. Floor 1."""
