"""Many steps as one compiled program."""
