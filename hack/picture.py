"""A picture of a page in a browser window of exactly the asked size; refused where the page is wider than the window.

`--window-size` can't make a phone: Chromium's own windows are at least 500 pixels wide. So the size, and light or dark,
are set through its DevTools protocol.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse

OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
OPTIONS += ("--disable-background-networking", "--remote-debugging-port=0")
PATIENCE = 60.0
"""Seconds for the browser to start, and for each of its answers."""
TOO_WIDE = """(() => {
  const width = document.documentElement.clientWidth, inside = e => {
    for (let p = e.parentElement; p; p = p.parentElement)
      if (getComputedStyle(p).overflowX !== "visible") return p.getBoundingClientRect().right <= width + 0.5;
    return false;
  };
  return [...document.querySelectorAll("body *")]
    .filter(e => e.getBoundingClientRect().right > width + 0.5 && !inside(e))
    .map(e => `${e.tagName.toLowerCase()}.${e.getAttribute("class") ?? ""} to ${e.getBoundingClientRect().right}: ` +
      e.textContent.trim().slice(0, 40));
})()"""
"""What reaches beyond the window, but for what scrolls in a box of its own that doesn't."""

Call = Callable[..., Awaitable[Any]]


def absolute(text: str) -> Path:
    return Path(text).resolve()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("browser", help="Chromium")
    parser.add_argument("page", type=absolute, help="an HTML file")
    parser.add_argument("image", type=Path, help="a PNG file, or a PDF file: the page as it prints")
    parser.add_argument("--width", type=int, default=1000, help="of the window, in CSS pixels")
    parser.add_argument("--height", type=int, default=1150)
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    parser.add_argument("--phone", action="store_true", help="lay out as phones do, at three pixels to two of CSS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [options.browser, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        own = {**os.environ, "TMPDIR": folder}  # where it leaves files even when it is ended in good order
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=own) as browser:
            try:
                picture, found = asyncio.run(
                    photograph(listening(Path(folder, "DevToolsActivePort"), browser), options)
                )
            finally:
                browser.terminate()
                browser.wait(PATIENCE)
    options.image.write_bytes(picture)
    for line in found:
        print(f"{options.page}: wider than {options.width} CSS pixels: {line}", file=sys.stderr)
    return 1 if found else 0


def listening(file: Path, browser: subprocess.Popen[bytes]) -> int:
    """The port that the browser writes down once it listens."""
    end = time.monotonic() + PATIENCE
    while not (file.exists() and (lines := file.read_text().splitlines())):
        if browser.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{browser.args[0]} doesn't listen; its exit code is {browser.returncode}")
        time.sleep(0.05)
    return int(lines[0])


async def photograph(port: int, options: argparse.Namespace) -> tuple[bytes, list[str]]:
    """The picture, and what is too wide for the window."""
    async with ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [item for item in await answer.json() if item["type"] == "page"]
        # A picture is one message, larger than messages usually are.
        async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            return await taken(caller(socket), options)


def caller(socket: ClientWebSocketResponse) -> Call:
    """Calls methods of the protocol one after the other; `until` waits for that event besides."""
    number = 0

    async def call(method: str, until: str | None = None, **parameters: Any) -> Any:
        nonlocal number
        number += 1
        await socket.send_json({"id": number, "method": method, "params": parameters})
        result, happened = None, until is None
        while result is None or not happened:
            message = await socket.receive_json(timeout=PATIENCE)
            happened |= message.get("method") == until
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                result = message["result"]
        return result

    return call


async def taken(call: Call, options: argparse.Namespace) -> tuple[bytes, list[str]]:
    await call("Page.enable")
    scale = 1.5 if options.phone else 1
    size = {"width": options.width, "height": options.height}
    await call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=scale, mobile=options.phone)
    await call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": options.scheme}])
    await call("Page.navigate", url=options.page.as_uri(), until="Page.loadEventFired")
    if options.image.suffix == ".pdf":
        found = await call("Page.printToPDF", preferCSSPageSize=True)
        return base64.b64decode(found["data"]), []
    wide = await call("Runtime.evaluate", expression=TOO_WIDE, returnByValue=True)
    found = await call("Page.captureScreenshot", format="png")
    return base64.b64decode(found["data"]), list(wide["result"]["value"])


if __name__ == "__main__":
    sys.exit(main())
