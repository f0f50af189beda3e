"""One step on one replica, in the graph."""
