"""See the module list below."""

# the contract
from neurolm.lm.language_model import LanguageModel as LanguageModel
from neurolm.lm.language_model import LMOutput as LMOutput

# the double that tests use
from neurolm.lm.toy import ToyModel as ToyModel

# text to ids
from neurolm.lm.word_tokenizer import WordTokenizer as WordTokenizer
