"""Train language models and measure them.

train, TrainConfig       a whole training run from one configuration
Trainer                  the loop: truncated back-propagation, exact resume, early stop
perplexity               per token, per word and bits per byte, correct across sub-words and documents
KneserNey                the n-gram model that a neural one should be compared with
gradient_norm_by_lag     how gradients vanish or explode with distance
recall_at_lag            who remembers a name after so many words
fine_tune                a model for words, texts or completions: full, head only or LoRA
pretraining_gain         pretrained against fresh weights at equal budget
fit_forecaster           continuous series, beside persistence and autoregression
"""

from neurolm.training.config import TrainConfig as TrainConfig
from neurolm.training.evaluate import Perplexity as Perplexity
from neurolm.training.evaluate import perplexity as perplexity
from neurolm.training.experiments.forecasting import compare_forecasters as compare_forecasters
from neurolm.training.experiments.forecasting import fit_forecaster as fit_forecaster
from neurolm.training.experiments.gradients import gradient_norm_by_lag as gradient_norm_by_lag
from neurolm.training.experiments.recall import recall_at_lag as recall_at_lag
from neurolm.training.experiments.transfer import fine_tune as fine_tune
from neurolm.training.experiments.transfer import pretraining_gain as pretraining_gain
from neurolm.training.loop import Trainer as Trainer
from neurolm.training.ngram import KneserNey as KneserNey
from neurolm.training.optim import OptimizerSettings as OptimizerSettings
from neurolm.training.recipe import train as train
from neurolm.training.settings import TrainerSettings as TrainerSettings
