# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # When does parallel-in-time pay?
#
# *Danieli, Rodríguez, Sarabia, Suau, Zappella: ParaRNN: Unlocking Parallel Training of Nonlinear RNNs for Large Language
# Models, 2025, [arXiv 2510.21450](https://arxiv.org/abs/2510.21450).*
#
# A nonlinear recurrence $h_t = f(h_{t-1}, x_t)$ is one system of equations in all its states. Newton's method solves it;
# each iteration is a linear recurrence, which a parallel scan solves; and because the cells are built so that
# $\partial f/\partial h$ is diagonal (ParaGRU) or made of 2×2 blocks (ParaLSTM), the scan is cheap. Four questions:
# how many iterations does it take, is the answer the same, is it faster, and can such cells still do what linear ones
# cannot? And one question over them all: *when does it pay?*

# %%
import time

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from workbench import data, display, rnn, store
from workbench.scoreboard import scoreboard
from workbench.study import mean_interval, slugify

hv = display.holoviews()
COLOURS = dict(zip(("ParaGRU", "ParaLSTM"), display.CATEGORICAL, strict=False))

# %% [markdown]
# ## How many iterations?
#
# The paper's figure 4 says three to four, at any length, to machine precision. Inputs here are the bytes of Python's own
# sources, embedded; the cells are fresh, by the paper's recipe.

# %%
corpus = data.stdlib_text(split="train", limit_bytes=2_000_000)
x = jnp.asarray(data.embed(corpus.windows(2048, 8, seed=0), 64))
print(corpus)

solved = {}
for name in ("ParaGRU", "ParaLSTM"):
    cell = getattr(rnn, name)(input_dim=64, hidden_dim=64, heads=4, clip_at=0.5)
    solved[name] = rnn.solve(cell, cell.init(jax.random.key(0)), x, solver=rnn.Newton(steps=6), on_failure="return")
    print(name, solved[name].stats.history.max(axis=0)[:7])

# %%
hv.Overlay(
    [
        hv.Curve(
            (range(7), np.asarray(result.stats.history).max(axis=0)[:7]), "iteration", "largest residual", label=name
        ).opts(color=COLOURS[name], line_width=2)
        for name, result in solved.items()
    ]
    + [hv.HLine(1e-5).opts(color="#1A1A1A", line_dash="dashed", line_width=1)]
).opts(
    logy=True,
    width=700,
    height=350,
    legend_position="top_right",
    title="Residual by Newton iteration, 2048 steps, float32",
)

# %% [markdown]
# Below the dashed line is single precision; both cells are there after three or four iterations. What the figure of the
# paper also shows, and ours does not: its first iteration *raises* the residual of a fresh ParaLSTM. Here it does so only
# with recurrent weights eight times as large as the recipe's, and then four iterations are no longer enough. The
# scoreboard below says so.

# %% [markdown]
# ## Is it the same answer?
#
# The states must equal those of the serial loop, and the gradient, which is one *reversed* linear scan and never a
# derivative of Newton's method, must equal backpropagation through time.

# %%
cell = rnn.ParaLSTM(input_dim=64, hidden_dim=64, heads=4)
params = cell.init(jax.random.key(0))


def loss(params, solver):
    return (rnn.solve(cell, params, x[:, :256], solver=solver).outputs ** 2).mean()


parallel = jax.grad(loss)(params, rnn.Newton())
through_time = jax.grad(loss)(params, rnn.Sequential(adjoint="bptt"))
errors = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max() / jnp.abs(b).max()), parallel, through_time)
pl.DataFrame({"parameter": list(errors), "relative difference of the gradients": list(errors.values())})

# %% [markdown]
# ## Is it faster?
#
# Than what? The paper's 665× is against a loop over the steps in the framework, and nearly all of that ratio is the cost
# of dispatching 512 steps. Both comparisons, always:

# %%
cell = rnn.ParaGRU(input_dim=16, hidden_dim=16)
params = cell.init(jax.random.key(0))
line = jax.random.normal(jax.random.key(1), (1, 512, 16))
step = jax.jit(lambda params, h, x_t: cell.step(params, h, cell.project(params, x_t)))


def loop():
    h = jnp.zeros((1, 16))
    for t in range(512):
        h = step(params, h, line[:, t])
    return h


newton = jax.jit(lambda p: rnn.solve(cell, p, line, solver=rnn.Newton(steps=3)).states)
scan = jax.jit(lambda p: rnn.solve(cell, p, line, solver=rnn.Sequential()).states)
ways = {"loop in Python": loop, "Newton, K = 3": lambda: newton(params), "lax.scan": lambda: scan(params)}
seconds = {}
for name, way in ways.items():
    jax.block_until_ready(way())
    taken = []
    for _ in range(7):
        began = time.perf_counter()
        jax.block_until_ready(way())
        taken.append(time.perf_counter() - began)
    seconds[name] = float(np.median(taken))
