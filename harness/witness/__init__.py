"""Who watches a storm: probe, ledger, tracepoints."""
