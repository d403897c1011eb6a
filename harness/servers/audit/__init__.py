"""What each stack really asks of the kernel: asked of the running process, not of tables."""