pl.DataFrame(
    {
        "512 steps by": list(seconds),
        "ms": [1e3 * s for s in seconds.values()],
        "times as fast as the loop": [seconds["loop in Python"] / s for s in seconds.values()],
        "times as fast as lax.scan": [seconds["lax.scan"] / s for s in seconds.values()],
    }
)

# %% [markdown]
# On a CPU the compiled loop wins: it has no dispatch to save, and there are no idle lanes to fill. The case for Newton is
# a device on which $T \cdot N$ is far below what fills it.

# %% [markdown]
# ### What the paper's ratio is made of
#
# The study times the same states five ways. Each bar of this chain is the factor from one way to the next: what slicing
# costs, what dispatching a step costs, what XLA gains by compiling the loop into one kernel, and, last, what Newton's
# method itself gains or loses. The dashboard draws it on the page *Parallel RNNs*; here are the numbers of the newest run.

# %%
log = store.open()
rows = scoreboard(log, ["pararnn"])
if rows["run_id"].drop_nulls().is_empty():
    import workbench

    rows = workbench.reproduce(["pararnn"])
    log.refresh()
timed = log.sql(
    """
    select split_part(name, '/', 3) as cell, split_part(name, '/', 2) as way, median(value) as seconds
    from metrics
    where name like 'seconds/%' and run_id = (select max(run_id) from metrics where name like 'seconds/%')
    group by all
    order by cell, seconds desc
    """
)
timed.with_columns(
    (pl.col("seconds").first().over("cell") / pl.col("seconds")).alias("times as fast as the slowest"),
    (pl.col("seconds").filter(pl.col("way") == "scan").first().over("cell") / pl.col("seconds")).alias(
        "times as fast as lax.scan"
    ),
)

# %% [markdown]
# ### What would a GPU do?
#
# A cost model with two unknowns, the launches a step of each cell, **fitted** on the two figures that the paper prints
# (665× and 447× at 512 steps on an A100). What it was not fitted on is listed beside its prediction. The curves show why
# the answer to "is it faster" is a size: the ratio rises with the length while launches dominate, and saturates where
# steps × lanes fill the card.

# %%
fitted = rnn.fit_cost()
print(fitted)

# %%
lengths = 2 ** np.arange(6, 21)
hv.Overlay(
    [
        hv.Curve(
            (lengths, np.asarray(rnn.speed_up(fitted.models["ParaGRU"], lengths, lanes))),
            "steps",
            "speed-up over step by step (modelled)",
            label=f"{lanes:,} lanes",
        ).opts(color=colour, line_width=2)
        for lanes, colour in zip((64, 1024, 16384, 262144), display.CATEGORICAL, strict=False)
    ]
    + [hv.HLine(1).opts(color="#1A1A1A", line_dash="dashed", line_width=1)]
).opts(
    logx=True,
    logy=True,
    width=700,
    height=350,
    legend_position="right",
    title="ParaGRU on an A100, a model fitted on two published figures",
)

# %% [markdown]
# ### What pays here?
#
# `rnn.Auto()`, the default, answers from what was measured on this machine (`workbench calibrate`; before that, from
# facts that ship with the package, and it says which).

# %%
tiny = rnn.ParaGRU(input_dim=1, hidden_dim=1)
for length in (512, 131_072):
    result = rnn.solve(tiny, tiny.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (1, length, 1)))
    print(f"{length:7,} steps: {result.solver}")

# %% [markdown]
# ## Where does it end?
#
# Newton's method parallelises what is predictable. For random networks $s' = g W \tanh(s) + u$ the gain $g$ leads from
# contraction into chaos; the largest Lyapunov exponent $\lambda$ tells the two apart. Every point is one network and one
# length; the shaded part is where a solution in double precision can be expected.

# %%
sweep = log.sql(
    """
    select step, name, value from metrics
    where name like 'sweep/%' and run_id = (select max(run_id) from metrics where name like 'sweep/%')
    """
).pivot(on="name", index="step", values="value")
solvers = [name.removeprefix("sweep/iterations/") for name in sweep.columns if name.startswith("sweep/iterations/")]
points = pl.concat(
    [
        sweep.select(
            pl.lit(solver).alias("solver"),
            pl.col("sweep/gain").alias("g"),
            pl.col("sweep/length").cast(pl.Int64).alias("length"),
            pl.col("sweep/seed").cast(pl.Int64).alias("seed"),
            pl.col("sweep/lyapunov").alias("lyapunov"),
            pl.col(f"sweep/iterations/{solver}").fill_nan(None).is_not_null().alias("converged"),
            pl.col(f"sweep/iterations/{solver}").fill_nan(None).fill_null(200.0).alias("iterations"),
        )
        for solver in solvers
    ]
)
columns = {name: points[name].to_numpy() for name in points.columns}
rnn.plot_iterations(columns)

