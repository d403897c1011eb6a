"""Load balancers before the server: their configuration, their process, their own counters."""
