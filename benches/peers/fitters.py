"""The Python fitters that isoflop is measured against, and the objectives they share.

Every fitter takes a table of runs and returns a law {E, A, B, alpha, beta}, L = E + A N^-alpha + B D^-beta.
What it does before its clock starts is in `prepare`, what it is timed for in `fit`. Each is written or
called as well as we know how: analytic gradients, whole arrays, every core where the work can be
shared. Where a default of a peer would handicap it, that is changed here and said in its docstring.

Sources: Hoffmann et al. 2022 (arXiv:2203.15556, appendix D.3: starts and objective); Besiroglu et al. 2024
(arXiv:2404.10102: the sum, not the mean, and the data); Czech et al. 2026 (arXiv:2603.22339: variable
projection). Read by `fit.py`.
"""

import functools
import importlib.metadata
import itertools
import multiprocessing
import os
import tempfile

import numpy as np
import scipy.optimize

DELTA = 1e-3  # where Huber's function turns linear, in ln L [-]


class Runs:
    """A table of runs: N [parameters], D [tokens], loss [nats/token], arrays of one length."""

    def __init__(self, params, tokens, loss):
        self.params, self.tokens, self.loss = params, tokens, loss
        self.x, self.y, self.log_loss = np.log(params), np.log(tokens), np.log(loss)


def predicted(runs, law):
    size = law["A"] * np.exp(-law["alpha"] * runs.x)
    return law["E"] + size + law["B"] * np.exp(-law["beta"] * runs.y)


def huber(r):
    size = np.abs(r)
    return np.where(size <= DELTA, 0.5 * r * r, DELTA * (size - 0.5 * DELTA))


def robust(runs, law):
    """Sum over runs of Huber(ln fitted - ln measured)."""
    return float(np.sum(huber(np.log(predicted(runs, law)) - runs.log_loss)))


def squares(runs, law):
    """Sum over runs of (fitted - measured)^2."""
    return float(np.sum((predicted(runs, law) - runs.loss) ** 2))


# Hoffmann's grid of starts in (a, b, e, alpha, beta), with A = exp(a), B = exp(b), E = exp(e).
STARTS = [
    np.array(start, dtype=float)
    for start in itertools.product(
        range(0, 26, 5), range(0, 26, 5), (-1, -0.5, 0, 0.5, 1), *[(0, 0.5, 1, 1.5, 2)] * 2
    )
]


def robust_gradient(v, x, y, log_loss):
    """`robust` and its exact gradient at (a, b, e, alpha, beta)."""
    a, b, e, alpha, beta = v
    terms = np.empty((3, len(x)))
    terms[0], terms[1], terms[2] = a - alpha * x, b - beta * y, e
    top = terms.max(axis=0)
    share = np.exp(terms - top)
    total = share.sum(axis=0)
    r = top + np.log(total) - log_loss
    size, data, rest = share * (np.clip(r, -DELTA, DELTA) / total)
    gradient = [size.sum(), data.sum(), rest.sum(), -(size @ x), -(data @ y)]
    return huber(r).sum(), np.array(gradient)


def descend(start, columns, **options):
    """One L-BFGS-B descent: (objective, point)."""
    result = scipy.optimize.minimize(
        robust_gradient, start, args=columns, jac=True, method="L-BFGS-B", options=options
    )
    return float(result.fun), tuple(result.x)


def law_of(v):
    a, b, e, alpha, beta = (float(c) for c in v)
    return {"E": np.exp(e), "A": np.exp(a), "B": np.exp(b), "alpha": alpha, "beta": beta}


class Grid:
    """SciPy's L-BFGS-B from all of Hoffmann's starts, spread over all cores.

    Tolerances are SciPy's. The pool is there before the clock starts. One thread of BLAS for each
    process: with more, the same work took thirteen times as long here.
    """

    name = "SciPy L-BFGS-B, Hoffmann's 4,500 starts"
    ours, objective = "lse", staticmethod(robust)

    def prepare(self, runs):
        self.pool = multiprocessing.get_context("fork").Pool(os.cpu_count())
        self.work = functools.partial(descend, columns=(runs.x, runs.y, runs.log_loss))

    def fit(self):
        return law_of(min(self.pool.imap_unordered(self.work, STARTS, chunksize=32))[1])

    def close(self):
        self.pool.terminate()


class One:
    """SciPy's L-BFGS-B from one start, the printed law of Hoffmann et al., as bootstraps refit."""

    name = "SciPy L-BFGS-B, 1 start (Hoffmann's law)"
    ours, objective = "lse", staticmethod(robust)

    def prepare(self, runs):
        self.columns = (runs.x, runs.y, runs.log_loss)

    def fit(self):
        start = [np.log(406.4), np.log(410.7), np.log(1.69), 0.34, 0.28]
        return law_of(descend(start, self.columns)[1])


class Chain:
    """The quickest careful way we know: variable projection, then one L-BFGS-B without early stop."""

    name = "NumPy variable projection, then 1 L-BFGS-B"
    ours, objective = "lse", staticmethod(robust)

    def prepare(self, runs):
        self.runs = runs

    def fit(self):
        law = project(self.runs)
        start = [np.log(law["A"]), np.log(law["B"]), np.log(law["E"]), law["alpha"], law["beta"]]
        columns = (self.runs.x, self.runs.y, self.runs.log_loss)
        return law_of(descend(start, columns, ftol=1e-15, gtol=1e-12, maxls=50)[1])


