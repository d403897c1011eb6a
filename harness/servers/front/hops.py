"""The two hops of a storm with a load balancer: from the clients to it, and from it to the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hops:
    """Who listens where. ``private_name`` is of this storm only, for what a balancer tells of itself."""

    address: str
    port: int
    """Where the clients knock: the balancer's."""
    server_port: int
    private_name: str

    def at(self, port: int) -> str:
        """``address:port``, as both programs read it."""
        return f"[{self.address}]:{port}" if ":" in self.address else f"{self.address}:{port}"
