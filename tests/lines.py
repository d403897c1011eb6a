"""Lines of ``runs.parquet`` for storms that nobody drove: as planned, and all answered where nothing else is said."""

from __future__ import annotations

from harness.plan import trial_from_options


def run(options: dict[str, object], **columns: object) -> dict[str, object]:
    trial = trial_from_options(options)
    return {
        "plan": trial.to_json(),
        "server": trial.server.name,
        "clients": trial.load.clients,
        "planned": trial.load.planned,
        "generator": "ok",
        "success_rate": 1.0,
        "server_cpu_s": 0.5,
        "peak_rss_bytes": 2**21,
        "connections_made": trial.load.places,
        "attempts_made": trial.load.planned,
        "wanted_p50_ms": 10.0,
        "p50_ms": 8.0,
        "p99_ms": columns.get("wanted_p99_ms", 10.0),
        "lo_rx_dropped": 0,
        "server_ended": None,
        "protocol": "HTTP/2" if trial.load.http2 else "HTTP/1.1",
        **columns,
    }
