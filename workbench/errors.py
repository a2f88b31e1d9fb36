"""Errors that users of the workbench catch by name."""


class NotConverged(RuntimeError):
    """An iterative method stopped without an answer that meets its tolerance.

    Raised on concrete results only; under `jax.jit` the status travels in the result. `result` holds everything that
    was computed, so that the failure can be looked at: `error.result.status`, `error.result.plot()`.
    """

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result
