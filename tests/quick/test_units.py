"""What is built, remembered and said of it, with a toolchain that only pretends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.servers import build
from harness.servers.build import BuildError, Missing, Unit, build_all, run_step

CARGO = """#!/bin/sh
echo '   Compiling first v1.0.0' >&2
echo '   Compiling second v2.0.0' >&2
sleep 0.3
echo 'error: the linker is on holiday' >&2
exit %d
"""


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which nothing is built yet."""
    monkeypatch.setattr(build, "BUILT", tmp_path / "built")
    monkeypatch.setattr(build, "SAYS_EVERY_S", 0.1)
    return tmp_path / "built"


def toolchain(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Programs that take a moment and end with ``code``."""
    folder.mkdir(exist_ok=True)
    for name, text in {"cargo": CARGO % code, "rustc": "#!/bin/sh\necho host: here\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def a_unit(tmp_path: Path) -> Unit:
    (tmp_path / "rust" / "thing").mkdir(parents=True)
    (tmp_path / "rust" / "thing" / "Cargo.toml").write_text("[package]\n")
    return Unit("thing", "cargo", sources=tmp_path, builder="run it again")


def test_it_is_built_once_from_the_same_sources(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain(tmp_path / "bin", monkeypatch, 0)
    unit, said = a_unit(tmp_path), list[str]()
    assert unit.missing == Missing("it is not built", "run it again")
    build_all([unit, unit], said.append)
    assert said[0] == "thing: building"
    assert "2 crates compiled so far, now second" in said[1]
    assert said[-1].startswith("thing: built in ")
    assert unit.missing is None
    build_all([unit], said.append)
    assert said[-1] == "thing: up to date"
    (tmp_path / "rust" / "thing" / "Cargo.toml").write_text("[package]\n# changed\n")
    assert not unit.is_built


def test_why_it_failed_is_remembered(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain(tmp_path / "bin", monkeypatch, 1)
    unit, said = a_unit(tmp_path), list[str]()
    build_all([unit], said.append)
    why = "building it failed: `cargo fetch` failed: error: the linker is on holiday"
    assert said[-1] == f"thing: left out: {why}; run it again"
    assert unit.missing == Missing(why, "run it again")


@pytest.mark.parametrize("allocator", build.VARIANTS)
def test_a_variant_is_missing_only_where_building_it_failed(
    allocator: str, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that asks for it has it built; what older versions noted of a failure still counts."""
    toolchain(tmp_path / "bin", monkeypatch, 0)
    for name in ("cc", "make"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    unit = build.VARIANTS[allocator]
    assert not unit.is_built
    assert unit.missing is None
    built.mkdir()
    (built / f"rust-{allocator}.json").write_text(json.dumps({"failed": "no disk", "failed_sources": "others"}))
    assert unit.missing is None, "the sources have changed since"
    (built / f"rust-{allocator}.json").write_text(json.dumps({"failed": "no disk"}))
    assert unit.missing is not None
    assert unit.missing.reason == "building it failed: no disk"


def test_a_step_ends_with_its_time(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"`sleep 60` took longer than 0\.1 s"):
        run_step(["sleep", "60"], tmp_path, limit_s=0.1)
    with pytest.raises(BuildError, match="no-such-program is not installed"):
        run_step(["no-such-program"], tmp_path)
