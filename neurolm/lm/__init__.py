"""Language models, which know nothing of brains."""

# the contract
# text to ids
from neurolm.lm.byte_pair_tokenizer import BytePairTokenizer as BytePairTokenizer
from neurolm.lm.char_tokenizer import CharTokenizer as CharTokenizer
from neurolm.lm.language_model import LanguageModel as LanguageModel
from neurolm.lm.language_model import LMOutput as LMOutput

# models by name or folder
from neurolm.lm.pretrained import load as load

# the adapter for transformers, and the double that tests use
from neurolm.lm.toy import ToyModel as ToyModel
from neurolm.lm.transformers_model import TransformersModel as TransformersModel
from neurolm.lm.transformers_tokenizer import TransformersTokenizer as TransformersTokenizer
from neurolm.lm.word_tokenizer import WordTokenizer as WordTokenizer
