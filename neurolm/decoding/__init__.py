"""From BOLD back to words, stories and stretches of time.

The method of the beam search is that of Tang et al. (2023), written from its equations. A patent
application (WO2023/163991) claims the loop of hypotheses, continuations and scoring by an encoding
model: users check what that means for their use.

WordDecoder, DecoderSettings     everything learned from one listener's training stories, in one file
NoiseModel, select_voxels        residual covariance of left-out runs; which voxels to decode from
WordRateModel                    word times from BOLD
ResponseLikelihood               how likely a run is under any words, without voxels
WordProposals                    nucleus of any language model, vocabulary, no repetitions
BeamSearch, SearchResult         the search; a Transcript comes out
score_windows, WindowScores      WER, BLEU-1, METEOR, embedding recall, beside nulls
null_decodes                     what the decoder says of BOLD that has nothing to do with the story
identify                         which of N stories or windows was heard
compare_texts                    actual and decoded words side by side: exact, gist, error
error_kind, teacher_forced_ranks where errors come from
evaluate_decode                  all of it for one decode
FunctionalAlignment              one listener's BOLD in another's voxels
"""

from neurolm.decoding.beam_search import BeamSearch, SearchResult
from neurolm.decoding.decoder import DecoderSettings, WordDecoder
from neurolm.decoding.diagnosis import error_kind, teacher_forced_ranks
from neurolm.decoding.embedding_recall import EmbeddingRecall, LanguageModelEncoder, TransformersEncoder, idf_weights
from neurolm.decoding.evaluation import DecodingEvaluation, evaluate_decode
from neurolm.decoding.functional_alignment import FunctionalAlignment
from neurolm.decoding.gist import compare_texts
from neurolm.decoding.hypothesis import Hypothesis
from neurolm.decoding.identification import Identification, identify
from neurolm.decoding.lexicon import vocabulary_of
from neurolm.decoding.likelihood import ResponseLikelihood
from neurolm.decoding.noise_model import NoiseModel, select_voxels
from neurolm.decoding.null import RandomLikelihood, null_decodes
from neurolm.decoding.proposals import WordProposals
from neurolm.decoding.window_scores import WindowScores, score_windows
from neurolm.decoding.word_rate import WordRateModel

__all__ = [
    "BeamSearch",
    "DecoderSettings",
    "DecodingEvaluation",
    "EmbeddingRecall",
    "FunctionalAlignment",
    "Hypothesis",
    "Identification",
    "LanguageModelEncoder",
    "NoiseModel",
    "RandomLikelihood",
    "ResponseLikelihood",
    "SearchResult",
    "TransformersEncoder",
    "WindowScores",
    "WordDecoder",
    "WordProposals",
    "WordRateModel",
    "compare_texts",
    "error_kind",
    "evaluate_decode",
    "identify",
    "idf_weights",
    "null_decodes",
    "score_windows",
    "select_voxels",
    "teacher_forced_ranks",
    "vocabulary_of",
]
