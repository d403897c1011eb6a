"""The load: agents that drive slices of a storm and leave one row for every planned connection."""
