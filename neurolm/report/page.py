"""A report as one HTML file that needs nothing else: no network, no folder beside it.

The content security policy allows no request at all and only the scripts that are written
here (by their hash), so that even markup that slipped in could load or run nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from neurolm import __version__
from neurolm.report.figures import Picture, csv_text, inline_svg
from neurolm.report.markup import Markup, element, join
from neurolm.report.surface import mesh_element, viewer_script
from neurolm.storage import write_text

_MARKS = {"ok": "✓", "warning": "!", "failed": "✗"}


@dataclass(frozen=True, eq=False)
class Section:
    """A heading with what stands under it.

    Parameters
    ----------
    name, title : str
        The anchor, and the heading.
    children : tuple
        HTML (`Markup`), or text that is escaped; None is left out.
    meshes : tuple of str
        Meshes whose maps are shown in it; a page embeds each once and brings the viewer.
    """

    name: str
    title: str
    children: tuple[Any, ...]
    meshes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Page:
    """A whole report.

    Parameters
    ----------
    kind, title, verdict : str
        "Encoding report"; the analysis; what was found, in a sentence or two.
    sections : tuple of Section
    warning : str
        Shown above everything else: simulated data.
    lights : sequence with .name, .status and .message
        Checks under the verdict.
    """

    kind: str
    title: str
    verdict: str
    sections: tuple[Section, ...]
    warning: str = ""
    lights: Sequence[Any] = field(default=())

    def html(self) -> str:
        """The file's text."""
        meshes = dict.fromkeys(mesh for section in self.sections for mesh in section.meshes)
        scripts = (viewer_script(),) if meshes else ()
        style = Markup(element("style", Markup(_sheet())))
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=content_policy(scripts)),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="generator", content=f"neurolm {__version__}"),
            element("title", f"{self.title} · {self.kind}"),
            style,
        )
        data = (mesh_element(mesh) for mesh in meshes)
        body = element("body", *self._body(), *data, *(element("script", Markup(script)) for script in scripts))
        return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"

    def write(self, path: str | Path) -> Path:
        """Write the page as a whole file."""
        write_text(path, self.html())
        return Path(path)

    def _body(self) -> list[Markup | None]:
        warning = element(
            "div", element("p", element("strong", "Simulated data. "), self.warning), class_="simulated", role="note"
        )
        links = (element("li", element("a", s.title, href=f"#{s.name}")) for s in self.sections)
        header = element(
            "header",
            element("p", self.kind, class_="kind"),
            element("h1", self.title),
            element("p", self.verdict, class_="verdict"),
            light_list(self.lights),
            element("nav", element("ul", *links), aria_label="Sections"),
        )
        sections = (
            element(
                "section", element("h2", s.title, id=f"{s.name}-title"), *s.children, id=s.name, aria_labelledby=f"{s.name}-title"
            )
            for s in self.sections
        )
        return [
            element("a", "Skip to the content", href="#content", class_="skip"),
            warning if self.warning else None,
            header,
            element("main", *sections, id="content", tabindex=-1),
            element("footer", f"Made by neurolm {__version__}. This file is complete: it loads nothing from anywhere."),
        ]


def content_policy(scripts: Sequence[str]) -> str:
    """Nothing may be loaded; styles may stand in the page; only these scripts may run."""
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts]
    allowed = " ".join(hashes) or "'none'"
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}; img-src data:; base-uri 'none'; form-action 'none'"
    )


def light_list(lights: Sequence[Any]) -> Markup | None:
    """Checks as a list: a mark, the name, and what was found. Not told by colour alone."""
    if not lights:
        return None
    items = (
        element(
            "li",
            element("span", _MARKS[light.status], class_="mark", aria_hidden="true"),
            element("span", element("span", f"{light.status}: ", class_="sr"), _title(light.name), class_="name"),
            element("span", light.message[:1].upper() + light.message[1:], class_="message"),
            class_=light.status,
        )
        for light in lights
    )
    return element("ul", *items, class_="lights", aria_label="Checks")


def _title(name: str) -> str:
    return (name[:1].upper() + name[1:]).replace("_", " ")


def figure(picture: Picture, name: str, caption: Any) -> Markup:
    """A figure in a box that scrolls by itself, its caption, and its numbers to keep."""
    box = element("div", inline_svg(picture, name), class_="scroll", tabindex=0, role="group", aria_label=picture.description)
    return element("figure", box, element("figcaption", caption, " ", csv_link(picture.data, name)))


def panels(pictures: Sequence[Picture], name: str, caption: Any, data: Any, key: Markup | None = None) -> Markup:
    """Small figures side by side, as many as the width allows, under one key and one caption."""
    grid = element("div", *(inline_svg(p, f"{name}-{i}") for i, p in enumerate(pictures)), class_="panels")
    return element("figure", key, grid, element("figcaption", caption, " ", csv_link(data, name)))


def csv_link(data: Any, name: str) -> Markup:
    """A link that saves the numbers of a figure, which are inside the page."""
    return file_link(csv_text(data), f"{name}.csv", "Numbers (CSV)", "text/csv")


def file_link(text: str, file_name: str, label: str, kind: str = "text/plain") -> Markup:
    """A link that saves `text`, which is inside the page, as a file."""
    encoded = base64.b64encode(text.encode()).decode()
    return element("a", label, href=f"data:{kind};charset=utf-8;base64,{encoded}", download=file_name, class_="files")


def _sheet() -> str:
    text = files("neurolm.report").joinpath("style.css").read_text(encoding="utf-8")
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)).strip()


def paragraphs(*texts: Any, class_: str | None = None) -> Markup:
    """Each text as a paragraph; empty ones are left out."""
    return join(element("p", text, class_=class_) for text in texts if text)
