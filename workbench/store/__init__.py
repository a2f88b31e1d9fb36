"""The experiment store: a run writes its own folder, a catalogue in DuckDB is made from the folders, readers ask it.

    store.run("my-idea", config) → Run          record        store.open() → Log      ask (frames, SQL)
    store.resume(run_id)                        continue      store.sync() rebuild() check() export()
    store.tag untag note delete undo purge      annotate      store.import_mlflow() import_tensorboard()

No process waits for another one: writers, a sync and a dashboard work at the same time (see store/README.md).
"""

from workbench.store._check import CheckReport as CheckReport
from workbench.store._check import Finding as Finding
from workbench.store._check import check as check
from workbench.store._evidence import evidence as evidence
from workbench.store._evidence import keep_evidence as keep_evidence
from workbench.store._export import export as export
from workbench.store._folder import StoreVersionError as StoreVersionError
from workbench.store._paths import locate as locate
from workbench.store._sync import SyncReport as SyncReport
from workbench.store._sync import rebuild as rebuild
from workbench.store._sync import sync as sync
from workbench.store._unknown import UnknownRun as UnknownRun
from workbench.store.annotations import delete as delete
from workbench.store.annotations import note as note
from workbench.store.annotations import purge as purge
from workbench.store.annotations import tag as tag
from workbench.store.annotations import undo as undo
from workbench.store.annotations import untag as untag
from workbench.store.imports import import_mlflow as import_mlflow
from workbench.store.imports import import_tensorboard as import_tensorboard
from workbench.store.reader import Log as Log
from workbench.store.reader import open_log
from workbench.store.recorder import resume as resume
from workbench.store.recorder import run as run
from workbench.store.unfinished import finished as finished
from workbench.store.unfinished import unfinished as unfinished
from workbench.store.writer import Run as Run

open = open_log  # `store.open()` reads well; nobody imports it bare
