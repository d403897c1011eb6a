"""One storm from start to end, then many."""
