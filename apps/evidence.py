"""The evidence for one claim: what was published, what was found, how it was judged, how to do it again."""

import html
import json
from typing import Any

import polars as pl

from apps.style import DIM, LINE, definitions, evidence_mark, runs_link
from workbench import display
from workbench.report import ours
from workbench.signature import signature_svg

STYLE = f"""
section{{border-top:1px solid {LINE};padding:.9rem 0 .5rem}}
section h2{{font-size:.95rem}}
.statement{{font-size:1.15rem;line-height:1.35;font-weight:600;margin:.7rem 0 .5rem}}
.flag{{display:inline-block;border:1.5px solid #946100;color:#7A5000;border-radius:6px;padding:0 .45em;font-size:13px}}
table.conditions{{width:100%;margin:.4rem 0}}
.conditions th,.conditions td{{padding:.25rem .6rem .25rem 0;border-bottom:1px solid {LINE};vertical-align:top}}
.conditions .differs{{font-weight:600}}
.key{{color:{DIM}}}
"""


def evidence(row: dict[str, Any], frame: pl.DataFrame) -> str:
    """The evidence panel of a claim, given as a row of the scoreboard; `frame` holds that row alone."""
    sections = (_published, _here, _judged, _conditions, _again)
    return _head(row) + _figure(frame) + "".join(section(row) for section in sections)


def _head(row: dict[str, Any]) -> str:
    stale = ' <span class="flag">stale: reworded since the run, judged again</span>' if row["stale"] else ""
    return (
        f'<div class="dim small">{html.escape(row["claim_id"])}</div>'
        f'<p class="statement">{html.escape(row["statement"])}</p>'
        f"<p>{display.verdict_chip(row['verdict'])}{stale}</p><p>{html.escape(_sentence(row['verdict_reason']))}</p>"
    )


def _sentence(text: str | None) -> str:
    text = (text or "").strip()
    return text[:1].upper() + text[1:] + ("" if not text or text.endswith((".", "?")) else ".")


def _figure(frame: pl.DataFrame) -> str:
    if frame["ratio"][0] is None:
        return ""
    return f'<div style="margin:.4rem 0">{signature_svg(frame, width=460, labels=False)}</div>'


def _published(row: dict[str, Any]) -> str:
    flag = "" if row["verified"] else ' <span class="flag">not verified: not checked against the paper</span>'
    facts = {
        "figure": f"<strong>{html.escape(row['published_text'])}</strong>{flag}",
        "where": html.escape(row["source"]),
        "hardware": html.escape(row["hardware_published"] or ""),
        "scope": html.escape(row["scope"] or ""),
        "erratum": html.escape(row["erratum"] or ""),
    }
    return f"<section><h2>Published</h2>{definitions(facts)}</section>"


def _here(row: dict[str, Any]) -> str:
    if row["run_id"] is None:
        why = row["not_testable"] or f"No run has tested it yet; the {row['preset']} preset does"
        return f"<section><h2>Here</h2><p>{html.escape(_sentence(why))}</p></section>"
    both = row["measured"] is not None and row["modelled"] is not None
    modelled = display.interval(row["modelled"], row["modelled_lo"], row["modelled_hi"], row["unit"] or "")
    seconds = f"{display.number(row['seconds'])} s for the whole study" if row["seconds"] is not None else ""
    facts = {
        "value": f"<strong>{html.escape(ours(row))}</strong>{_samples(row['n_seeds'])}",
        "evidence": evidence_mark(row["evidence"]),
        "modelled": html.escape(modelled) if both else "",
        "ratio": f"{display.number(row['ratio'])} of the published figure" if row["ratio"] is not None else "",
        "run": f'<a href="{runs_link(row["run_id"])}">{html.escape(row["run_id"])}</a>',
        "when": html.escape((row["created_at"] or "")[:19] + " UTC"),
        "took": seconds,
    }
    return f"<section><h2>Here</h2>{definitions(facts)}</section>"


def _samples(n: int | None) -> str:
    return f" <span class='dim'>(95 % interval over {n})</span>" if n and n > 1 else ""


def _judged(row: dict[str, Any]) -> str:
    if row["region_lo"] is None:
        return ""
    failed = {True: "failed, as it must", False: "passed, so the check proves nothing", None: "was not run"}
    control = failed[row["negative_control_failed"]]
    if row["control"] is not None:
        control = f"{display.number(row['control'])}: {control}"
    facts = {
        "agrees": f"{_region(row['region_lo'], row['region_hi'])} {html.escape(row['unit'] or '')}",
        "tolerance": html.escape(row["tol_reason"] or "none: exact"),
        "kind of check": html.escape(row["kind"].replace("_", " ")),
        "negative control": f'<span title="the same quantity from a deliberately broken twin">{control}</span>',
    }
    return f"<section><h2>How it is judged</h2>{definitions(facts)}</section>"


def _region(lo: float, hi: float) -> str:
    if lo == hi:
        return f"exactly {display.number(lo)}"
    if hi == float("inf"):
        return f"at least {display.number(lo)}" if lo else "above 0"
    return f"at most {display.number(hi)}" if lo == float("-inf") else f"{display.number(lo)} to {display.number(hi)}"


def _conditions(row: dict[str, Any]) -> str:
    """Conditions and scale side by side; what differs is set in bold."""
    there = json.loads(row["conditions"] or "{}") | json.loads(row["published_scale"] or "{}")
    here = json.loads(row["conditions_here"] or "{}")
    if not there and not here:
        return ""
    rows = ""
    for name in dict.fromkeys([*there, *here]):
        a, b = (str(facts.get(name, "–")) for facts in (there, here))
        mark = ' class="differs"' if name in there and name in here and a != b else ""
        cells = "".join(f"<td>{html.escape(text)}</td>" for text in (a, b))
        rows += f'<tr{mark}><td class="key">{html.escape(name)}</td>{cells}</tr>'
    head = "<tr><th></th><th>published</th><th>here</th></tr>"
    return f'<section><h2>Conditions</h2><table class="conditions">{head}{rows}</table></section>'


def _again(row: dict[str, Any]) -> str:
    if row["not_testable"]:
        return ""
    command = f"workbench reproduce {row['paper']} --preset {row['preset']}"
    return f"<section><h2>Do it again</h2><pre>{html.escape(command)}</pre></section>"
