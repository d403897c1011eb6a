"""The probe: what the kernel says of queues and counters."""