# %% [markdown]
# A single solve can be held against the same theory: `certify` says how far its states may be from the solution, whether
# the recurrence was predictable, and what the theory says about the conditioning of the system.

# %%
rnn.solve(cell, params, line, solver=rnn.Newton()).certify()

# %% [markdown]
# ## What can such cells learn?
#
# Parity of a bit string is what a linear recurrence of this kind cannot track. The study trains both on five seeds; here
# are its accuracies by step, read from the store, with everything else that was found.

# %%
run_id = log.sql("select max(run_id) as run from metrics where name like 'accuracy/parity/%'")["run"][0]
accuracy = log.sql(
    """
    select split_part(name, '/', 3) as model, step, avg(value) as mean, min(value) as lo, max(value) as hi
    from metrics
    where run_id = ? and name like 'accuracy/parity/%'
    group by all
    order by all
    """,
    [run_id],
)
labels = {
    "paragru": ("ParaGRU", display.PALETTE["measured"]),
    "paralstm": ("ParaLSTM", display.CATEGORICAL[1]),
    "linear-gru": ("linear GRU", display.PALETTE["baseline"]),
}
layers = []
for (model,), group in accuracy.group_by(["model"], maintain_order=True):
    label, colour = labels.get(model, (model, display.PALETTE["baseline"]))
    columns = [group[c].to_numpy() for c in ("step", "mean", "lo", "hi")]
    band = (columns[0], columns[2], columns[3])
    layers.append(hv.Area(band, "optimiser step", ["lowest", "highest"]).opts(color=colour, alpha=0.2, line_alpha=0))
    layers.append(hv.Curve((columns[0], columns[1]), "optimiser step", "accuracy (%)", label=label).opts(color=colour))
hv.Overlay(layers).opts(
    width=700,
    height=350,
    legend_position="right",
    ylabel="accuracy (%)",
    title="Parity: mean of five seeds, band from worst to best",
)

# %% [markdown]
# ### The table, and what the diagonal restriction costs
#
# Six tasks, one layer of each kind, five seeds: the full study's accuracy on held-out strings at the end of training, with
# the paper's figure beside it. Its trainings may be hundreds of times longer than ours. What our budget shows: only cells
# that feed a state back *through a nonlinearity* learn parity, and only **dense** ones learn the group $A_5$, on which
# ParaGRU and ParaLSTM fail, as in the paper. On cycle navigation and modular arithmetic they fail here already,
# where the paper's long training helps them.

# %%
NOTHING_YET = hv.Div("This figure needs the full study: <code>workbench reproduce pararnn --preset full</code>.")
TASKS = ("MQAR", "k-hop", "parity", "cycle navigation", "modular arithmetic", "A5")
MODELS = ("dense GRU", "dense LSTM", "ParaLSTM", "ParaGRU", "linear GRU", "Mamba2", "Transformer")
ended = log.sql(
    """
    select split_part(name, '/', 2) as task, split_part(name, '/', 3) as model, avg(last) as mean
    from (
        select name, arg_max(value, step) as last
        from metrics
        where run_id = (select max(run_id) from metrics where name like 'accuracy/a5/%') and name like 'accuracy/%'
        group by name
    )
    group by all
    """
)
printed = pl.concat(
    [data.published(f"pararnn-{name}").select("task", "model", "accuracy") for name in ("synthetic", "state-tracking")]
).with_columns(pl.col("task").str.to_lowercase(), pl.col("model").replace("dense GRU or LSTM", "dense GRU"))
cells = []
for task in TASKS:
    for model in MODELS:
        ours = ended.filter(task=slugify(task), model=slugify(model))["mean"]
        paper = printed.filter(task=task.lower(), model=model)["accuracy"]
        if len(ours):
            cells.append((task, model, ours[0], f"{ours[0]:.0f}" + (f"  ({paper.max():.0f})" if len(paper) else "")))


def labels(dark):
    some = [(task, model, text) for task, model, mean, text in cells if (mean < 60) == dark]
    return hv.Labels(some, ["task", "model"], "text").opts(
        text_color="white" if dark else "black", text_font_size="10pt"
    )


