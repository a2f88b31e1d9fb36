"""Runs of other trackers become run folders: what people arrive with stays comparable with what they do next."""

from workbench.store.imports.mlflow import import_mlflow as import_mlflow
from workbench.store.imports.tensorboard import import_tensorboard as import_tensorboard
