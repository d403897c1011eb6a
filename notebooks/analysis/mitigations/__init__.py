"""Notebook 07: pools, retries, HTTP/2, load balancers, more accept loops."""
