"""The load: who drives the slices of a storm."""
