"""The papers and data sets that reports cite, as text and as BibTeX."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from neurolm.checks import check_choice


@dataclass(frozen=True)
class Reference:
    """One work: key, the short form used in sentences, the fields of its BibTeX entry."""

    key: str
    short: str
    kind: str
    fields: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """Authors (year). Title. Where."""
        get = dict(self.fields).get
        authors = (get("author") or "").replace(" and ", "; ")
        where = get("journal") or get("booktitle") or get("institution") or ""
        where += f" {get('volume')}" if get("volume") else ""
        where += f"({get('number')})" if get("number") else ""
        where += f":{get('pages')}" if get("pages") else ""
        link = f" doi:{get('doi')}" if get("doi") else ""
        return f"{authors} ({get('year')}). {get('title')}. {where}.{link}".replace("--", "–").replace("{", "").replace("}", "")

    @property
    def bibtex(self) -> str:
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in self.fields)
        return f"@{self.kind}{{{self.key},\n{body}\n}}"


def references(keys: Iterable[str]) -> tuple[Reference, ...]:
    """The works with these keys, in this order, each once."""
    return tuple(REFERENCES[check_choice("reference", key, REFERENCES)] for key in dict.fromkeys(keys))


def bibtex(works: Iterable[Reference]) -> str:
    """A .bib file."""
    return "\n\n".join(work.bibtex for work in works) + "\n"


def _entry(key: str, short: str, kind: str, **fields: str) -> Reference:
    return Reference(key, short, kind, tuple(fields.items()))


_WORKS = (
    _entry(
        "brennan2016",
        "Brennan et al., 2016",
        "article",
        author="Brennan, Jonathan R. and Stabler, Edward P. and Van Wagenen, Sarah E. and Luh, Wen-Ming and Hale, John T.",
        title="Abstract linguistic structure correlates with temporal activity during naturalistic comprehension",
        journal="Brain and Language",
        volume="157-158",
        pages="81--94",
        year="2016",
        doi="10.1016/j.bandl.2016.04.008",
    ),
    _entry(
        "huth2016",
        "Huth et al., 2016",
        "article",
        author="Huth, Alexander G. and de Heer, Wendy A. and Griffiths, Thomas L. and Theunissen, Frédéric E. and Gallant, Jack L.",
        title="Natural speech reveals the semantic maps that tile human cerebral cortex",
        journal="Nature",
        volume="532",
        pages="453--458",
        year="2016",
        doi="10.1038/nature17637",
    ),
    _entry(
        "jain2018",
        "Jain & Huth, 2018",
        "inproceedings",
        author="Jain, Shailee and Huth, Alexander G.",
        title="Incorporating context into language encoding models for {fMRI}",
        booktitle="Advances in Neural Information Processing Systems",
        volume="31",
        year="2018",
    ),
    _entry(
        "tang2023",
        "Tang et al., 2023",
        "article",
        author="Tang, Jerry and LeBel, Amanda and Jain, Shailee and Huth, Alexander G.",
        title="Semantic reconstruction of continuous language from non-invasive brain recordings",
        journal="Nature Neuroscience",
        volume="26",
        pages="858--866",
        year="2023",
        doi="10.1038/s41593-023-01304-9",
    ),
    _entry(
        "lebel2023",
        "LeBel et al., 2023",
        "article",
        author="LeBel, Amanda and Wagner, Lauren and Jain, Shailee and Adhikari-Desai, Aneesh and Gupta, Bhavin "
        "and Morgenthal, Allyson and Tang, Jerry and Xu, Lixiang and Huth, Alexander G.",
        title="A natural language {fMRI} dataset for voxelwise encoding models",
        journal="Scientific Data",
        volume="10",
        pages="555",
        year="2023",
        doi="10.1038/s41597-023-02437-z",
    ),
    _entry(
        "nastase2021",
        "Nastase et al., 2021",
        "article",
        author="Nastase, Samuel A. and Liu, Yun-Fei and Hillman, Hanna and others",
        title="The ``Narratives'' {fMRI} dataset for evaluating models of naturalistic language comprehension",
        journal="Scientific Data",
        volume="8",
        pages="250",
        year="2021",
        doi="10.1038/s41597-021-01033-3",
    ),
    _entry(
        "li2022",
        "Li et al., 2022",
        "article",
        author="Li, Jixing and Bhattasali, Shohini and Zhang, Shulin and Franzluebbers, Berta and Luh, Wen-Ming and Spreng, R. Nathan "
        "and Brennan, Jonathan R. and Yang, Yiming and Pallier, Christophe and Hale, John",
        title="{Le Petit Prince} multilingual naturalistic {fMRI} corpus",
        journal="Scientific Data",
        volume="9",
        pages="530",
        year="2022",
        doi="10.1038/s41597-022-01625-7",
    ),
    _entry(
        "esteban2019",
        "Esteban et al., 2019",
        "article",
        author="Esteban, Oscar and Markiewicz, Christopher J. and Blair, Ross W. and others",
        title="{fMRIPrep}: a robust preprocessing pipeline for functional {MRI}",
        journal="Nature Methods",
        volume="16",
        pages="111--116",
        year="2019",
        doi="10.1038/s41592-018-0235-4",
    ),
    _entry(
        "hoerl1970",
        "Hoerl & Kennard, 1970",
        "article",
        author="Hoerl, Arthur E. and Kennard, Robert W.",
        title="Ridge regression: biased estimation for nonorthogonal problems",
        journal="Technometrics",
        volume="12",
        number="1",
        pages="55--67",
        year="1970",
        doi="10.1080/00401706.1970.10488634",
    ),
    _entry(
        "benjamini1995",
        "Benjamini & Hochberg, 1995",
        "article",
        author="Benjamini, Yoav and Hochberg, Yosef",
        title="Controlling the false discovery rate: a practical and powerful approach to multiple testing",
        journal="Journal of the Royal Statistical Society: Series B",
        volume="57",
        number="1",
        pages="289--300",
        year="1995",
        doi="10.1111/j.2517-6161.1995.tb02031.x",
    ),
    _entry(
        "phipson2010",
        "Phipson & Smyth, 2010",
        "article",
        author="Phipson, Belinda and Smyth, Gordon K.",
        title="Permutation {P}-values should never be zero: calculating exact {P}-values when permutations are randomly drawn",
        journal="Statistical Applications in Genetics and Molecular Biology",
        volume="9",
        number="1",
        pages="Article 39",
        year="2010",
        doi="10.2202/1544-6115.1585",
    ),
    _entry(
        "freedman1983",
        "Freedman & Lane, 1983",
        "article",
        author="Freedman, David and Lane, David",
        title="A Nonstochastic Interpretation of Reported Significance Levels",
        journal="Journal of Business and Economic Statistics",
        volume="1",
        number="4",
        pages="292--298",
        year="1983",
    ),
    _entry(
        "besag1991",
        "Besag & Clifford, 1991",
        "article",
        author="Besag, Julian and Clifford, Peter",
        title="Sequential {Monte} {Carlo} p-values",
        journal="Biometrika",
        volume="78",
        number="2",
        pages="301--304",
        year="1991",
        doi="10.1093/biomet/78.2.301",
    ),
    _entry(
        "spearman1910",
        "Spearman, 1910",
        "article",
        author="Spearman, Charles",
        title="Correlation calculated from faulty data",
        journal="British Journal of Psychology",
        volume="3",
        pages="271--295",
        year="1910",
    ),
    _entry(
        "brown1910",
        "Brown, 1910",
        "article",
        author="Brown, William",
        title="Some experimental results in the correlation of mental abilities",
        journal="British Journal of Psychology",
        volume="3",
        pages="296--322",
        year="1910",
    ),
    _entry(
        "fischl1999",
        "Fischl et al., 1999",
        "article",
        author="Fischl, Bruce and Sereno, Martin I. and Tootell, Roger B. H. and Dale, Anders M.",
        title="High-resolution intersubject averaging and a coordinate system for the cortical surface",
        journal="Human Brain Mapping",
        volume="8",
        number="4",
        pages="272--284",
        year="1999",
    ),
)

REFERENCES = {work.key: work for work in _WORKS}
