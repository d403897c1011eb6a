"""The collection, executed by papermill: parameters checked, outputs normalised, written whole or not at all."""

from __future__ import annotations

import ast
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from harness import PROJECT
from harness.errors import PlanError, StormLabError

NOTEBOOKS = PROJECT / "notebooks"
KERNEL = "python3"
FIGURES_VARIABLE = "STORMLAB_FIGURES"
"""Tells :func:`harness.page.save` inside the kernel where figures go."""
_EXIT_CODES = {"PlanError": 2, "MachineError": 3, "ServerError": 4}


def collection() -> list[Path]:
    """The notebooks, in reading order."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def find(names: Sequence[str]) -> list[Path]:
    """The notebooks that were named, by name, number or file; all of them for no name.

    Raises:
        PlanError: a name matches none, or several.
    """
    known = collection()
    chosen = []
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        matching = [path for path in known if path.stem == stem or path.stem.startswith(f"{stem}-")]
        if len(matching) != 1:
            raise PlanError(f"no notebook is called {name!r}", f"choose from {', '.join(path.stem for path in known)}")
        chosen += matching
    return chosen or known


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Papermill only warns of a misspelt parameter; here it is an error, and so is a value of another type.

    Raises:
        PlanError: a parameter is unknown, or its value has not the type of the default.
    """
    known = papermill.inspect_notebook(str(notebook))
    for name, value in parameters.items():
        if name not in known:
            raise PlanError(f"{notebook.stem} has no parameter {name!r}", f"it has {', '.join(known)}")
        default = _literal(known[name]["default"])
        if default is not None and not _same_kind(default, value):
            raise PlanError(
                f"{notebook.stem}: {name} is {value!r}, a {type(value).__name__}; "
                f"its default {default!r} is a {type(default).__name__}",
                "give a value of that type",
            )


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, Any],
    *,
    figures: Path,
    data: Path,
    live: IO[str],
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Execute a notebook into ``output``, figures into ``figures``/<notebook>/; ``about`` is added to its metadata.

    Raises:
        StormLabError: a cell failed; ``output`` is left as it was.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stormlab-notebook-") as scratch:
        draft = Path(scratch) / output.name
        with _environment({FIGURES_VARIABLE: str(figures), "STORMLAB_DATA": str(data)}):
            try:
                papermill.execute_notebook(
                    str(notebook),
                    str(draft),
                    parameters=dict(parameters) or None,
                    kernel_name=KERNEL,
                    cwd=str(Path.cwd()),
                    progress_bar=False,
                    stdout_file=live,
                    extra_arguments=["--log-level=ERROR"],  # ipykernel warns of TCP without encryption; it is loopback
                )
            except PapermillExecutionError as error:
                failure = StormLabError(
                    f"{notebook.stem} failed in cell {error.exec_count}: {error.ename}: {error.evalue}",
                    "open it with `make lab` and run it cell by cell",
                )
                failure.exit_code = _EXIT_CODES.get(error.ename, 1)
                raise failure from error
        document = nbformat.read(draft, as_version=4)
    normalise(document)
    document.metadata.update(nbformat.from_dict(dict(about or {})))
    part = output.with_name(f".{output.name}.new")
    nbformat.write(document, part)
    part.replace(output)
    return output


def normalise(document: nbformat.NotebookNode) -> None:
    """Take out of an executed notebook what differs from run to run: times, durations, versions, paths."""
    document.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": KERNEL},
            "language_info": {"name": "python"},
        }
    )
    for index, cell in enumerate(document.cells):
        cell.id = f"cell-{index:02d}"
        kept = {key: cell.metadata[key] for key in ("tags",) if cell.metadata.get(key)}
        cell.metadata = nbformat.from_dict(kept)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def _same_kind(default: Any, value: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, type(default))


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Environment of the kernels started inside."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
