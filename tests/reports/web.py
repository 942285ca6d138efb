"""Web pages taken apart without a browser, and opened in a real one.

Start with `Page` to read a page, and with `opened` to see what Chromium makes of it at some widths.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

VOID = {"meta", "br", "img", "input", "hr", "link"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Page(HTMLParser):
    """A page: headings, rows of tables, pictures by title, and what it asks for from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.elsewhere: list[str] = []
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.pictures: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        self.wrong += self.open
        self.elsewhere += re.findall(r"@import|url\([^)]*\)", text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        asks = ("src", "href", "srcset", "data", "action", "poster")
        self.elsewhere += [f"{name}={value}" for name, value in attributes if name in asks]
        self.elsewhere += [name for name, _ in attributes if name.startswith("on")]
        if tag in ("script", "iframe", "object", "embed", "link", "base"):
            self.elsewhere.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """An element that closes itself."""

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be of this name."""
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, text: str) -> None:
        """Text, of whatever is open."""
        if "style" in self.open:
            return
        self.words += text
        if self.open[-1:] == ["title"] and "svg" in self.open and self.open[-2] == "svg":
            self.pictures.append(text)
        elif "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += text
        elif self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += text


@dataclass(frozen=True)
class Seen:
    """What a browser makes of a page at one width, in CSS pixels."""

    width: int
    content: int
    """How wide the content is: more than ``width`` has to be scrolled sideways."""
    height: int
    pictures: int
    """SVG drawings that have an area."""
    headings: int
    smallest: float
    """The smallest size of letters."""


_LOOK = """
const size = (frame, text) => parseFloat(frame.contentWindow.getComputedStyle(text).fontSize);
window.addEventListener("load", () => {
  const seen = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument, root = page.documentElement;
    const has = (box) => box.width > 0 && box.height > 0;
    const texts = [...page.body.querySelectorAll("p, td, th, li, h1, h2, h3, figcaption, span, text")];
    return { width: frame.clientWidth, content: root.scrollWidth, height: root.scrollHeight,
      pictures: [...page.querySelectorAll("svg")].filter((svg) => has(svg.getBoundingClientRect())).length,
      headings: page.querySelectorAll("h1").length,
      smallest: Math.min(...texts.map((text) => size(frame, text))) };
  });
  document.body.textContent = JSON.stringify(seen);
});
"""


def opened(page: str, folder: Path, widths: tuple[int, ...] = (1280, 400)) -> tuple[list[Seen], list[str]]:
    """Open a page in headless Chromium at some widths; return what it looks like, and what the console says.

    Each width is a frame of that width, as a phone would have it: a window cannot be so narrow. Where
    there is no browser the test fails: a machine that cannot look at a page has not tested it.
    """
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(f"no browser found ({', '.join(BROWSERS)}): install Chromium to run this test")
    frames = "".join(
        f'<iframe width="{width}" height="900" style="border: 0" srcdoc="{escape(page)}"></iframe>'
        for width in widths
    )
    file = folder / "frames.html"
    file.write_text(f"<!doctype html><script>{_LOOK}</script><body>{frames}</body>", encoding="utf-8")
    command = [found, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--no-first-run", "--disable-dev-shm-usage", "--disable-background-networking"]
    command += [f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--log-level=0"]
    command += ["--virtual-time-budget=10000", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    body = re.search(r"<body>(.*)</body>", done.stdout, re.DOTALL)
    assert body is not None, done.stdout
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return [Seen(**seen) for seen in json.loads(unescape(body.group(1)))], console
