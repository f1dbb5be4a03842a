"""Language models, which know nothing of brains."""

# the contract
# our models
from neurolm.lm.attention import scaled_dot_product_attention as scaled_dot_product_attention

# text to ids
from neurolm.lm.byte_pair_tokenizer import BytePairTokenizer as BytePairTokenizer
from neurolm.lm.char_tokenizer import CharTokenizer as CharTokenizer
from neurolm.lm.dropout import RecurrentDropout as RecurrentDropout
from neurolm.lm.feed_forward import FeedForward as FeedForward
from neurolm.lm.language_model import LanguageModel as LanguageModel
from neurolm.lm.language_model import LMOutput as LMOutput
from neurolm.lm.lstm import LSTM as LSTM
from neurolm.lm.mt_lstm import MultiTimescaleLSTM as MultiTimescaleLSTM

# models by name or folder
from neurolm.lm.pretrained import load as load
from neurolm.lm.rnn import RNN as RNN

# the adapter for transformers, and the double that tests use
from neurolm.lm.toy import ToyModel as ToyModel
from neurolm.lm.transformer import Transformer as Transformer
from neurolm.lm.transformers_model import TransformersModel as TransformersModel
from neurolm.lm.transformers_tokenizer import TransformersTokenizer as TransformersTokenizer
from neurolm.lm.word_tokenizer import WordTokenizer as WordTokenizer