class Chinchilla:
    """The package `chinchilla` on the grid of its README (3,125 starts), BFGS, all cores.

    Its loss is set to the shared one; it takes the mean, whose minimum is the same. Its figure of the
    fit is left out. `scale` multiplies the loss: at 1 the gradient of so small a loss is under SciPy's
    tolerance almost from the start, which stops early and is quick; 1,000 is what it takes to converge.
    """

    ours, objective = "lse", staticmethod(robust)

    def __init__(self, scale):
        self.scale = scale
        self.name = "chinchilla, its README's 3,125 starts"
        if scale != 1:
            self.name += f", loss x {scale:,}"

    def prepare(self, runs):
        os.environ.setdefault("MPLBACKEND", "Agg")
        import chinchilla
        from chinchilla._metrics import log_huber

        self.folder = tempfile.TemporaryDirectory()
        with open(os.path.join(self.folder.name, "df.csv"), "w") as file:
            file.write("C,N,D,loss\n")
            for n, d, loss in zip(runs.params, runs.tokens, runs.loss):
                file.write(f"{float(6 * n * d)!r},{float(n)!r},{float(d)!r},{float(loss)!r}\n")
        self.fitter = chinchilla.Chinchilla(
            self.folder.name,
            param_grid={
                "E": np.linspace(1, 2, 5),
                "a": np.linspace(1, 10, 5),
                "b": np.linspace(1, 10, 5),
                "alpha": np.linspace(0.1, 0.7, 5),
                "beta": np.linspace(0.1, 0.7, 5),
            },
            loss_fn=lambda measured, fitted: self.scale * log_huber(measured, fitted, DELTA),
            log_level=50,
        )
        self.fitter.visualizer.optim = lambda *_, **__: None

    def fit(self):
        self.fitter.fit()
        return {name: float(value) for name, value in self.fitter.params.items()}

    def close(self):
        self.folder.cleanup()


def project(runs, nodes=256):
    """Least squares in the loss by variable projection: a grid of exponents, then Nelder-Mead.

    For fixed exponents E is profiled out by centring and (A, B) solve a 2 x 2 system, so the whole grid
    is one matrix product and a few operations on [nodes, nodes]. Nodes with a negative E, A or B are
    not used.
    """
    shift_x, shift_y = runs.x.mean(), runs.y.mean()
    x, y, loss = runs.x - shift_x, runs.y - shift_y, runs.loss
    centred = loss - loss.mean()
    total = centred @ centred

    def solve(u, v, uu, vv, uv, ul, vl):
        determinant = uu * vv - uv * uv
        a, b = (ul * vv - vl * uv) / determinant, (vl * uu - ul * uv) / determinant
        e = loss.mean() - a * u - b * v
        rss = np.where((a > 0) & (b > 0) & (e > 0), total - a * ul - b * vl, np.inf)
        return rss, e, a, b

    def columns(exponents, logs):
        terms = np.exp(-np.outer(exponents, logs))
        mean = terms.mean(axis=1)
        terms -= mean[:, None]
        return terms, mean, np.einsum("ij,ij->i", terms, terms), terms @ centred

    def at(k):
        (s, u, uu, ul), (d, v, vv, vl) = columns(k[:1], x), columns(k[1:], y)
        return solve(u, v, uu, vv, s @ d.T, ul, vl)

    exponents = np.linspace(0.01, 2.0, nodes)
    (s, u, uu, ul), (d, v, vv, vl) = columns(exponents, x), columns(exponents, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        grid = solve(u[:, None], v, uu[:, None], vv, s @ d.T, ul[:, None], vl)[0]
    best = np.unravel_index(np.nanargmin(grid), grid.shape)
    polished = scipy.optimize.minimize(
        lambda k: at(k)[0].item(),
        exponents[list(best)],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-14},
    )
    _, e, a, b = (value.item() for value in at(polished.x))
    alpha, beta = (float(k) for k in polished.x)
    a, b = a * np.exp(alpha * shift_x), b * np.exp(beta * shift_y)
    return {"E": e, "A": a, "B": b, "alpha": alpha, "beta": beta}


class Projection:
    """Variable projection in NumPy: 256 x 256 exponents, then Nelder-Mead."""

    name = "NumPy variable projection, 256 x 256 + Nelder-Mead"
    ours, objective = "varpro", staticmethod(squares)

    def prepare(self, runs):
        self.runs = runs

    def fit(self):
        return project(self.runs)


class Vpnls:
    """The authors' package `vpnls`: its grid of 0.01 in Cython, alone or with its L-BFGS-B after it.

    N in millions and D in billions, as its README says. One process, its default.
    """

    ours, objective = "varpro", staticmethod(squares)

    def __init__(self, method):
        self.method = method
        self.name = f"vpnls, {'grid' if method == 'grid' else 'grid, then L-BFGS-B'}"

    def prepare(self, runs):
        from vpnls.api import fit_vpnls

        self.work = functools.partial(
            fit_vpnls, runs.params / 1e6, runs.tokens / 1e9, runs.loss, method=self.method
        )

    def fit(self):
        got = self.work()
        a, b = got.A * 1e6**got.alpha, got.B * 1e9**got.beta
        return {"E": got.E, "A": a, "B": b, "alpha": got.alpha, "beta": got.beta}


def version(package):
    """Of an installed package, or nothing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def peers():
    """(fitter, package it needs), in the order in which they report."""
    return [
        (Chinchilla(1000), "chinchilla"),
        (Chinchilla(1), "chinchilla"),
        (Grid(), "scipy"),
        (Chain(), "scipy"),
        (One(), "scipy"),
        (Vpnls("grid"), "vpnls"),
        (Vpnls("scipy"), "vpnls"),
        (Projection(), "numpy"),
    ]
