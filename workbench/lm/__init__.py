"""Language models: one block for attention, recurrent cells and state-space layers; training that resumes; tasks."""

from workbench.lm import tasks as tasks
from workbench.lm._bytes import Windows as Windows
from workbench.lm._bytes import bits_per_byte as bits_per_byte
from workbench.lm._bytes import next_byte as next_byte
from workbench.lm._config import Config as Config
from workbench.lm._loss import Batch as Batch
from workbench.lm._loss import Scores as Scores
from workbench.lm._loss import evaluate as evaluate
from workbench.lm._loss import loss as loss
from workbench.lm._mixer import AbstractMixer as AbstractMixer
from workbench.lm._mixer import Attention as Attention
from workbench.lm._mixer import Recurrent as Recurrent
from workbench.lm._mixer import SolveStats as SolveStats
from workbench.lm._model import Output as Output
from workbench.lm._model import clip as clip
from workbench.lm._model import count_parameters as count_parameters
from workbench.lm._model import forward as forward
from workbench.lm._model import init as init
from workbench.lm._optimiser import AdamW as AdamW
from workbench.lm._ssd import SSD as SSD
from workbench.lm._train import train as train
from workbench.lm._training import Training as Training
