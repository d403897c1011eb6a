"""The trace: what the kernel's own tracepoints say of each connection, a witness independent of all others."""

PAGES = "trace.pages"
"""What the tracing process leaves in the folder of a run under way, for :mod:`harness.witness.tracing.table`."""
PORTS = range(10_000, 10_240)
"""Where servers of traced trials listen, each on a port of its own: below the agents' source ports and above those of
other storms. Tracepoints see all namespaces of the machine and carry none, so only the port tells the trials apart."""
