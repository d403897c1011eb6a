"""The native engine's own tests: answers, frames and fields from literal bytes."""

from __future__ import annotations

import os
import subprocess

import pytest

from harness.servers import build


def test_its_own_tests_pass() -> None:
    if build.NATIVE.missing is not None:
        pytest.skip(f"the native engine: {build.NATIVE.missing.line}")
    done = subprocess.run(
        ["cargo", "test", "--release", "--locked", "--offline", "--quiet"],
        cwd=build.NATIVE.sources / "native",
        env={**os.environ, "CARGO_TARGET_DIR": str(build.NATIVE.folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout
