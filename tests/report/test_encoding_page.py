import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from neurolm.report import SurfaceMaps, report_page, report_pictures, write_report
from neurolm.report.voxel_figures import layer_profile, score_histogram

ATTACK = "<script>alert('x')</script>\"'><img src=http://example.org/x onerror=alert(1)>"


class Tags(HTMLParser):
    """Every tag with its attributes, and every text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def html(build):
    return report_page(build()).html()


def test_equal_reports_give_equal_bytes(build, html):
    assert report_page(build()).html() == html


def test_alignment_comes_before_any_result(html):
    order = [html.index(f'<section id="{name}"') for name in ("analysed", "alignment", "results", "listeners", "methods")]
    assert order == sorted(order)
    assert html.index('class="verdict"') < order[0]


def test_the_page_asks_for_nothing_outside_itself(html):
    for tag, attributes in Tags(html).tags:
        assert tag not in {"script", "iframe", "object", "embed", "link", "base", "form"}, tag
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:")), (tag, name, value)
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(http" not in html
    assert "@import" not in html
    policies = [a["content"] for tag, a in Tags(html).tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies[0].startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'none'; ")


def test_ids_are_unique_and_anchors_resolve(html):
    tags = Tags(html).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    anchors = [a.get("href") or a.get("xlink:href") for tag, a in tags if tag in {"a", "use"}]
    assert {a[1:] for a in anchors if a.startswith("#")} <= set(ids)


def test_every_text_from_outside_is_shown_as_its_characters(build):
    from neurolm.report import Provenance

    report = build(
        title=ATTACK,
        regions=(ATTACK, "B"),
        layers=(0, 5),
        notes=(ATTACK,),
        provenance=Provenance(settings={ATTACK: {ATTACK: ATTACK}}, versions={ATTACK: ATTACK}, inputs={ATTACK: ATTACK}),
    )
    story = report.alignment[0]
    story = replace(story, story=ATTACK, dropped=(ATTACK,), words_by_tr=(ATTACK,) * len(story.tr_times))
    dataset = replace(
        report.dataset,
        **dict.fromkeys(("name", "task", "source", "licence", "simulated_because"), ATTACK),
        subjects=(ATTACK,) * 27,
        stories=(ATTACK,),
        left_out={ATTACK: ATTACK},
        known_problems=(ATTACK,),
        is_simulated=True,
    )
    methods = replace(report.methods, model=ATTACK, context=ATTACK, null=ATTACK, interval=ATTACK, ceiling=ATTACK)
    listeners = replace(report.listeners, names=(ATTACK,) * 27)
    page = report_page(replace(report, alignment=(story,), dataset=dataset, methods=methods, listeners=listeners)).html()
    parsed = Tags(page)
    assert not [tag for tag, _ in parsed.tags if tag in {"script", "img"}]
    assert not [a for _, attributes in parsed.tags for a in attributes if a.startswith("on")]
    assert sum(ATTACK in text for text in parsed.texts) > 20


def test_simulated_data_are_said_before_anything_else(build, html):
    report = build(layers=(0, 5), regions=("A",))
    dataset = replace(report.dataset, is_simulated=True, simulated_because="The Alice data could not be found or downloaded.")
    page = report_page(replace(report, dataset=dataset)).html()
    assert page.index("Simulated data. </strong>The Alice data could not be") < page.index("<h1>")
    assert "Simulated data" not in html


def test_unknown_values_are_not_available_and_never_nan(build):
    report = build()
    scores = report.scores[0]
    hollow = {name: np.full_like(getattr(scores, name), np.nan) for name in ("r", "interval", "null", "p", "q", "ceiling")}
    report = replace(report, scores=(replace(scores, **hollow),), listeners=None, alphas=None)
    page = report_page(report).html()
    texts = " ".join(Tags(page).texts)
    assert not re.search(r"\bnan\b", texts)
    row = page[page.index('<th class="text" scope="row">LATL') :]
    assert row[: row.index("</tr>")].count("n/a") == 7
    assert "None of the regions could be scored." in page


@pytest.mark.parametrize(("n_regions", "layers"), [(1, (9,)), (40, (0, 1, 2)), (3, tuple(range(81)))], ids=lambda v: str(v)[:12])
def test_any_number_of_regions_and_layers(build, n_regions, layers, tmp_path):
    report = build(regions=tuple(f"R{i}" for i in range(n_regions)), layers=layers)
    page = report_page(report).html()
    assert page.count('<th class="text" scope="row">R0</th>') == 2  # the two tables of scores


def test_a_listener_without_a_score_is_not_counted(build, html):
    found = r"word rate, its interval and paired p: LATL 0.12 \(0.02 to 0.22; p = 0.001; above 0 in \d+ of 27 .*LPTL .* of 26 listeners"
    assert re.search(found, html)


def test_thousands_of_voxels_are_shown_as_distributions(build):
    report = build(regions=tuple(f"v{i}" for i in range(3000)), layers=(0, 5, 10), columns="voxels")
    page = report_page(report).html()
    assert len(page) < 1_000_000
    assert "<table" not in page[page.index('<section id="results"') : page.index('<section id="penalties"')]
    assert "predicts held-out BOLD of the mean listener in 3,000 of 3,000 voxels" in page
    assert "The single listeners: Higher than word rate in 3,000 and lower in 0 of the 3,000 voxels where either" in page
    significant = replace(report.scores[0], q=np.where(np.arange(3000) < 10, 0.01, 0.5) * np.ones((3, 1)))
    assert score_histogram(significant).data["n_significant"].sum() == 10
    profile = layer_profile(significant)
    assert np.allclose(profile.data["significant"], significant.r[:, :10].mean(axis=1))
    assert np.allclose(profile.data["all"], significant.r.mean(axis=1))


def test_one_subject_and_many_stories(build, monkeypatch):
    monkeypatch.setattr("neurolm.report.alignment_section.MOST_STORIES", 2)
    report = build(listeners=None, layers=(0, 5), regions=("A",))
    first = replace(report.alignment[0], words_by_tr=None, lags=None)
    stories = tuple(replace(first, story=f"story {i}") for i in range(4))
    failed = type(first.findings[0])("rows", "failed", "other row times")
    stories = (*stories[:3], replace(stories[3], findings=(failed,)))
    dataset = replace(report.dataset, subjects=("sub-01",), stories=tuple(s.story for s in stories))
    page = report_page(replace(report, alignment=stories, dataset=dataset, scores=report.scores[:1])).html()
    assert '<section id="listeners"' not in page
    assert re.findall("<h3>(story .)</h3>", page) == ["story 3", "story 0"]
    assert "2 more stories, none of them worse than these" in page


def test_bare_arrays_make_a_page(build):
    report = build(layers=(0, 5), regions=("A", "B"))
    scores = replace(report.scores[0], interval=None, null=None, p=None, q=None, ceiling=None, baselines=())
    page = report_page(replace(report, scores=(scores,), alignment=(), listeners=None, alphas=None)).html()
    assert "No alignment check was made" in page
    assert "no noise ceiling was estimated" in page.lower()


def test_write_report_writes_the_page_and_every_figure(build, tmp_path):
    report = build(layers=(0, 5, 10), regions=("A", "B"))
    report = replace(report, scores=report.scores[:1])
    path = write_report(report, tmp_path / "sub-01.html", figures=tmp_path / "figures")
    names = report_pictures(report)
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == sorted(
        f"{n}.{s}" for n in names for s in ("svg", "pdf", "csv")
    )
    assert path.stat().st_size < 1_000_000
    table = (tmp_path / "figures" / "layers-1.csv").read_text().splitlines()
    assert len(table) == 1 + 3 * 2
    assert table[0].startswith("layer,region,r,interval_low,interval_high,null_low,null_high,p,q,ceiling,word_rate")


def test_a_page_of_a_whole_cortex_with_every_layer_stays_below_10_mb(build):
    rng = np.random.default_rng(0)
    names = tuple(f"layer {i}" for i in range(31))
    maps = SurfaceMaps(names=names, left=rng.random((31, 10242)), right=rng.random((31, 10242)), label="r")
    regions = tuple(f"vertex {i}" for i in range(1500))
    page = report_page(build(surface=maps, regions=regions, columns="vertices")).html()
    assert 1_000_000 < len(page.encode()) < 10_000_000
