"""Known truth: faults produced on purpose, and the lab's conclusions held against them, connection by connection."""
