"""Takes the pictures of TensorBoard anew: `python -m docs.screenshots`.

It executes the pages themselves, so that pictures and pages show the same runs,
and needs Chromium. Names of pictures take these alone.
"""

import argparse
import asyncio
import contextlib
import os
import pathlib
import sys
import tempfile

import nbclient
from myst_nb.core.read import read_myst_markdown_notebook
from PIL import Image

from docs.screenshots import chromium, tensorboard
from docs.screenshots.shots import SHOTS, Charts, Window

DOCS = pathlib.Path(__file__).parents[1]
PICTURES = DOCS / "pictures"
LARGEST = 120_000  # Bytes
COLOURS = 128


def execute(page: str, folder: pathlib.Path) -> None:
    """Runs the program of a page, in a folder."""
    notebook = read_myst_markdown_notebook((DOCS / page).read_text())
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, resources=resources).execute()


def save(picture: Image.Image, path: pathlib.Path) -> None:
    """Writes a picture of few colours, and says how large it is."""
    picture.quantize(COLOURS).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.name}: {picture.size}, {size:,} bytes", flush=True)
    if size > LARGEST:
        sys.exit(f"{path} is larger than {LARGEST:,} bytes")


async def take(shots: list[Charts | Window], folder: pathlib.Path) -> None:
    """Takes pictures of the runs in a folder."""
    with contextlib.ExitStack() as servers:
        urls = [
            servers.enter_context(tensorboard.served(folder, shot.log_dir))
            for shot in shots
        ]
        async with chromium.opened(tensorboard.SCRIPT) as page:
            for url, shot in zip(urls, shots, strict=True):
                found = await tensorboard.picture(page, url, shot)
                save(found, PICTURES / f"tensorboard_{shot.name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.screenshots")
    parser.description = __doc__
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--work", help="keep the runs in this folder")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(DOCS.parent)
    with tempfile.TemporaryDirectory() as scratch:
        for page, all_shots in SHOTS.items():
            shots = [
                shot
                for shot in all_shots
                if not options.names or shot.name in options.names
            ]
            if not shots:
                continue
            folder = pathlib.Path(options.work or scratch) / page
            if not folder.exists():
                folder.mkdir(parents=True)
                execute(page, folder)
            asyncio.run(take(shots, folder))


if __name__ == "__main__":
    main()
