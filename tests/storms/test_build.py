"""A toolchain that is missing or cannot fetch leaves its servers out; the rest goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import PROJECT

CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A copy of the harness in which nothing is built."""
    shutil.copytree(PROJECT / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def build(folder: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "harness.servers.build"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def servers(folder: Path, **environment: str) -> str:
    command = [sys.executable, "-m", "harness", "servers"]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    ).stdout


def test_a_registry_out_of_reach_leaves_rust_out_in_one_line(fresh: Path) -> None:
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not installed")
    unreachable = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "CARGO_HTTP_PROXY"), CLOSED_PORT)
    lines = build(fresh, CARGO_HOME=str(fresh / "cargo"), **unreachable)
    (reason,) = [line for line in lines if line.startswith("setup: rust: left out")]
    assert "make setup" in reason
    if shutil.which("node"):
        assert any(line.startswith("setup: node: built") for line in lines), lines
    assert "building it failed" in servers(fresh)


def test_sources_that_do_not_compile_leave_go_out(fresh: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    (fresh / "harness/servers/go/main.go").write_text("package main\nfunc main() { surprise }\n")
    nothing = {"CARGO_HOME": str(fresh / "cargo"), "HTTPS_PROXY": CLOSED_PORT, "CARGO_HTTP_PROXY": CLOSED_PORT}
    (reason,) = [line for line in build(fresh, **nothing) if line.startswith("setup: go: left out")]
    assert "surprise" in reason


def test_without_any_toolchain_python_is_still_there(fresh: Path) -> None:
    bare = {"PATH": str(fresh)}
    lines = build(fresh, **bare)
    left_out = [line.split(":")[1].strip() for line in lines if "is not installed" in line]
    assert left_out == ["rust", "go", "node", "native"]
    listed = servers(fresh, **bare).splitlines()
    assert [line.split()[0] for line in listed[1:] if " yes" in line] == ["python"]


def test_what_is_built_is_not_built_again(fresh: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    nothing = {"CARGO_HOME": str(fresh / "cargo"), "HTTPS_PROXY": CLOSED_PORT, "CARGO_HTTP_PROXY": CLOSED_PORT}
    build(fresh, **nothing)
    assert "setup: node: up to date" in build(fresh, **nothing)
