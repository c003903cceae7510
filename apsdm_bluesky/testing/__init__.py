"""Room of its own; see docs."""
