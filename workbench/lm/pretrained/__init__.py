"""Real weights: packages found on this machine, Hugging Face folders, GGUF files, all for the same forward pass."""

from workbench.lm.pretrained._load import available as available
from workbench.lm.pretrained._load import load as load
