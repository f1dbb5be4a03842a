"""Language models, which know nothing of brains."""

# the contract
# writing with them
# our models
from neurolm.lm.attention import scaled_dot_product_attention as scaled_dot_product_attention

# text to ids
from neurolm.lm.byte_pair_tokenizer import BytePairTokenizer as BytePairTokenizer
from neurolm.lm.char_tokenizer import CharTokenizer as CharTokenizer
from neurolm.lm.dropout import RecurrentDropout as RecurrentDropout
from neurolm.lm.feed_forward import FeedForward as FeedForward
from neurolm.lm.generate import beam_search as beam_search
from neurolm.lm.generate import generate as generate
from neurolm.lm.generate import generate_ids as generate_ids

# model files: ours, and GPT-2's of transformers
from neurolm.lm.gpt2 import load_gpt2 as load_gpt2
from neurolm.lm.gpt2 import save_gpt2 as save_gpt2

# other work for the same layers
from neurolm.lm.heads import SequenceClassifier as SequenceClassifier
from neurolm.lm.heads import TokenClassifier as TokenClassifier
from neurolm.lm.language_model import LanguageModel as LanguageModel
from neurolm.lm.language_model import LMOutput as LMOutput
from neurolm.lm.lstm import LSTM as LSTM
from neurolm.lm.mt_lstm import MultiTimescaleLSTM as MultiTimescaleLSTM

# models by name or folder
from neurolm.lm.pretrained import load as load
from neurolm.lm.rnn import RNN as RNN
from neurolm.lm.time_series import TimeSeriesModel as TimeSeriesModel

# the adapter for transformers, and the double that tests use
from neurolm.lm.toy import ToyModel as ToyModel
from neurolm.lm.transformer import Transformer as Transformer
from neurolm.lm.transformers_model import TransformersModel as TransformersModel
from neurolm.lm.transformers_tokenizer import TransformersTokenizer as TransformersTokenizer
from neurolm.lm.weights import load_model as load_model
from neurolm.lm.weights import save_model as save_model
from neurolm.lm.word_tokenizer import WordTokenizer as WordTokenizer
