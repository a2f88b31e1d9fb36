"""Work of a study that can be done side by side, and how far it is."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any


def counter(log: Any, total: int) -> Callable[[str], None]:
    """Tells the progress: called once a part, of `total`, with its name."""
    done = 0

    def tell(what: str) -> None:
        nonlocal done
        done += 1
        log.progress(done, total, what)

    return tell


def compute(jobs: Mapping[Any, Callable], tell: Callable[[str], None], workers: int = 2) -> dict[Any, Any]:
    """What each job returns. Two at a time: neither compiling nor a small model fills two cores or holds the lock."""
    found = {}
    with ThreadPoolExecutor(max_workers=workers) as pool:
        running = {pool.submit(call): job for job, call in jobs.items()}
        try:
            for task in as_completed(running):
                job = running[task]
                found[job] = task.result()
                tell(job if isinstance(job, str) else ": ".join(map(str, job)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found
