"""What stands on the screen until a page is there: its outline, then why it takes long, then the page."""

from apps.style import DIM, FONT, INK, LINE

_LOOK = f"""
#loader{{position:fixed;inset:0;z-index:100000;background:#F7F8FA;font:15px/1.5 {FONT};color:{DIM}}}
#loader .top{{height:68px;padding:20px 24px;box-sizing:border-box;background:#fff;border-bottom:1px solid {LINE}}}
#loader .top{{font-size:1.1rem;font-weight:650;color:{INK}}}
#loader .side{{position:absolute;top:69px;bottom:0;width:292px;background:#fff;border-right:1px solid {LINE}}}
#loader .body{{position:absolute;top:69px;left:293px;right:0;padding:24px}}
#loader .block{{border-radius:12px;background:#E9EBEF;margin-top:16px;animation:loader-breath 1.6s infinite}}
@keyframes loader-breath{{50%{{opacity:.45}}}}
@media(max-width:599px){{#loader .side{{display:none}}#loader .body{{left:0;padding:16px}}}}
@media(prefers-reduced-motion:reduce){{#loader .block{{animation:none}}}}
"""

# The outline goes once the page has drawn itself. A page that cannot come says so instead of standing still for ever.
_WATCH = """
const loaderBegan = performance.now()
function watchLoader() {
  const loader = document.getElementById('loader'), told = document.getElementById('loader-told')
  const seconds = (performance.now() - loaderBegan) / 1000
  const root = typeof Bokeh !== 'undefined' && Bokeh.index && Bokeh.index.roots[0]
  if (root && (root.is_idle || seconds > 120)) return loader.remove()
  if (_wsError) told.textContent =
    'The connection to the server was lost. See whether "workbench dashboard" still runs, then reload.'
  else if (typeof Bokeh === 'undefined') told.textContent =
    'The server did not send the scripts of this page. See whether "workbench dashboard" still runs, then reload.'
  else if (seconds > 8) told.textContent = 'Still loading: this machine is busy.'
  setTimeout(watchLoader, 100)
}
watchLoader()
"""

# Scripts stand below the outline and not in the head, so that the outline is painted while they are fetched.
TEMPLATE = f"""{{% extends "base.html" %}}
{{% block loader_css %}}{{% raw %}}{_LOOK}{{% endraw %}}{{% endblock %}}
{{% block js_resources %}}{{% endblock %}}
{{% block loader %}}
<div id="loader" role="status">
  <div class="top">Parallel workbench</div><div class="side"></div>
  <div class="body"><span id="loader-told">Loading {{{{ (title or "the page").split(" · ")[0] | e }}}} …</span>
    <div class="block" style="height:120px"></div><div class="block" style="height:320px"></div></div>
</div>
{{{{ bokeh_js if bokeh_js }}}}
{{% endblock %}}
{{% block loader_script %}}<script>{{% raw %}}{_WATCH}{{% endraw %}}</script>{{% endblock %}}
"""
