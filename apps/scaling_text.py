"""The words and tables of the page on parallel streams, as HTML: every modelled number with its basis."""

import html
import math
from typing import Any

import polars as pl

from apps import scaling_cost, scaling_data
from apps.scaling_cost import BATCHES, PARTS
from apps.scaling_data import CORPORA, FORMS, STREAMS, SYMBOLS
from apps.scaling_figures import size_text
from apps.scaling_state import ScalingState
from apps.style import evidence_mark, hint, numbers
from workbench import display
from workbench.report import ours

VERIFY = "<code>workbench reproduce parscale</code>"
_SIZE_HINT = (
    f"90 % interval: the law fitted anew to {scaling_data.RESAMPLES} resamples of the 24 published losses. It takes "
    "the form of the law for true: choose another form to see how far it moves."
)
_LOSS_HINT = (
    "90 % interval for the loss of one more training run: scatter of the 24 losses and doubt about the constants."
)
_COST_HINT = (
    "Attention, feed-forward and norms take max(FLOPs / 0.7 peak, bytes / 0.9 bandwidth) each, one after another; "
    "weights, cache and activations in 16 bits; no launch of kernels is priced. Model of the script cost_analysis.py "
    "of QwenLM/ParScale; rates from the device's data sheet. Good for lengths of 64 to 512 tokens on one device."
)
_LEFT_HINT = (
    "Each P in turn is left out, the law is fitted to the other three and foretells it: root mean square of the "
    "relative error of the loss. An easy form to overfit loses here."
)


def answer(state: ScalingState) -> str:
    """What the chosen streams are worth, in one sentence, and on what that rests."""
    worth, streams = state.worth(), state.streams
    many = "1 stream" if streams == 1 else f"{streams} streams"
    ends = f"{worth.loss_lo:.3f} to {worth.loss_hi:.3f}"
    loss = f"<strong>{worth.loss:.3f}</strong> nats a token ({ends}) {hint(_LOSS_HINT)}"
    start = f"<strong>{size_text(state.parameters)}</strong> parameters with <strong>{many}</strong> reach"
    if streams == 1:
        said = f"{start} a loss of {loss}. Choose more streams to see what they are worth."
    elif state.form == "Chinchilla":
        said = f"{start} a loss of {loss}: this law knows no streams, so it gives them no worth."
    elif math.isfinite(worth.size):
        size = f"<strong>{size_text(worth.size)}</strong> ({_sizes(worth)})"
        said = f"{start} the loss of a model of {size} {hint(_SIZE_HINT)}, {loss}."
    else:
        said = f"{start} {loss}, which by this law no size reaches with one stream."
    return f'<p class="answer">{said}</p>{_beyond(state)}'


def _sizes(worth: scaling_data.Worth) -> str:
    hi = size_text(worth.size_hi) if math.isfinite(worth.size_hi) else "no bound"
    return f"{size_text(worth.size_lo)} to {hi}"


def _beyond(state: ScalingState) -> str:
    if state.streams <= STREAMS[-1]:
        return ""
    return (
        '<p class="beyond">Extrapolated: no loss is published beyond 8 streams. The interval takes the form of the law '
        "for true there: choose another form to see how far it moves.</p>"
    )


def basis(state: ScalingState) -> str:
    """What the marks and lines of the first figure are."""
    source = scaling_data.source_of(state.corpus)
    return (
        f'<p class="dim small">{evidence_mark("published")} marks: {html.escape(source)}, 42B tokens each. '
        f"{evidence_mark('modelled')} lines: L = {FORMS[state.form]} fitted to them, dotted where nothing was "
        "published; band: 90 % for one more run; arrow: the same loss with one stream. N counts what streams add "
        f"(prefixes, merging) and no embeddings. Verify: {VERIFY}</p>"
    )


