"""The frame of every page: title, navigation, the bar of controls, one sentence that says what the page answers."""

import contextlib
import html
import io
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

import panel as pn
import panel_material_ui as pmui
import param
import polars as pl
from bokeh.models import ColumnDataSource

from apps.loading import TEMPLATE
from apps.style import ACCENT, CSS, FONT, INK, LINE, NAV

PAGES = {
    "./": "Scoreboard",
    "claims": "Is it what the paper said?",
    "rnn": "When does parallel-in-time pay?",
    "scaling": "What are P parallel streams worth?",
    "runs": "Runs",
    "compare": "Compare two runs",
    "store": "Store",
}
_MENU = (  # the navigation: questions, and the pages of methods under the one that they answer
    ("", ("./",)),
    ("Does it work?", ("rnn",)),
    ("What does it cost?", ("scaling",)),
    ("", ("claims", "runs", "compare", "store")),
)
METHODS = {"pararnn": "rnn", "parscale": "scaling"}  # the page of a paper's method
_SHORT = {"rnn": "Parallel RNNs", "scaling": "Scaling", "compare": "Compare"}  # what the navigation calls a page
_BAR = {
    "backgroundColor": "#FFFFFF", "color": INK, "boxShadow": "none", "borderBottom": f"1px solid {LINE}",
    "& .title, & a, & h1, & h3, & h5, & .MuiTypography-root": {"color": f"{INK} !important", "fontSize": "1.1rem"},
}  # fmt: skip
_WIDE = "(min-width: 600px)"  # below it the bar of controls is a drawer
_THEME = {
    "palette": {
        "primary": {"main": ACCENT},
        "text": {"primary": INK},
        "background": {"default": "#F7F8FA", "paper": "#FFFFFF"},
        "contrastThreshold": 4.5,
    },
    "typography": {"fontFamily": FONT, "button": {"textTransform": "none"}},
    "shape": {"borderRadius": 8},
    "components": {"MuiAppBar": {"styleOverrides": {"root": _BAR}}},
}
_CARD = {"border": f"1px solid {LINE}", "borderRadius": "12px", "boxShadow": "none", "padding": "16px 18px"}


def page(
    active: str,
    sentence: str,
    controls: Sequence[Any],
    main: Sequence[Any],
    aside: Any = None,
    narrow: Callable[[bool], object] = lambda narrow: None,
) -> pmui.Page:
    """One page: `active` is its key in `PAGES`, `controls` stand in the left bar, `aside` is a drawer on the right.

    `narrow` is told whether the window is as narrow as a phone, first when the page is there.
    """
    title = PAGES[active]
    head = f"<header><h1>{html.escape(title)}</h1><p class='dim'>{html.escape(sentence)}</p></header>"
    content = [markup(head), *main]
    frame = pmui.Page(
        title="Parallel workbench",
        meta_title=f"{title} · Parallel workbench",
        template=TEMPLATE,
        sidebar=[markup(_navigation(active), NAV), *controls],
        main=[pmui.Column(*content, *([aside] if aside is not None else []), sizing_mode="stretch_width", sx=_SPACING)],
        sidebar_width=292,
        sidebar_resizable=False,
        theme_toggle=False,
        theme_config=_THEME,
        theme="default",
        main_width=1320,
        app_bar_width="100%",
        sidebar_open="Mobi" not in pn.state.headers.get("User-Agent", ""),
        header=[switch := _width_switch()],
    )

    def fold(event: param.parameterized.Event) -> None:
        # once the page is there: a change of it does not reach a browser that is still mounting it
        def apply() -> None:
            frame.sidebar_open = event.new is switch.large
            narrow(event.new is switch.small)

        pn.state.onload(apply)

    switch.param.watch(fold, "current")
    return frame


def _navigation(active: str) -> str:
    """The links to all pages, those of methods in a list under their question."""

    def link(url: str) -> str:
        here = " aria-current=page" if url == active else ""
        return f'<a href="{url}"{here}>{html.escape(_SHORT.get(url, PAGES[url]))}</a>'

    parts = []
    for at, (question, urls) in enumerate(_MENU):
        links = "".join(map(link, urls))
        label = f'<p id="menu{at}">{html.escape(question)}</p>'
        parts.append(f'{label}<div role="group" aria-labelledby="menu{at}">{links}</div>' if question else links)
    return f'<nav aria-label="Pages">{"".join(parts)}</nav>'


def _width_switch() -> pmui.BreakpointSwitcher:
    """Nothing to see: it tells this side whether the window is as narrow as a phone, where the drawer starts closed."""
    small, large = (pn.Spacer(width=0, height=0, margin=0) for _ in range(2))
    return pmui.BreakpointSwitcher(small=small, large=large, media_query=_WIDE, width=0, height=0, margin=0)


