"""Extreme settings of a decoder: each is carried out, or refused with one line by what the dry run rehearses."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from neurolm.checks import InputError
from neurolm.decoding import DecoderSettings, WordDecoder
from neurolm.workflows.decoding_checks import rehearse_fit
from neurolm.workflows.decoding_config import DecodingConfig

from ..error_lines import one_line
from .test_decoder import QUICK as BASE
from .test_decoder import Study

pytestmark = pytest.mark.filterwarnings("ignore:.*of the targets chose the:UserWarning")
EXTREME = st.sampled_from([-1, 0, 1, 2, 7, 39, 40, 41, 119, 120, 121, 1000, 10**9, 2**32, 2**63, 0.5, 1.0, -0.5, 1e-300, 1e300])
NOT_NUMBERS = st.sampled_from([float("nan"), float("inf"), True, None, "2", [], {}, [float("nan")], [-1], ["xyz"], ["i", "she"]])
PLACES = [field.name for field in fields(DecoderSettings)]
SLOW = {"n_bootstraps", "beam_width", "extensions"}  # how much is computed: large values only take long


@pytest.fixture(scope="module")
def study():
    return Study(np.random.default_rng(0))


@settings(max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(PLACES), value=EXTREME | NOT_NUMBERS | st.lists(EXTREME, min_size=1, max_size=3))
def test_an_extreme_setting_of_a_decoder_is_carried_out_or_refused_before_the_fit(name, value, study):
    if name in SLOW and isinstance(value, int) and value > 40:
        value = 3
    material = SimpleNamespace(runs=study.runs[:2], stories=study.stories[:2], run=study.runs[2], story=study.stories[2])
    values = {field.name: getattr(BASE, field.name) for field in fields(BASE)} | {name: value}
    try:
        config = DecodingConfig(analysis="decoding", simulated={}, decoder=values).model_copy(update={"simulated": None})
        asked = config.settings()
        asked.vocabulary(material.stories)
        asked.check_length(sum(run.n_trs for run in material.runs))
        rehearse_fit(config, material)
    except InputError as error:
        one_line(error)
        return
    except ValidationError:  # of pydantic: `read_config` shows it as a line of the file
        return
    decoder = WordDecoder(replace(asked, n_bootstraps=1)).fit(study.space, material.runs, material.stories)
    search = decoder.search(study.lm, study.space, study.runs[2])
    assert search.decode(study.stories[2].mid_times[:6]).words
