"""Train language models and measure them.

Trainer                  the loop: truncated back-propagation, exact resume, early stop
train, TrainConfig       a whole training run from a config
perplexity               per token, per word and bits per byte, correct across sub-words
gradient_norm_by_lag     how gradients vanish or explode with distance
recall_at_lag            who remembers a name after so many words
"""

from neurolm.training.config import TrainConfig
from neurolm.training.evaluate import perplexity
from neurolm.training.gradients import gradient_norm_by_lag
from neurolm.training.loop import Trainer
from neurolm.training.recall import recall_at_lag
from neurolm.training.recipe import train

__all__ = ["TrainConfig", "Trainer", "gradient_norm_by_lag", "perplexity", "recall_at_lag", "train"]
