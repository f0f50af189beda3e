"""A page in headless Chromium, driven by its DevTools protocol."""

import asyncio
import base64
import contextlib
import io
import json
import pathlib
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from PIL import Image
from tornado.websocket import WebSocketClientConnection, websocket_connect

PROGRAM = "chromium"
WIDTH, HEIGHT = 1180, 2600  # So high that nothing waits to be scrolled to
SCALE = 2  # Pixels of a picture for one of the page
PATIENCE = 300  # Seconds


class Box(NamedTuple):
    """A part of a page, in its pixels."""

    x: float
    y: float
    width: float
    height: float


class Page:
    """An open page.

    Args:
        socket: The connection to it.
        library: JavaScript that all scripts may call.
    """

    def __init__(self, socket: WebSocketClientConnection, library: str) -> None:
        self._socket, self._library = socket, library
        self._calls = 0

    async def visit(self, url: str) -> None:
        """Opens another address."""
        await self._call("Page.navigate", url="about:blank")
        await self._call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of JavaScript, as JSON has it.

        Raises:
            RuntimeError: if the script does.
        """
        found = await self._call(
            "Runtime.evaluate",
            expression=f"{{{self._library}\n{script}}}",
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    async def until(self, script: str) -> Any:
        """The value of JavaScript as soon as it is true.

        Raises:
            TimeoutError: if it stays false.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):  # While it opens
                if found := await self.run(script):
                    return found
            await asyncio.sleep(0.5)
        raise TimeoutError(f"never true: {script}")

    async def picture(self, box: Box) -> Image.Image:
        """A part of the page, `SCALE` times as large."""
        found = await self._call(
            "Page.captureScreenshot",
            format="png",
            captureBeyondViewport=True,
            clip=box._asdict() | {"scale": 1},
        )
        data = io.BytesIO(base64.b64decode(found["data"]))
        return Image.open(data).convert("RGB")

    async def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one message; events that come before it are ignored."""
        self._calls += 1
        number = self._calls
        message = {"id": number, "method": method, "params": arguments}
        await self._socket.write_message(json.dumps(message))
        while True:
            answer = json.loads(await self._socket.read_message() or "{}")
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]


@contextlib.asynccontextmanager
async def opened(library: str) -> AsyncIterator[Page]:
    """A page in a browser of its own, which ends with the context.

    Args:
        library: As in `Page`.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [
                PROGRAM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--remote-debugging-port=0",
                f"--user-data-dir={profile}",
                f"--window-size={WIDTH},{HEIGHT}",
                f"--force-device-scale-factor={SCALE}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            address = await _address(pathlib.Path(profile))
            socket = await websocket_connect(
                address, max_message_size=2**28, ping_interval=0
            )
            yield Page(socket, library)
            socket.close()
        finally:
            browser.terminate()
            browser.wait()


async def _address(profile: pathlib.Path) -> str:
    """The address of the first page, once the browser has written its port."""
    file = profile / "DevToolsActivePort"
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if file.exists() and (lines := file.read_text().splitlines()):
            url = f"http://127.0.0.1:{lines[0]}/json"
            with urllib.request.urlopen(url) as answer:
                pages = [p for p in json.load(answer) if p["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        await asyncio.sleep(0.2)
    raise TimeoutError(f"{PROGRAM} does not answer")
