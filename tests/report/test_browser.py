"""Reports in a real browser: headless Chromium, driven over its debugging pipe.

Run by `make test-browser`. Skipped where Chromium is missing.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurolm.report import DecodedWindow, SurfaceMaps, decoder_section, surface_section, write_report
from neurolm.report.decoding_figures import score_over_time

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash"),
]


class Browser:
    """One page of headless Chromium; `send` speaks the DevTools protocol."""

    def __init__(self, profile: Path, *flags: str):
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to 4.
        command = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash", str(CHROMIUM), *FLAGS, *flags]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number, self._session, self.events = b"", 0, None, []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _receive(self, seconds=60):
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            self._buffer += os.read(self._read, 1 << 20)
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, path, width=1280, height=900):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
        self.events.clear()
        self.send("Page.navigate", url=Path(path).as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def evaluate(self, expression):
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key, code=0):
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, path=None, *, whole=False):
        shot = base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=whole)["data"])
        if path is not None:
            Path(path).write_bytes(shot)
        return shot

    def complaints(self):
        """Errors, warnings and everything else that the page said on the console."""
        kinds = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        return [event for event in self.events if event.get("method") in kinds]

    def requests(self):
        sent = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]

    def close(self):
        with contextlib.suppress(OSError):
            os.close(self._write)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait(10)
        os.close(self._read)


def surface_maps(n_maps=7):
    from neurolm.report.surface import HEMISPHERES, read_mesh

    mesh = read_mesh("fsaverage5")
    maps = {}
    for hemisphere in HEMISPHERES:
        y, z = mesh.coordinates["pial", hemisphere][:, 1:].T
        blobs = [0.6 * np.exp(-((y + 40 - 12 * i) ** 2 + (z - 5) ** 2) / 900) for i in range(n_maps)]
        maps[hemisphere] = np.array([np.where(blob > 0.1, blob, np.nan) for blob in blobs])
    return SurfaceMaps(names=tuple(f"layer {5 * i}" for i in range(n_maps)), label="held-out correlation", **maps)


@pytest.fixture(scope="module")
def page(build, tmp_path_factory):
    other = surface_section(surface_maps(1), name="other", title="Another map")
    decoded = decoder_section(
        [
            DecodedWindow(
                start_s=0,
                end_s=20,
                heard=("a", "dog"),
                decoded=("the", "hound", "x"),
                marks=("error", "gist", "exact"),
                scores={"r": 0.2},
            )
        ],
        verdict="Above chance.",
        over_time=score_over_time(np.arange(5.0), np.arange(5.0), label="BLEU-1", is_significant=np.arange(5) > 2),
    )
    report = build(layers=tuple(range(0, 31, 5)), surface=surface_maps(), sections=(other, decoded))
    story = report.alignment[0]
    runs = {f"s{i}": replace(story.lags, p=0.001 if i % 2 else 0.5) for i in range(27)}
    report = replace(report, alignment=(replace(story, runs=runs),))
    report = replace(report, dataset=replace(report.dataset, is_simulated=True, simulated_because="A test."))
    return write_report(report, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_it_loads_alone_without_a_complaint(browser, page, width):
    browser.open(page, width)
    assert browser.requests() == [page.as_uri()]
    assert browser.complaints() == []


def test_a_page_that_asks_for_something_would_be_noticed(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<script>fetch('http://127.0.0.1:9/x'); undefined_name()</script>")
    browser.open(bad)
    assert len(browser.requests()) == 2
    assert browser.complaints()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(browser, page, width):
    browser.open(page, width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        browser.evaluate(
            """[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && !e.closest('pre') && !e.closest('svg')
            && !e.closest('details') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
        )
        == []
    )


def test_the_slider_changes_the_map_from_the_keyboard(browser, page):
    browser.open(page)
    browser.evaluate("document.querySelector('.surface').scrollIntoView(); document.querySelector('.step input').focus()")
    name, before = "document.querySelector('.step output').textContent", canvas(browser)
    assert browser.evaluate(name) == "layer 0"
    browser.press("ArrowRight", 39)
    assert browser.evaluate(name) == "layer 5"
    after = canvas(browser)
    assert after != before
    browser.press("ArrowLeft", 37)
    assert canvas(browser) == before


def test_two_viewers_share_one_mesh(browser, page):
    browser.open(page)
    assert browser.evaluate("document.querySelectorAll('.surface > canvas').length") == 2
    assert browser.evaluate("document.querySelectorAll('[id^=mesh-]').length") == 1
    assert browser.evaluate("[...document.querySelectorAll('.step')].map(e => e.hidden)") == [False, True]