def losses_html(state: ScalingState) -> str:
    """Published losses by size and streams, and the law's at the chosen number of streams."""
    published = scaling_data.losses(state.corpus)
    foretold = scaling_data.foretold(state.corpus, state.form, state.streams)
    rows = []
    for row in foretold.iter_rows(named=True):
        found = dict(published.filter(size=row["size"]).select("streams", "loss").iter_rows())
        law = f"{row['loss']:.4f}", f"{row['lo']:.3f} to {row['hi']:.3f}"
        rows.append((row["size"], *(f"{found[streams]:.4f}" for streams in STREAMS), *law))
    heads = ("model", *(f"–\u2060\u00a0{_streams(n)}" for n in STREAMS), f"○ law, P = {state.streams}", "90 % interval")
    return numbers(heads, rows)


def constants_html(state: ScalingState) -> str:
    """The fitted constants with intervals, and how well the law explains the losses."""
    law, rows = scaling_data.law(state.corpus, state.form), []
    for row in scaling_data.constants(state.corpus, state.form).iter_rows(named=True):
        name = f"{SYMBOLS.get(row['constant'], row['constant'])} {hint(row['meaning'])}"
        rows.append((name, display.number(row["value"], 4), f"{_short(row['lo'])} to {_short(row['hi'])}", row["unit"]))
    rows.append((f"R² {hint('share of the variance of the 24 losses that the law explains')}", f"{law.r2:.4f}", "", ""))
    reached = f"{law.status.reached} of {law.status.starts} starts of the search came to this minimum."
    return numbers(("constant", "value", "90 % interval", "unit"), rows) + f'<p class="dim small">{reached}</p>'


def _short(value: float) -> str:
    return "0" if 0 < value < 1e-6 else display.number(value)


def forms_html(state: ScalingState, ranked: pl.DataFrame) -> str:
    """The forms of law, that first which foretells an unseen number of streams best."""
    worst = max(ranked["left_out_error"])
    rows = []
    for at, row in enumerate(ranked.iter_rows(named=True)):
        width = round(90 * row["left_out_error"] / worst)
        bar = f'<span class="bar" style="width:{width}px"></span> {100 * row["left_out_error"]:.2g} %'
        best = ' <span class="dim small">best</span>' if at == 0 else ""
        name = f'{row["form"]}{best}<br><span class="dim small">{FORMS[row["form"]]}</span>'
        rows.append((name, bar, f"{row['r2']:.4f}"))
    heads = ("form", f"error at an unseen P {hint(_LEFT_HINT)}", "R²")
    return numbers(heads, rows, chosen=ranked["form"].to_list().index(state.form))


def ratios_html(state: ScalingState, published: pl.DataFrame) -> str:
    """The ratios of the figures at whole batches, the published ones below ours where there are any."""
    table, rows = state.ratio_table(), []
    for kind in ("memory", "latency"):
        for name in state.chosen_devices()[: 1 if kind == "memory" else None]:
            found = dict(table.filter(device=name).select("batch", f"{kind}_ratio").iter_rows())
            where = "any device" if kind == "memory" else name
            crossed = scaling_cost.crossover_text(state.choice(), name) if kind == "latency" else ""
            cells = (f"{display.number(found[batch])}×" for batch in BATCHES)
            rows.append((_label(f"○ {kind}", where), *cells, crossed))
        if published.height and state.shows_published_ratios():
            printed = dict(published.select("batch", kind).iter_rows())
            found = (f"{printed[batch]:g}×" if batch in printed else "" for batch in BATCHES)
            rows.append((_label(f"– {kind}", "published"), *found, ""))
    return numbers(("batch", *map(str, BATCHES), "as fast at"), rows)


def _streams(n: int) -> str:
    return f"P\u00a0=\u00a0{n}"


def _label(*parts: str) -> str:
    """Words that break at the commas between them and nowhere else."""
    return ", ".join(part.replace(" ", chr(0xA0)).replace("-", chr(0x2011)) for part in parts)


