"""What the numbers of a training say of it: evidence, and verdicts."""
