"""The state of the page on parallel streams: which law, which streams, which comparison. No browser needed."""

import json
from typing import Any

import param
import polars as pl

from apps import scaling_cost, scaling_data
from apps.scaling_cost import DEVICE, LENGTHS, Choice
from apps.scaling_data import CORPORA, FORMS, MOST_STREAMS, STREAMS
from apps.source import Source

URL = {
    "corpus": "corpus", "form": "form", "streams": "P", "size": "N", "model": "model", "priced": "streams",
    "devices": "device", "input_tokens": "in", "output_tokens": "out", "batch": "batch",
}  # fmt: skip
# 10⁹ parameters, evenly apart on a logarithmic scale where the published sizes let them.
GRID = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6, 1.8, 2.0, 2.25, 2.5, 2.8, 3.2, 3.6, 4.0, 4.4)
REACH, FARTHEST = 5.6e9, 25e9  # parameters to which the curves are drawn, at least and at most


class ScalingState(param.Parameterized):
    """What the page shows. A length of 0 stands for all four of the paper, of which the mean is taken."""

    corpus = param.Selector(default="stack", objects=list(CORPORA))
    form = param.Selector(default="ParScale", objects=list(FORMS))
    streams = param.Integer(default=8, bounds=(1, MOST_STREAMS))
    size = param.Selector(default=1.6, objects=list(GRID))
    model = param.Selector(default="1.6B", objects=list(scaling_data.SIZES))
    priced = param.Selector(default=8, objects=list(STREAMS[1:]))
    devices = param.List(default=[DEVICE], item_type=str)
    input_tokens = param.Selector(default=0, objects=[0, *LENGTHS])
    output_tokens = param.Selector(default=0, objects=[0, *LENGTHS])
    batch = param.Selector(default=1, objects=list(scaling_cost.BATCHES))
    version = param.Integer(default=0)

    def __init__(self, source: Source, **params: Any) -> None:
        super().__init__(**params)
        self.source = source

    @property
    def parameters(self) -> float:
        """The chosen size."""
        return self.size * 1e9

    def prepare(self) -> None:
        """Fit and predict what the page shows of the law: slow the first time, kept after that."""
        self.worth()
        self.curves()
        scaling_data.constants(self.corpus, self.form)
        scaling_data.foretold(self.corpus, self.form, self.streams)

    def price(self) -> None:
        """Compute what the page shows of the cost: slow the first time, when it loads what models are made of."""
        self.part_table()
        for name in [] if self.reason() else self.chosen_devices():
            scaling_cost.dense(self.choice(), name)
            scaling_cost.crossover(self.choice(), name)

    def drawn(self) -> list[int]:
        """The numbers of streams that have a curve."""
        return sorted({*STREAMS, self.streams})

    def worth(self) -> scaling_data.Worth:
        """What the chosen streams are worth at the chosen size."""
        return scaling_data.worth(self.corpus, self.form, self.parameters, self.streams)

    def reach(self) -> float:
        """How far the curves go: past the largest published size, and past the size that the streams are worth."""
        worth = self.worth()
        size = max(size for size in (0.0, worth.size, worth.size_hi) if size < float("inf"))
        return max(REACH, min(1.25 * size, FARTHEST))

    def curves(self) -> dict[int, pl.DataFrame]:
        """The law's curve for each number of streams."""
        reach = self.reach()
        return {streams: scaling_data.curve(self.corpus, self.form, streams, reach) for streams in self.drawn()}

    def loss_table(self) -> pl.DataFrame:
        """What the figure of losses shows: published points, and the curves with their intervals."""
        points = scaling_data.losses(self.corpus).select(
            pl.lit("published").alias("evidence"), "streams", pl.col("parameters").cast(pl.Float64), "loss",
            pl.lit(None, pl.Float64).alias("lo"), pl.lit(None, pl.Float64).alias("hi"),
        )  # fmt: skip
        lines = [
            frame.select(pl.lit("modelled").alias("evidence"), pl.lit(streams, pl.Int64).alias("streams"), pl.all())
            for streams, frame in self.curves().items()
        ]
        return pl.concat([points, *lines])

    def choice(self) -> Choice:
        """The comparison of costs."""
        lengths = ((n,) if n else LENGTHS for n in (self.input_tokens, self.output_tokens))
        return Choice(self.model, self.priced, self.corpus, *lengths)

    def chosen_devices(self) -> list[str]:
        """The chosen devices that there are; an address may name others."""
        known = scaling_cost.devices()
        return [name for name in dict.fromkeys(self.devices) if name in known]

    def reason(self) -> str:
        """Why there is no comparison; empty when there is one."""
        return scaling_cost.reason(self.choice()) if self.chosen_devices() else "Choose a device."

    def ratio_table(self) -> pl.DataFrame:
        """A row a device and batch; no rows where nothing can be compared."""
        if self.reason():
            return pl.DataFrame()
        return pl.concat([scaling_cost.ratios(self.choice(), name) for name in self.chosen_devices()])

    def part_table(self) -> pl.DataFrame:
        """Memory and latency by part: a row a device and number of streams, at the chosen batch."""
        tables = [scaling_cost.parts(self.choice(), name, self.batch) for name in self.chosen_devices()]
        return pl.concat(tables) if tables else pl.DataFrame()

    def shows_published_ratios(self) -> bool:
        """Whether the paper has printed what the figure of ratios shows."""
        return any(self.choice().published(name) for name in self.chosen_devices())

    def reset(self) -> None:
        """Show what the page opens with."""
        self.param.update(**{name: self.param[name].default for name in URL})

    def law_python(self) -> str:
        """The Python lines that fit the law, rank the forms and draw the curves' numbers."""
        return "\n".join([
            "import numpy as np", "", "from workbench import scaling", "",
            f'losses = scaling.published("parscale-{self.corpus}")',
            f"law = scaling.fit(losses, scaling.{self.form}Law())",
            "print(law)",
            f"print([law.interval(name, {scaling_data.LEVEL}) for name in law.params])",
            f"print(law.equivalent_parameters({self.parameters:g}, {self.streams}))",
            f"print(law.predict(parameters={self.parameters:g}, streams={self.streams}, level={scaling_data.LEVEL}))",
            f"sizes = np.geomspace({scaling_data.SMALLEST:g}, {self.reach():.6g}, {scaling_data.POINTS})",
            f"for streams in {tuple(self.drawn())}:",
            f"    print(streams, law.predict(parameters=sizes, streams=streams, level={scaling_data.LEVEL}))",
            "print(scaling.rank(losses))",
        ])  # fmt: skip

    def ratio_python(self) -> str:
        """The Python lines that compare streams with parameters; the published losses where that cannot be done."""
        if self.reason():
            lines = ["from workbench import data", "", 'print(data.published("parscale-losses"))']
            return "\n".join(lines)
        lines = ["from workbench import parscale", "", f"batches = {list(scaling_cost.BATCHES)}"]
        for name in self.chosen_devices():
            given = _arguments(self.choice().settings(name))
            lines.append(f"found = parscale.equal_loss_ratio(batches, {given})")
            lines.append(f"print({json.dumps(name)}, found.memory_ratio, found.latency_ratio)")
            if scaling_cost.crossover(self.choice(), name) is not None:
                lines.append(f"print(parscale.crossover_batch({given}))")
        return "\n".join(lines)

    def part_python(self) -> str:
        """The Python lines that give memory and latency by part."""
        choice, lines = self.choice(), ["import numpy as np", "", "from workbench import parscale", ""]
        lines.append(f"pairs = np.meshgrid({choice.inputs}, {choice.outputs})")
        for name in self.chosen_devices():
            given = _arguments({"device": name, "dtype": scaling_cost.dtype(name)})
            lines += [
                f"for streams in {STREAMS}:",
                f'    cost = parscale.cost("{choice.size}", streams, {self.batch}, *pairs, {given})',
                "    parts = cost.memory_parts | cost.latency_parts",
                "    print(streams, {name: float(np.mean(value)) for name, value in parts.items()})",
            ]
        return "\n".join(lines)

    def trained_python(self) -> str:
        """The Python lines that give the claims which were tested by training here."""
        return "\n".join([
            "from workbench import store", "from workbench.scoreboard import scoreboard", "",
            f'rows = scoreboard(store.open({self.source.written()}), ["{scaling_data.PAPER}"])',
            'tested = rows.filter(rows["run_id"].is_not_null())',
            f'print(tested.filter(tested["claim"].str.starts_with("{scaling_data.TRAINED}")))',
        ])  # fmt: skip


def scores_python() -> str:
    """The Python lines that give the published scores."""
    return 'from workbench import data\n\nprint(data.published("parscale-downstream"))'


def _arguments(given: dict[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(v) if isinstance(v, str) else v}" for name, v in given.items())
