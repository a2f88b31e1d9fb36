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
# # A tour in five minutes
#
# The workbench answers three questions about an idea for parallel or efficient machine learning: **does it work**, **what
# does it cost**, and **is it what the paper said**. This tour asks the first and the third of a recurrent network: we
# solve its recurrence over all time steps at once, watch the solver converge, keep what we saw, ask for it in SQL, and
# hold it against the published figures.

# %% [markdown]
# ## Solve a recurrence in parallel
#
# A recurrence $h_t = f(h_{t-1}, x_t)$ looks serial. Written as one system, $r_t(h) = h_t - f(h_{t-1}, x_t) = 0$ for all
# $t$, it can be solved by Newton's method, and each Newton step is a *linear* recurrence, which a parallel scan solves.
# A driver takes a cell, its parameters and the inputs; the solver is an argument.

# %%
import jax
import jax.numpy as jnp
from workbench import rnn

cell = rnn.ParaGRU(input_dim=32, hidden_dim=64, heads=4)
params = cell.init(jax.random.key(0))
x = jax.random.normal(jax.random.key(1), (8, 1000, 32))              # batch, time, input

newton = rnn.solve(cell, params, x, solver=rnn.Newton(), scan=rnn.TwoLevel(chunk=32))
serial = rnn.solve(cell, params, x, solver=rnn.Sequential())
assert jnp.abs(newton.states - serial.states).max() < 1e-4
print(newton.status, newton.stats.iterations, newton.stats.residual)

loss = lambda p: (rnn.solve(cell, p, x, solver=rnn.Newton()).states ** 2).mean()
grads = jax.grad(loss)(params)                                       # one reversed linear scan
figure = newton.plot()                                               # residual by iteration

# %% [markdown]
# A thousand steps took a handful of iterations, and the states are those of the serial loop. Here is the residual by
# iteration: it falls faster than any straight line on this axis, which is what quadratic convergence looks like.

# %%
figure

# %% [markdown]
# ## Any recurrence, any solver, an honest answer
#
# The recurrence may be any function of a state and an input, and the solver is one argument. Most of these agree here;
# Picard, made for recurrences that change little from step to step, diverges and says so. The logistic map at $r = 4$ is
# chaotic: no number of iterations that is worth having solves it in parallel. Without `on_failure="return"` such a result
# raises; it never comes back dressed up as an answer.

# %%
import jax
import jax.numpy as jnp
from workbench import rnn

step = lambda h, x, a: jnp.tanh(a * h + x)
x = jax.random.normal(jax.random.key(0), (4096, 3))
for solver in (rnn.Newton(), rnn.QuasiNewton(), rnn.Jacobi(), rnn.Picard(), rnn.Elk(), rnn.MultipleShooting(chunks=16), rnn.WarmStart(chunks=16), rnn.Auto()):
    result = rnn.solve(step, 0.5, x, jnp.zeros(3), solver=solver, on_failure="return")
    print(solver, result.status, result.stats.iterations, result.stats.lyapunov, result.stats.error_bound)

logistic = lambda h, x, r: r * h * (1 - h) + 0 * x
chaos = rnn.solve(logistic, 4.0, jnp.zeros((1000, 1)), jnp.full(1, 0.3), solver=rnn.Newton(), on_failure="return")
assert not chaos.status.converged.all() and chaos.stats.lyapunov.max() > 0

# %% [markdown]
# ## A real language model, parallel streams, a scaling law
#
# SmolLM2 runs in the same forward pass as a model that is trained here. Wrapped in two streams it reads the same tokens
# twice at once, each time behind its own learned prefix, and merges what comes out. What P streams are worth in
# parameters is a law, fitted here to the losses that its paper published.

# %%
import jax
from workbench import lm, parscale, scaling

model = lm.load("smollm2-135m")
print(lm.generate(model, "The capital of France is", max_new_tokens=8).text)

wide = parscale.wrap(model, streams=2, prefix_tokens=48, key=jax.random.key(0))
tokens = model.tokenizer.encode("def add(a, b):")
assert lm.forward(wide, tokens).logits.shape == lm.forward(model, tokens).logits.shape

law = scaling.fit(scaling.published("parscale-stack"), form=scaling.ParScaleLaw(), starts=300)
print(law.params, law.interval("k"), law.r2, law.predict(parameters=1.6e9, streams=8))
figure = law.plot()

# %% [markdown]
# The points are the published losses, the lines the fitted law, one for each number of streams.

# %%
figure

# %% [markdown]
# ## Record, reproduce, ask
#
# The next cell runs the quick study of ParaRNN in a process of its own (well under a minute), then records an experiment
# of ours. Both lie in one store, which is open while anything writes to it.

# %%
import workbench
from workbench import store

rows = workbench.reproduce(["pararnn"], preset="quick")              # a polars frame: one row a claim
print(rows.select("claim", "published_text", "measured", "verdict"))

with store.run("my-idea", config={"learning_rate": 1e-3}) as run:    # anyone's experiment, not only ours
    for step in range(3):
        run.log(step=step, loss=1.0 / (step + 1))

log = store.open()                                                   # read-only, sees live runs
assert log.runs().filter(study="my-idea").height >= 1
assert log.metrics(run.id)["loss"].to_list() == [1.0, 0.5, 1 / 3]
print(log.sql("select verdict, count(*) as n from results group by verdict"))

# %% [markdown]
# ## The whole paper at a glance
#
# One row a claim: the published figure is the dashed tick at 1, ours is the marker with its interval, the pale band is
# the tolerance that was written down before the run. A filled marker was measured here.

# %%
from IPython.display import SVG
from workbench.signature import signature_svg

SVG(signature_svg(rows))

# %% [markdown]
# ## Any question, in SQL
#
# Runs, metrics, claims and results are tables. Here: how the residual of Newton's method fell in the run above.

# %%
study_run = rows["run_id"].drop_nulls()[0]
log.sql(
    """
    select name, step, value
    from metrics
    where run_id = ? and name like 'residual/%'
    order by name, step
    """,
    [study_run],
).pivot(on="name", index="step", values="value")

# %% [markdown]
# ## Where to go from here
#
# - `pararnn.ipynb`: the same paper in depth, experiment by experiment, with what does *not* hold on a CPU.
# - `workbench dashboard`: all claims and all runs in a browser.
# - `workbench list`: the catalogue. A paper is two files; `CONTRIBUTING.md` shows them.

# %%
log.close()