def cost_basis(state: ScalingState) -> str:
    """What the figures of cost rest on."""
    choice = state.choice()
    return (
        f'<p class="dim small">{evidence_mark("modelled")} {hint(_COST_HINT)} What parameters add to {choice.size} '
        f"with one stream to reach the loss of {choice.streams} streams on {CORPORA[choice.corpus]}, divided by what "
        f"the streams add; {_lengths(choice)}. Verify: {VERIFY}</p>"
    )


def _lengths(choice: scaling_cost.Choice) -> str:
    told = lambda of: f"{of[0]} tokens" if len(of) == 1 else "mean of 64 to 512 tokens"
    return f"{told(choice.inputs)} in, {told(choice.outputs)} out"


def parts_html(state: ScalingState, kind: str) -> str:
    """Memory ("bytes") or latency ("s") by part, a row a device and number of streams."""
    table, scale = state.part_table(), 2**30 if kind == "bytes" else 1e-3
    if kind == "bytes":
        table = table.unique("streams", keep="first", maintain_order=True)
    names = [name for name in PARTS if name.endswith(f"_{kind}")]
    several, rows = kind == "s" and len(state.chosen_devices()) > 1, []
    for row in table.iter_rows(named=True):
        label = _label(row["device"], f"P = {row['streams']}") if several else f"P = {row['streams']}"
        rows.append((label, *(_amount(row[name] / scale, name) for name in names)))
    unit = "GiB" if kind == "bytes" else "ms"
    return numbers((f"<span class='dim'>{unit}</span>", *(PARTS[name] for name in names)), rows)


def _amount(value: float, name: str) -> str:
    text = "0" if value == 0 else f"{value:.3g}" if value < 100 else display.number(round(value))
    return f"<strong>{text}</strong>" if PARTS[name] == "all" else text


def long_html() -> str:
    """The published scores of the model that was trained on 1T tokens."""
    table = scaling_data.long_training()
    rows = [(html.escape(name), *(f"{value:.1f}" for value in values)) for name, *values in table.iter_rows()]
    return numbers(("1.8B, 1T tokens, %", *map(_streams, STREAMS)), rows)


def scores_html() -> str:
    """The published averages on code by size and streams."""
    table = scaling_data.scores().pivot("streams", index="size", values="value", maintain_order=True)
    rows = [(size, *(f"{value:.1f}" for value in values)) for size, *values in table.iter_rows()]
    return numbers(("42B tokens, %", *map(_streams, STREAMS)), rows)


def trained_html(rows: pl.DataFrame) -> str:
    """The claims that were measured here."""
    told = numbers(("claim", "published", "here", "verdict"), [_claim(row) for row in rows.iter_rows(named=True)])
    return f'<div class="trained">{told}</div>'


def _claim(row: dict[str, Any]) -> tuple[str, ...]:
    link = f'<a href="claims?claim={html.escape(row["claim_id"], quote=True)}">{html.escape(row["statement"])}</a>'
    here = f"{display.EVIDENCE[row['evidence']]} {html.escape(ours(row))}"
    published, chip = html.escape(row["published_text"]), display.verdict_chip(row["verdict"])
    below = f'<div class="below">published {published}<br>here {here}<br>{chip}</div>'  # on a phone, for the columns
    return f'<div style="min-width:13rem">{link}{below}</div>', published, here, chip


def parts_head(state: ScalingState) -> str:
    """What the tables of parts are of."""
    choice = state.choice()
    return (
        f'<p class="dim small">{evidence_mark("modelled")} {hint(_COST_HINT)} {choice.size}, batch {state.batch}, one '
        f"generation: {_lengths(choice)}. The prompt is read once, then each token is written in a pass of its own. "
        "Cache: keys and values of all streams; merging: the small network that weighs the streams; vocabulary: "
        "embedding and head.</p>"
    )


def scores_basis() -> str:
    """Where the scores come from."""
    return (
        f'<p class="dim small">{evidence_mark("published")} tables 2 and 4 of the paper: averages of HumanEval(+) and '
        "MBPP(+) of models trained on 42B tokens of code, and scores of one model trained on 1T tokens.</p>"
    )
