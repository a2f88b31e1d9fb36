"""Amdahl's law, by counting: tasks are dealt to processors, and the fullest processor sets the time."""

from dataclasses import dataclass

from workbench.study import Outcome


@dataclass(frozen=True)
class Config:
    processors: int = 1000
    tasks: int = 20_000
    serial_share: float = 0.05


PRESETS = {"quick": Config(), "full": Config(tasks=2_000_000)}


def speed_up(config: Config, serial_share: float) -> float:
    serial = round(config.tasks * serial_share)
    fullest = -(-(config.tasks - serial) // config.processors)
    return config.tasks / (serial + fullest)


def run(config: Config, log) -> dict[str, Outcome]:
    for step, share in enumerate((0.2, 0.1, config.serial_share)):
        log.log(step=step, serial_share=share, speed_up=speed_up(config, share))
    return {"limit": Outcome(speed_up(config, config.serial_share), control=speed_up(config, 0.0))}
