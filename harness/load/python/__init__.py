"""The engine in Python: an agent drives one slice of a load and writes a row for every planned connection."""