def sync_url(state: param.Parameterized, names: dict[str, str]) -> None:
    """Keep filters and selection in the address, and take them from it.

    `?run=x` is understood as a list of one, `?run=x&run=y` as a list of two.
    """
    address = pn.state.location
    if address is None:
        return

    def mend(wrong: dict[str, Any]) -> None:
        for name, value in wrong.items():
            if isinstance(state.param[name], param.List) and isinstance(value, str):
                value = parse_qs((address.search or "").removeprefix("?")).get(names[name], [value])
            with contextlib.suppress(ValueError):  # an address is anybody's text: what does not fit is left out
                state.param.update({name: value})

    address.sync(state, names, on_error=mend)


_SPACING = {"padding": {"xs": "12px", "md": "20px 24px"}, "gap": "16px"}


def markup(text: Any, *styles: str, **params: Any) -> pn.pane.HTML:
    """A piece of HTML in the look of the pages."""
    return pn.pane.HTML(text, stylesheets=[CSS, *styles], sizing_mode="stretch_width", margin=0, **params)


def card(*objects: Any, title: str = "", tools: Sequence[Any] = ()) -> pmui.Paper:
    """A white card with a heading and, beside it, its buttons."""
    head = pmui.Row(
        markup(f"<h2>{html.escape(title)}</h2>", min_width=min(10 * len(title), 260)), *tools,
        sizing_mode="stretch_width",
        sx={"alignItems": "center", "flexWrap": "wrap", "gap": "6px"},
    )  # fmt: skip
    return pmui.Paper(
        *([head] if title else []), *objects, elevation=0, sizing_mode="stretch_width", margin=0, sx=_CARD
    )


def group(title: str, *controls: Any) -> pmui.Column:
    """A labelled group in the bar of controls."""
    head = markup(f'<h2 style="font-size:.95rem;padding:6px 12px 0">{title}</h2>')
    return pmui.Column(head, *controls, sizing_mode="stretch_width")


def reset_button(reset: Callable[[], None]) -> pmui.Button:
    """The button below the filters that lets everything through again."""
    button = pmui.Button(label="Reset filters", icon="restart_alt", variant="text", size="small")
    button.on_click(lambda _: reset())
    return button


def copy_button(text: Callable[[], str]) -> tuple[pmui.Button, Callable[[], None]]:
    """A button that copies `text()` in the browser, and the function that brings its text up to date."""
    source = ColumnDataSource({"text": [text()]})
    button = pmui.Button(label="Copy as Python", icon="content_copy", variant="text", size="small", margin=0)
    button.js_on_click(args={"source": source}, code="navigator.clipboard.writeText(source.data.text[0])")

    def renew() -> None:
        if source.data["text"] != [text()]:
            source.data = {"text": [text()]}

    return button, renew


def downloads(rows: Callable[[], pl.DataFrame], name: str) -> list[pmui.FileDownload]:
    """Two buttons that give `rows()` as a file; the frame is written only when one is pressed."""
    return [_download(rows, name, kind) for kind in ("csv", "parquet")]


def _download(rows: Callable[[], pl.DataFrame], name: str, kind: str) -> pmui.FileDownload:
    def write() -> io.BytesIO:
        buffer, frame = io.BytesIO(), rows()
        if kind == "csv":  # which has no lists
            frame.with_columns(pl.col(pl.List(pl.String)).list.join(" ")).write_csv(buffer)
        else:
            frame.write_parquet(buffer)
        buffer.seek(0)
        return buffer

    label = {"csv": "CSV", "parquet": "Parquet"}[kind]
    look: dict[str, Any] = {"embed": False, "auto": True, "size": "small", "margin": 0}
    button = pmui.FileDownload(callback=write, filename=f"{name}.{kind}", label=label, **look)
    button.variant = "text"  # given to the constructor it makes panel-material-ui warn about itself
    return button


def trouble(error: Exception) -> pmui.Alert:
    """What happened and what to do, instead of a page that does not come."""
    return pmui.Alert(
        title="This page could not be made",
        object=f"{html.escape(str(error))}. Mend it and reload; `workbench doctor` looks at the whole installation.",
        severity="error",
        sizing_mode="stretch_width",
    )


def empty(what: str, command: str) -> pn.pane.HTML:
    """The state of a page that has nothing to show yet: what it would show, and the command that fills it."""
    return markup(
        f'<div style="text-align:center;padding:2.6rem 1rem"><h2>{html.escape(what)}</h2>'
        f'<p class="dim">Fill the store with</p><p><code>{html.escape(command)}</code></p>'
        '<p class="dim">and it appears here without a reload.</p></div>'
    )
