"""What people look at: self-contained HTML reports and the figures in them.

EncodingReport and its parts    what a report of an encoding analysis says
write_report                    one HTML file that opens offline; figures as SVG, PDF, CSV
SurfaceMaps                     maps on the cortex, which the page shows in a viewer of its own
Page, Section                   a page of any analysis; timescale_section, decoder_section
Picture, save_figure            a figure with its numbers
Reference, references, bibtex   what is cited
"""

from neurolm.report.alignment import LagCurve, StoryAlignment
from neurolm.report.analysis_sections import decoder_section, timescale_section
from neurolm.report.decoder_table import DecodedWindow, decoder_table, decoder_text, mark_words
from neurolm.report.encoding_page import report_page, report_pictures, write_report
from neurolm.report.encoding_report import (
    Baseline,
    ChosenAlphas,
    ChosenLayers,
    DatasetFacts,
    EncodingReport,
    LayerScores,
    Listeners,
    MethodFacts,
    Provenance,
)
from neurolm.report.figures import Picture, save_figure
from neurolm.report.methods import methods_paragraph
from neurolm.report.page import Page, Section
from neurolm.report.references import Reference, bibtex, references
from neurolm.report.surface import SurfaceMaps
from neurolm.report.surface_figure import surface_figure, surface_section
from neurolm.report.verdict import lights, verdict

__all__ = [
    "Baseline",
    "ChosenAlphas",
    "ChosenLayers",
    "DatasetFacts",
    "DecodedWindow",
    "EncodingReport",
    "LagCurve",
    "LayerScores",
    "Listeners",
    "MethodFacts",
    "Page",
    "Picture",
    "Provenance",
    "Reference",
    "Section",
    "StoryAlignment",
    "SurfaceMaps",
    "bibtex",
    "decoder_section",
    "decoder_table",
    "decoder_text",
    "lights",
    "mark_words",
    "methods_paragraph",
    "references",
    "report_page",
    "report_pictures",
    "save_figure",
    "surface_figure",
    "surface_section",
    "timescale_section",
    "verdict",
    "write_report",
]
