"""What this host is and allows, and what is done to it: processes, namespaces, settings, packet filters, counters."""
