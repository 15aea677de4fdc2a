"""A headless Chromium, driven over a pipe with nothing but the standard library."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "chrome-headless-shell")


def find_chromium() -> str | None:
    """The path of one, if this machine has it."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser, by the DevTools protocol: a JSON message, a zero byte, and so on.

    Attributes:
        complaints: what the page wrote to its console, threw, or was refused.
        requests: addresses that the page asked for.
    """

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._buffer = write, read, b""
        self._count, self._session = 0, None
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events on the way are noted."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, file: Path) -> None:
        """Load a page from disk, all of it."""
        self.command("Page.navigate", url=file.resolve().as_uri())
        while (event := self._next()).get("method") != "Page.loadEventFired":
            self._note(event)
        self.evaluate("document.title")  # what was said until here has come in

    def look(self, width: int, scheme: str) -> None:
        """Give the window a width in pixels and a colour scheme, light or dark."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def photograph(self, file: Path) -> None:
        """The whole page as a PNG."""
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 20)
            assert part, "the browser is gone"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(json.dumps(told)[:500])
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"][:60])


@contextmanager
def browser(program: str, home: Path) -> Iterator[Browser]:
    """A browser that is closed at the end.

    Args:
        program: its path.
        home: a folder for what it writes.
    """
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    options = [
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--remote-debugging-pipe", f"--user-data-dir={home}"),
    ]
    # The protocol is spoken on descriptors 3 and 4, which only the child itself can arrange.
    arrange = (
        "import os, sys; "
        "[os.dup2(int(fd), place) for fd, place in zip(sys.argv[1:3], (3, 4))]; "
        "os.execv(sys.argv[3], sys.argv[3:])"
    )
    ends = (theirs_in, theirs_out)
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", arrange, *map(str, ends), program, *options],
        pass_fds=ends,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        opened = Browser(ours_out, ours_in)
        yield opened
    finally:
        process.terminate()
        process.wait(20)
        os.close(ours_out)
        os.close(ours_in)
