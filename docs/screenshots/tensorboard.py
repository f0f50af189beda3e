"""TensorBoard of a folder, and pictures of it."""

import asyncio
import contextlib
import json
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from PIL import Image, ImageChops

from docs.screenshots.chromium import PATIENCE, SCALE, Box, Page
from docs.screenshots.shots import Charts, Window

SCRIPT = pathlib.Path(__file__).with_name("dashboards.js").read_text()
# It starts in a tenth of the time so, and shows the same.
WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None
from tensorboard.main import run_main
run_main()
"""
GAP = 10  # Between charts, in pixels of the page
SETTLES = 4  # Seconds in which a chart is drawn


@contextlib.contextmanager
def served(folder: pathlib.Path, log_dir: str) -> Iterator[str]:
    """The address of a TensorBoard, which ends with the context.

    Args:
        folder: Where it is started.
        log_dir: What it is given there, and shows.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            sys.executable,
            "-c",
            WITHOUT_TENSORFLOW,
            f"--logdir={log_dir}",
            f"--port={port}",
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()


async def picture(page: Page, url: str, shot: Charts | Window) -> Image.Image:
    """What one shot shows."""
    if isinstance(shot, Window):
        await _visit(page, url, shot.tab, shot.ready)
        await asyncio.sleep(SETTLES)
        return await page.picture(Box(*shot.part))
    await _visit(page, url, "custom_scalars", "cards().length")
    await page.run(f"smooth({shot.smoothing})")
    places = [json.dumps(place)[1:-1] for place in shot.charts]
    for place in places:
        await page.run(f"open({place})")
        await page.until(f"isDrawn({place})")
        await page.run(f"unfold({place}, {json.dumps(shot.is_logarithmic)})")
    for place in places:
        await page.until(f"isDrawn({place})")
    await asyncio.sleep(SETTLES)
    found = []
    for place in places:
        box = Box(*await page.run(f"box(chart({place}))"))
        found.append(await page.picture(box))
    return _beside(found)


async def _visit(page: Page, url: str, tab: str, ready: str) -> None:
    """Opens a tab, as soon as TensorBoard has read what it shows."""
    end = time.monotonic() + PATIENCE
    while not _has(url, tab):
        if time.monotonic() > end:
            raise TimeoutError(f"{url} has nothing for the tab {tab}")
        await asyncio.sleep(1)
    await page.visit(f"{url}#{tab}")
    await page.until(f"!!({ready})")


def _has(url: str, tab: str) -> bool:
    """Whether there is something to show in a tab."""
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(f"{url}data/plugins_listing") as answer:
            return json.load(answer)[tab]["enabled"]
    return False


def _beside(pictures: list[Image.Image]) -> Image.Image:
    """Pictures in a row, with gaps."""
    gap = GAP * SCALE
    width = sum(one.width + gap for one in pictures) + gap
    height = max(one.height for one in pictures) + 2 * gap
    whole = Image.new("RGB", (width, height), "white")
    left = gap
    for one in pictures:
        whole.paste(one, (left, gap))
        left += one.width + gap
    above = ImageChops.invert(whole).getbbox()  # Of what is not white
    return whole.crop((0, 0, width, above[3] + gap if above else height))