def test_the_brain_turns_and_zooms_from_the_keyboard(browser, page):
    browser.open(page)
    browser.evaluate("document.querySelector('.surface > canvas').focus()")
    seen = {canvas(browser)}
    for key, code in (("ArrowLeft", 37), ("ArrowUp", 38), ("+", 187)):
        browser.press(key, code)
        seen.add(canvas(browser))
    assert len(seen) == 4
    browser.press("Home", 36)
    assert canvas(browser) in seen


def test_the_colours_are_those_of_the_values(browser, page):
    # The middle of the first blob is the top of the colour scale: viridis yellow.
    browser.open(page)
    share = browser.evaluate(
        """(() => { const c = document.querySelector('.surface > canvas'), d = document.createElement('canvas');
            [d.width, d.height] = [c.width, c.height]; const x = d.getContext('2d'); x.drawImage(c, 0, 0);
            const p = x.getImageData(0, 0, c.width, c.height).data; let yellow = 0, grey = 0, white = 0;
            for (let i = 0; i < p.length; i += 4) {
              if (p[i] > 150 && p[i + 1] > 150 && p[i + 2] < 80) yellow++;
              else if (p[i] === 255 && p[i + 1] === 255 && p[i + 2] === 255) white++;
              else if (p[i] === p[i + 1] && p[i] === p[i + 2]) grey++; }
            return [yellow, grey, white].map(n => n / (p.length / 4)); })()"""
    )
    yellow, grey, white = share
    assert yellow > 0.002
    assert grey > 0.15
    assert 0.2 < white < 0.7


def test_pointing_at_the_cortex_reads_its_value(browser, page):
    browser.open(page)
    box = browser.evaluate(
        """(() => { const b = document.querySelector('.surface > canvas'); b.scrollIntoView({block: 'center', behavior: 'instant'});
            const r = b.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()"""
    )
    left, top, width, height = box
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=left + 0.3 * width, y=top + 0.55 * height)
    text = browser.evaluate("document.querySelector('.value').textContent")
    assert text.startswith("left hemisphere, vertex ")
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=left + 0.5 * width, y=top + 2)
    assert browser.evaluate("document.querySelector('.value').textContent") == ""


def test_without_webgl_the_still_picture_stays(page, tmp_path):
    browser = Browser(tmp_path, "--disable-webgl", "--disable-3d-apis")
    try:
        browser.open(page)
        assert browser.evaluate("document.querySelectorAll('.surface > canvas').length") == 0
        assert browser.evaluate("document.querySelector('.still').getBoundingClientRect().width") > 300
        assert [event for event in browser.complaints() if event["method"] == "Runtime.exceptionThrown"] == []
    finally:
        browser.close()


def test_every_text_has_enough_contrast(browser, page):
    browser.open(page)
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = browser.evaluate(CONTRAST)
    assert found["checked"] > 300
    assert found["poor"] == []
    browser.evaluate("document.body.style.color = '#999'")
    assert browser.evaluate(CONTRAST)["poor"]


def test_everything_that_acts_can_be_reached_and_is_named(browser, page):
    browser.open(page)
    unnamed = browser.evaluate(
        """[...document.querySelectorAll('a, button, input, select, summary, canvas[tabindex], [tabindex="0"]')].filter(e =>
            e.tabIndex < 0 || !(e.textContent.trim() || e.getAttribute('aria-label') || (e.labels && e.labels.length)))
            .map(e => e.outerHTML.slice(0, 100))"""
    )
    assert unnamed == []
    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.textContent") == "Skip to the content"


def canvas(browser):
    return browser.evaluate("document.querySelector('.surface > canvas').toDataURL()")


# WCAG 2 contrast of every visible text with the nearest background below it: 4.5, or 3 where it is large.
CONTRAST = """(() => {
  const numbers = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n.slice(0, 3), 1] : n; };
  const light = (rgb) => rgb.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c; } return [255, 255, 255, 1]; };
  const poor = []; let checked = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, e = node.parentElement, css = getComputedStyle(e);
    if (!node.textContent.trim() || !e.getClientRects().length || e.closest('script, style, title')) continue;
    const ink = numbers(e.closest('svg') ? css.fill : css.color);
    const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05), large = parseFloat(css.fontSize) >= 24;
    checked++;
    if (ratio < (large ? 3 : 4.5)) poor.push([node.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return { checked, poor };
})()"""
