"""Many steps: one program, its table, and who is told of it. Floor 3."""
