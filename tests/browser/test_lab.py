"""A notebook in JupyterLab, in a real browser: a person changes a parameter, runs all cells, and sees what becomes."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import nbformat
import pytest

from harness import PROJECT
from harness.page.notebooks import NOTEBOOKS
from tests.calling import processes_naming

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; `make setup` installs it")
expect = playwright.expect

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(BROWSER is None, reason="chromium (Debian's chromium) is not installed"),
]

PATIENCE_S = 120
QUIET = {"fetchNews": "false", "checkForUpdates": False}
"""JupyterLab's setting against its questions to the outside."""
OFFLINE = (
    "--no-proxy-server",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@dataclass(frozen=True)
class Lab:
    """A JupyterLab under way, on a copy of the collection."""

    address: str
    token: str
    notebooks: Path
    data: Path


@dataclass(frozen=True)
class Notebook:
    """A notebook open in the browser, handled as a person handles it."""

    page: Page
    path: Path

    @property
    def panel(self) -> Locator:
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    @property
    def figures(self) -> Locator:
        return self.panel.locator(".jp-OutputArea-output img")

    @property
    def failures(self) -> Locator:
        """What a cell raised or wrote to stderr."""
        return self.panel.locator("[data-mime-type='application/vnd.jupyter.stderr']")

    def choose(self, menu: str, entry: str) -> None:
        for name in (menu, entry):
            self.page.get_by_role("menuitem", name=name, exact=True).click()

    def replace_line(self, old: str, new: str) -> None:
        """Type over the line of a code cell that begins with ``old``."""
        editor = self.panel.locator(".jp-CodeCell .cm-editor").filter(has_text=old).first
        editor.locator(".cm-line").filter(has_text=re.compile(f"^{re.escape(old)}")).click()
        expect(editor).to_have_class(re.compile("cm-focused"))
        self.page.keyboard.press("Home")
        self.page.keyboard.press("Shift+End")
        self.page.keyboard.type(new)
        expect(editor.get_by_text(new, exact=True)).to_be_visible()

    def run_all(self) -> None:
        """Run all cells, until the last has run or one has failed."""
        self.choose("Edit", "Clear Outputs of All Cells")
        expect(self.figures).to_have_count(0)
        self.choose("Run", "Run All Cells")
        prompts = self.panel.locator(".jp-CodeCell .jp-InputPrompt")
        last = prompts.nth(len(code_cells(self.path)) - 1).filter(has_text=re.compile(r"\[\d+\]:"))
        expect(last.or_(self.failures.first).first).to_be_attached()
        self.wait_for_kernel()

    def wait_for_kernel(self) -> None:
        expect(self.panel.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute("data-status", "idle")

    def save(self) -> list[nbformat.NotebookNode]:
        """The code cells as JupyterLab has written them."""
        self.page.keyboard.press("Control+s")
        expect(self.page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(0)
        return code_cells(self.path)


Opening = Callable[[str], AbstractContextManager[Notebook]]


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def pictures(cells: Sequence[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What is said about each figure: its width, its alternative text."""
    outputs = [output for cell in cells for output in cell.outputs]
    return [output.metadata["image/png"] for output in outputs if "image/png" in output.get("data", {})]


def environment(home: Path) -> dict[str, str]:
    """A user without any settings."""
    own = ("JUPYTER", "IPYTHON", "STORMLAB_", "XDG_", "MPL")
    home.mkdir()
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | {"HOME": str(home)}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab as `make lab` starts it, but on a copy, and with settings of nobody."""
    folder = tmp_path_factory.mktemp("lab")
    token = secrets.token_hex()
    notebooks = Path(shutil.copytree(NOTEBOOKS, folder / "notebooks"))
    settings = folder / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(QUIET))
    variables = {
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "STORMLAB_DATA": str(folder / "runs"),
        "PYTHONPATH": str(PROJECT),
    }
    root = ["--allow-root"] if os.geteuid() == 0 else []
    words = ["--no-browser", "--ip=127.0.0.1", "--port=0", f"--notebook-dir={notebooks}", *root]
    log = folder / "lab.log"
    with log.open("w") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *words],
            env=environment(folder / "home") | variables,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        yield Lab(address_in(log, process), token, notebooks, folder / "runs")
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert not processes_naming(str(folder)), "a kernel outlived its JupyterLab"


def address_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Where a JupyterLab says that it is, as soon as it says so."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if said := re.search(r"http://127\.0\.0\.1:\d+/lab", log.read_text()):
            return said[0]
        time.sleep(0.05)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()}")


@pytest.fixture
def opened(lab: Lab, tmp_path: Path) -> Opening:
    """Open a notebook from JupyterLab's list of files; on a failure, leave a screenshot in ``tmp_path``."""

    @contextmanager
    def opening(name: str) -> Iterator[Notebook]:
        with playwright.sync_playwright() as driver:
            context = driver.chromium.launch_persistent_context(
                tmp_path / "profile",
                executable_path=BROWSER,
                args=["--no-sandbox", *OFFLINE],
                env=environment(tmp_path / "home"),
                viewport={"width": 1400, "height": 900},
            )
            context.set_default_timeout(PATIENCE_S * 1000)
            (page,) = context.pages
            try:
                page.goto(f"{lab.address}?{urlencode({'token': lab.token})}")
                page.locator(".jp-DirListing-item").filter(has_text=name).dblclick()
                notebook = Notebook(page, lab.notebooks / name)
                notebook.wait_for_kernel()
                yield notebook
            except BaseException as error:
                page.screenshot(path=tmp_path / "failure.png")
                error.add_note(f"screenshot: {tmp_path / 'failure.png'}")
                raise
            finally:
                context.close()

    expect.set_options(timeout=PATIENCE_S * 1000)
    return opening


def test_a_changed_parameter_changes_the_figures_and_the_answer(lab: Lab, opened: Opening) -> None:
    name = "01-stack-comparison.ipynb"
    committed = code_cells(lab.notebooks / name)
    expected = len(pictures(committed))
    assert expected
    (answer,) = (cell for cell in committed if "In the storm" in json.dumps(cell.outputs))
    assert "disjoint CPUs" in json.dumps(answer.outputs)
    with opened(name) as notebook:
        expect(notebook.figures).to_have_count(expected)
        before = [figure.get_attribute("src") for figure in notebook.figures.all()]
        notebook.replace_line("regimes =", 'regimes = ["shared"]')
        notebook.run_all()
        assert notebook.failures.all_text_contents() == []
        expect(notebook.figures).to_have_count(expected)
        as_before = 0
        for figure in notebook.figures.all():
            figure.scroll_into_view_if_needed()
            expect(figure).to_be_visible()
            assert figure.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
            as_before += figure.get_attribute("src") in before
        assert as_before == 1, "storms at an equal rate are of disjoint CPUs whatever is asked"
        told = notebook.panel.locator(".jp-OutputArea-output").filter(has_text="In the storm")
        expect(told).to_contain_text("shared CPUs")
        expect(told).not_to_contain_text("disjoint CPUs")
        cells = notebook.save()
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    # JupyterLab keeps the alternative text of a figure, but does not give it to the browser.
    assert len(pictures(cells)) == expected
    assert all(about["alt"] for about in pictures(cells))
    assert len(list((lab.data / "report" / "figures" / "01-stack-comparison").glob("*.svg"))) == expected


def test_a_value_that_means_nothing_is_an_error_of_one_line(opened: Opening) -> None:
    with opened("00-tour.ipynb") as notebook:
        notebook.replace_line("source =", 'source = "hree"')
        notebook.run_all()
        expect(notebook.failures).to_have_text(
            "PlanError: source is 'hree'; it is 'reference' or 'here'; choose one of the two"
        )
        expect(notebook.figures).to_have_count(0)
