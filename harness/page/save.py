"""Saving a figure: SVG and PNG, and beside them what it was made from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Image
from matplotlib.figure import Figure

from harness.events.store import default_data
from harness.page.style import STYLE

WIDTH_IN_NOTEBOOK_PX = 760


def save(figure: Figure, name: str, *, notebook: str, runs: pd.DataFrame, caption: str, alt: str) -> Image:
    """Write ``<notebook>/<name>`` as .svg, .png and .json; returns the picture, which a notebook shows.

    The folder is ``figures/`` when the collection is exported, else the report of the user's own runs. The JSON names
    the runs, their plans and the machine, and holds the caption and the alternative text.
    """
    folder = Path(os.environ.get("STORMLAB_FIGURES") or default_data() / "report" / "figures") / notebook
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.svg"
    draw(figure, path)
    about = {
        "notebook": notebook,
        "figure": name,
        "caption": caption,
        "alternative_text": alt,
        "runs": sorted(runs["run_id"]),
        "plan_hashes": sorted(set(runs["plan_hash"])),
        "host_ids": sorted(set(runs["host_id"])),
    }
    path.with_suffix(".json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return Image(path.with_suffix(".png"), width=WIDTH_IN_NOTEBOOK_PX, alt=alt)


def draw(figure: Figure, path: Path) -> None:
    """Write a figure as ``path``, which is an .svg, and as .png beside it; the figure is closed."""
    with plt.style.context(STYLE):
        # No date and no version: the same data gives the same bytes.
        figure.savefig(path, metadata={"Date": None, "Creator": None})
        figure.savefig(path.with_suffix(".png"), metadata={"Software": None})
    plt.close(figure)


def save_table(table: pd.DataFrame, name: str, *, notebook: str) -> None:
    """Write a table that is too long for a notebook as ``<notebook>/<name>.csv``, beside its figures."""
    folder = Path(os.environ.get("STORMLAB_FIGURES") or default_data() / "report" / "figures") / notebook
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv")
