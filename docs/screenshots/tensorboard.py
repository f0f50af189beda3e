"""TensorBoard of a folder, and pictures of it."""

import asyncio
import contextlib
import json
import pathlib
import socket
import subprocess
import sys
from collections.abc import Iterator

from PIL import Image

from docs.screenshots.chromium import SCALE, Box, Page
from docs.screenshots.shots import Charts, Window

SCRIPT = pathlib.Path(__file__).with_name("dashboards.js").read_text()
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
            "-m",
            "tensorboard.main",
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
        await _visit(page, f"{url}#{shot.tab}", shot.ready)
        await asyncio.sleep(SETTLES)
        return await page.picture(Box(*shot.part))
    await _visit(page, f"{url}#custom_scalars", "cards().length")
    await page.run(f"smooth({shot.smoothing})")
    places = [json.dumps(place)[1:-1] for place in shot.charts]
    for place in places:
        await page.run(f"open({place})")
        await page.until(f"!!chart({place})")
        await page.run(f"unfold({place}, {json.dumps(shot.is_logarithmic)})")
    for place in places:
        await page.until(f"isDrawn({place})")
    await asyncio.sleep(SETTLES)
    boxes = [Box(*await page.run(f"box(chart({p}))")) for p in places]
    return _beside([await page.picture(box) for box in boxes])


async def _visit(page: Page, url: str, ready: str) -> None:
    """Opens an address again and again, until TensorBoard has read the logs."""
    script = f"{SCRIPT}\n"
    for _ in range(10):
        await page.visit(url)
        for _ in range(20):
            await asyncio.sleep(1)
            with contextlib.suppress(RuntimeError):
                if await page.run(f"{{{script} !!({ready})}}"):
                    await page.run(script)
                    return
    raise TimeoutError(f"never true at {url}: {ready}")


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
    return whole
