"""Used by every room: checks, signals, processes, messages."""
