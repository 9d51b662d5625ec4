"""isoflop's fit engine beside the Python fitters people use: one command, one run, turn by turn.

    python -m venv .venv && .venv/bin/pip install -r benches/peers/requirements.txt
    .venv/bin/python benches/peers/fit.py

Builds `benches/fit.rs`, starts it once, and for each peer takes turns (isoflop, peer, isoflop, peer, ...)
on the same runs on the same cores. Both sides are timed by the same clock in this process, so isoflop
pays for the pipe and neither pays for its start. Times are medians; what counts is their ratio. The law
that each side found is then judged here, by one function for both: a fit that is quick because it stops
early shows in the objective.

The runs are the 240 of the published fit of Epoch's reconstruction of Chinchilla (arXiv:2404.10102) where
that table lies in ../shared/reference, else 240 made ones; the output says which.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

# Before NumPy is loaded: threads of BLAS inside arrays this small cost the peers up to ten times.
for library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import multiprocessing  # noqa: E402

import numpy as np  # noqa: E402

import fitters  # noqa: E402
import pages  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
EPOCH = ROOT / "../shared/reference/epoch_chinchilla/chinchilla_runs.csv"
DOCS = ROOT / "docs/BENCHMARKS.md"
MARKS = ("<!-- fit: written by benches/peers/fit.py --write-docs -->", "<!-- fit: end -->")
EQUAL = 1e-9  # objectives this close, relative, are the same
OBJECTIVES = {
    "lse": "Robust fit in the logarithm: sum of Huber(ln fitted - ln measured), delta 1e-3",
    "varpro": "Least squares in the loss: sum of (fitted - measured)²",
}


class Ours:
    """The Rust side: one process, one line of JSON for each piece asked for."""

    def __init__(self, binary, words):
        self.process = subprocess.Popen(
            [binary, "--serve", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.about = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("error: benches/fit.rs ended early; its message is above")
        return json.loads(line)

    def fit(self, piece):
        """(seconds by this process's clock, the surfaces found)."""
        begin = time.perf_counter()
        self.process.stdin.write(piece + "\n")
        self.process.stdin.flush()
        answer = self.answer()
        return time.perf_counter() - begin, answer["fits"]


def main():
    options = arguments()
    multiprocessing.set_start_method("fork")
    with tempfile.TemporaryDirectory() as folder:
        words, source = (made(folder), "synthetic") if options.synthetic else table(folder)
        runs = read(words)
        ours = Ours(build(), words)
        if ours.about["rows"] != len(runs.loss):
            sys.exit(f"error: isoflop reads {ours.about['rows']} runs, NumPy {len(runs.loss)}")
        result = {
            "about": about(source, len(runs.loss), ours),
            "turns": options.turns,
            "budget_s": options.budget,
            "peers": [],
            "alone": [],
        }
        for peer, package in fitters.peers():
            if options.only and options.only not in peer.name:
                continue
            row = {"name": peer.name, "piece": peer.ours}
            if fitters.version(package) is None:
                row["left_out"] = f"the package {package} is not installed"
            else:
                row |= versus(ours, peer, runs, options)
            print(json.dumps(row), file=sys.stderr)
            result["peers"].append(row)
        for piece in [] if options.only else ["bootstrap", "analyse"]:
            result["alone"].append(alone(ours, piece, options.turns))
        result["about"]["load"].append(os.getloadavg()[0])
    text = report(result)
    print(text)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    if options.write_docs:
        pages.write_docs(DOCS, MARKS, text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write every number, single times included")
    parser.add_argument("--write-docs", action="store_true", help="rewrite docs/BENCHMARKS.md")
    parser.add_argument("--turns", type=int, default=9, help="of each side (default 9)")
    parser.add_argument(
        "--budget", type=float, default=120.0, help="seconds a peer may take in all (default 120)"
    )
    parser.add_argument("--only", metavar="WORD", help="peers with this in their name")
    parser.add_argument("--synthetic", action="store_true", help="made runs even if Epoch's are there")
    options = parser.parse_args()
    if options.only and options.write_docs:
        parser.error("--write-docs takes all peers or none: leave out --only")
    return options


def table(folder):
    """(words that name the table to isoflop, where it is from)."""
    if not EPOCH.exists():
        return made(folder), "synthetic"
    return [str(EPOCH), "in_published_fit=1"], "epoch"


def made(folder):
    """240 runs on the law that Epoch published, with scatter of 0.4% and every twentieth of 2%."""
    random = np.random.default_rng(20240415)
    flops, ratio = 10 ** random.uniform(18, 22, 240), 10 ** random.uniform(0, 2.5, 240)
    params = np.sqrt(flops / 6 / ratio)
    tokens = params * ratio
    law = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
    scatter = np.where(np.arange(240) % 20 == 0, 0.02, 0.004) * random.standard_normal(240)
    loss = fitters.predicted(fitters.Runs(params, tokens, np.ones(240)), law) * np.exp(scatter)
    path = os.path.join(folder, "made.csv")
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["params", "tokens", "loss"])
        writer.writerows(zip(params.tolist(), tokens.tolist(), loss.tolist()))
    return [path]


def read(words):
    """The runs of the table that isoflop is told to read, by Python's own reader."""
    path, *filters = words
    wanted = [f.split("=", 1) for f in filters]
    with open(path, newline="") as file:
        rows = [r for r in csv.DictReader(file) if all(r[c] == v for c, v in wanted)]
    columns = ([float(r[c]) for r in rows] for c in ("params", "tokens", "loss"))
    return fitters.Runs(*map(np.array, columns))


def build():
    """Path of the benchmark's binary, built if need be."""
    command = ["cargo", "build", "--release", "--locked", "--bench", "fit"]
    command.append("--message-format=json-render-diagnostics")
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    messages = (json.loads(line) for line in done.stdout.splitlines())
    for message in messages:
        if message.get("executable") and message["target"]["kind"] == ["bench"]:
            return message["executable"]
    sys.exit("error: cargo names no binary of the benchmark")


def versus(ours, peer, runs, options):
    """Takes turns until the peer has had its turns or used up its seconds.

    isoflop begins and ends. The first turn of each warms up and does not count, but for a peer too slow
    to be asked again.
    """
    times, laws = {"ours": [], "peer": []}, {}
    try:
        peer.prepare(runs)
        spent = 0.0
        while len(times["peer"]) <= options.turns and (not spent or spent < options.budget):
            seconds, (fit,) = ours.fit(peer.ours)
            times["ours"].append(seconds)
            begin = time.perf_counter()
            laws["peer"] = peer.fit()
            times["peer"].append(time.perf_counter() - begin)
            spent += times["peer"][-1]
        times["ours"].append(ours.fit(peer.ours)[0])
    except Exception as error:  # a peer that fails is a row, not the end
        return {"left_out": f"failed: {type(error).__name__}: {error}"}
    finally:
        getattr(peer, "close", lambda: None)()
    laws["ours"] = {name: fit[name] for name in ("E", "A", "B", "alpha", "beta")}
    times = {side: seconds[1:] or seconds for side, seconds in times.items()}
    reached = {side: peer.objective(runs, law) for side, law in laws.items()}
    if abs(reached["ours"] / fit["objective"] - 1) > EQUAL:
        sys.exit(f"error: isoflop says {fit['objective']}, its law has {reached['ours']}")
    median = {side: statistics.median(seconds) for side, seconds in times.items()}
    return {
        "turns": len(times["peer"]),
        "median_s": median,
        "ratio": median["peer"] / median["ours"],
        "objective": reached,
        "excess": reached["peer"] / reached["ours"] - 1,
        "ours_not_higher": reached["ours"] <= reached["peer"] * (1 + EQUAL),
        "laws": {side: {n: float(v) for n, v in law.items()} for side, law in laws.items()},
        "times_s": times,
        "ours_starts": fit["starts"],
    }


def alone(ours, piece, turns):
    """What no peer does: medians after one turn that does not count."""
    ours.fit(piece)
    answers = [ours.fit(piece) for _ in range(turns)]
    times = [seconds for seconds, _ in answers]
    refits = {fit["method"]: fit["refits"] for fit in answers[-1][1]}
    return {"piece": piece, "median_s": statistics.median(times), "refits": refits, "times_s": times}


def about(source, rows, ours):
    def first(*command):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return done.stdout.splitlines()[0].strip() if done.returncode == 0 else "unknown"

    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        text = pathlib.Path("/proc/cpuinfo").read_text()
        cpu = (re.findall(r"model name\s*: (.*)", text) or [cpu])[0]
    packages = ("numpy", "scipy", "chinchilla", "vpnls")
    return {
        "runs": f"{rows} runs: "
        + {
            "epoch": "Epoch's reconstruction of Chinchilla, those of the published fit",
            "synthetic": "made ones, on the law that Epoch published, with a fixed seed",
        }[source],
        "date": datetime.date.today().isoformat(),
        "machine": f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load": [os.getloadavg()[0]],
        "threads": ours.about["threads"],
        "versions": {
            "isoflop": f"{ours.about['version']} ({first('git', 'describe', '--always', '--dirty')})",
            "rustc": first("rustc", "--version").split()[1],
            "Python": platform.python_version(),
            **{p: fitters.version(p) for p in packages if fitters.version(p)},
        },
    }


def report(result):
    told = result["about"]
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    lines = [
        f"* Runs: {told['runs']}.",
        f"* Machine: {told['machine']}; isoflop on {told['threads']} threads; {told['date']}. Load at the "
        "start and at the end: {:.1f} and {:.1f}, where what runs here makes up to {}.".format(
            *told["load"], os.cpu_count()
        ),
        f"* Versions: {versions}.",
        f"* Medians of up to {result['turns']} turns, fewer where a peer has used {result['budget_s']:.0f} s.",
    ]
    for piece, title in OBJECTIVES.items():
        rows = [row for row in result["peers"] if row["piece"] == piece]
        if not rows:
            continue
        lines += [
            "",
            f"**{title}**",
            "",
            "| peer | turns | peer | isoflop | peer's time / isoflop's | peer's objective | above isoflop's by (relative) |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        lines += [line(row) for row in rows]
    if result["alone"]:
        lines += ["", "**isoflop alone**", "", "| piece | median |", "|---|---:|"]
    for row in result["alone"]:
        refits = " and ".join(f"{count} of {m}" for m, count in row["refits"].items() if count)
        what = {
            "bootstrap": "both surface fits with their bootstrap",
            "analyse": "all that `isoflop fit` computes, both bootstraps and the hold-out included",
        }[row["piece"]]
        lines.append(f"| {what} (refits: {refits}) | {span(row['median_s'])} |")
    return "\n".join(lines)


def line(row):
    if "left_out" in row:
        return f"| {row['name']} | 0 | {row['left_out']} | | | | |"
    ratio, excess = row["ratio"], row["excess"]
    quick = f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
    if ratio < 1:
        quick = f"**{ratio:.2g}, the peer is quicker**"
    if abs(excess) <= EQUAL:
        above = "equal"
    else:
        above = f"{excess:.1e}" if excess > 0 else f"**{excess:.1e}, the peer is lower**"
    times = f"{span(row['median_s']['peer'])} | {span(row['median_s']['ours'])}"
    return (
        f"| {row['name']} | {row['turns']} | {times} | {quick} "
        f"| {row['objective']['peer']:.10g} | {above} |"
    )


def span(seconds):
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


if __name__ == "__main__":
    main()