(
    hv.HeatMap([cell[:3] for cell in cells], ["task", "model"], "accuracy (%)").opts(
        cmap=display.SEQUENTIAL,
        clim=(0, 100),
        colorbar=True,
        width=760,
        xrotation=20,
        height=380,
        invert_yaxis=True,
        xlabel="",
        ylabel="",
        tools=["hover"],
        title="Accuracy in %, mean of five seeds; in brackets what the paper prints",
    )
    * labels(dark=True)
    * labels(dark=False)
    if cells
    else NOTHING_YET
)

# %% [markdown]
# ## Language, at one budget
#
# Five models of about 0.85 M parameters read the same 270 kB of Python sources, byte by byte, in the same order. With so
# little text the convolution and the recurrence are a better prior than attention: Mamba2 leads as at 400 M parameters and
# ten billion tokens, but the Transformer, second in the paper, is **last** here.

# %%
bits = log.sql(
    """
    select split_part(name, '/', 2) as model, value as bits
    from metrics
    where run_id = (select max(run_id) from metrics where name like 'bytes/transformer/bits-per-byte/%')
      and name like 'bytes/%/bits-per-byte/%' and not regexp_matches(name, 'paragru-')
    order by model, name
    """
)
names = {slugify(model): model for model in MODELS}
known = {
    names[model]: mean_interval(group["bits"].to_numpy())
    for (model,), group in bits.group_by(["model"], maintain_order=True)
}
known = dict(sorted(known.items(), key=lambda item: item[1].value))
means = [(model, i.value) for model, i in known.items()]
intervals = [(model, i.value, i.value - i.lo, i.hi - i.value) for model, i in known.items()]
seeds = [(names[model], value) for model, value in bits.rows()]
figure = hv.Overlay(
    [
        hv.Scatter(means, "model", "bits").opts(color=display.PALETTE["measured"], size=9),
        hv.ErrorBars(intervals, "model", ["bits", "below", "above"]).opts(line_width=2),
        hv.Scatter(seeds, "model", "bits").opts(color=display.PALETTE["baseline"], size=5, alpha=0.6),
    ]
)
figure.opts(
    width=700,
    height=330,
    ylabel="bits a byte, held-out files",
    xlabel="",
    title="Mean and 95 % interval over five seeds; each seed in grey",
) if seeds else NOTHING_YET

# %% [markdown]
# ## Do three iterations suffice to train?
#
# ParaGRU trained on the same bytes with exactly $K$ Newton iterations, held against training with the exact solution. Even
# one iteration ends within a few ten-thousandths of a bit: the states that it gets wrong are few, and the model learns
# with them. From two on what is left is rounding.

# %%
curves = log.sql(
    """
    select coalesce(nullif(regexp_extract(name, 'paragru-([^/]+)', 1), ''), 'exact') as k, step, value as loss
    from metrics
    where run_id = (select max(run_id) from metrics where name like 'bytes/paragru-1/%')
      and regexp_matches(name, 'bytes/paragru(-[^/]+)?/loss/0')
    order by k, step
    """
)
exact = curves.filter(k="exact").select("step", pl.col("loss").alias("reference"))
away = (
    curves.filter(pl.col("k") != "exact")
    .join(exact, on="step")
    .with_columns((pl.col("loss") - pl.col("reference")).abs().clip(1e-8).alias("gap"))
)


def by_iterations(rows, column, label, **options):
    """A curve for each K."""
    groups = rows.group_by(["k"], maintain_order=True)
    return hv.Overlay(
        [
            hv.Curve((g["step"], g[column]), "optimiser step", label, label=f"K = {k}").opts(color=c, line_width=2)
            for ((k,), g), c in zip(groups, display.CATEGORICAL, strict=False)
        ]
    ).opts(width=460, height=330, legend_position="right", **options)


(
    hv.Layout(
        [
            by_iterations(curves, "loss", "training loss (nats a byte)", title="Training by iterations"),
            by_iterations(away, "gap", "distance (nats a byte)", title="Distance to the exact solution", logy=True),
        ]
    ).opts(shared_axes=False)
    if len(away)
    else NOTHING_YET
)

# %% [markdown]
# ## Every claim
#
# Published figure as the dashed tick, ours as the marker, tolerance as the band, on one axis; then the verdict of each
# claim that was tested here, negative ones included.

# %%
from IPython.display import SVG

from workbench.signature import signature_svg

SVG(signature_svg(rows))

# %%
tested = rows.filter(pl.col("evidence") != "published")
with pl.Config(tbl_rows=-1, fmt_str_lengths=60, tbl_hide_dataframe_shape=True):
    print(tested.select("statement", "published_text", "measured", "verdict"))

# %% [markdown]
# And what nobody can test on this machine, by what is missing:

# %%
rows.filter(pl.col("verdict") == "not testable").group_by("not_testable").len("claims").sort("claims", descending=True)

# %%
log.close()
