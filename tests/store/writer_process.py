"""A process that only writes: `python writer_process.py ROOT STUDY ROWS PAUSE_S PROGRESS_FILE`.

It prints the run's id and logs ROWS rows (0: until it is killed). After each log call that has returned it writes how
many there were to PROGRESS_FILE, if that is not empty.
"""

import os
import sys
import time

from workbench import store


def main() -> None:
    root, study, rows, pause, progress = sys.argv[1:]
    told = os.open(progress, os.O_WRONLY | os.O_CREAT) if progress else None
    with store.run(study, {"pid": os.getpid()}, path=root) as run:
        print(run.id, flush=True)
        step = 0
        while step < int(rows) or rows == "0":
            run.log(loss=step / 7, step_again=step)
            step += 1
            if told is not None:
                os.pwrite(told, b"%012d" % step, 0)
            if float(pause):
                time.sleep(float(pause))


main()
