"""Used by every part: checks, signals, processes, messages."""
