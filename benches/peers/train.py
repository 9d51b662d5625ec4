"""isoflop's training beside PyTorch's: one command, one run, turn by turn.

    python -m venv .venv && .venv/bin/pip install -r benches/peers/requirements-train.txt
    .venv/bin/python benches/peers/train.py            # --quick for a smoke, --write-docs for the page

Drives `isoflop device bench`, built here unless `--binary` names it, and trains the same model on both
sides: same initial weights, batches, hyperparameters, precision (float32) and number of steps counted. The
first steps' losses and gradient norms must agree or nothing is reported. All sides of a job stay alive and
take turns; every turn is timed by this process's clock. What counts is the ratio of medians.

Two modes. `one-cell`: one model on all cores. `whole-machine`: k models side by side on cores / k threads
each, tokens of all of them together, and for each side the k that suits it best: how a grid is trained.
isoflop's cells are threads of one process, PyTorch's are processes.

With `--device cuda` both train on the GPU, one cell, PyTorch in bf16 by autocast, eager and compiled; shares
are of `--peak-tflops`, and neither cargo nor git need be there when `--binary` is given. `--warm JOB...`
only compiles PyTorch's side, so that a race finds it in PyTorch's cache.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import pages

ROOT = pathlib.Path(__file__).resolve().parents[2]
TWIN = pathlib.Path(__file__).with_name("torch_twin.py")
DOCS = ROOT / "docs/BENCHMARKS.md"
MARKS = ("<!-- train: written by benches/peers/train.py --write-docs -->", "<!-- train: end -->")
SIZES, VOCABS = ("30k", "300k", "3M", "10M"), (256, 4096)
WARM_UP = 3  # steps not counted, those whose losses must agree
GPU_JOBS = ("10M:256", "124M:50304", "350M:50304")
# float32 sums in another order, through three steps of AdamW. On a GPU both sides multiply in bf16, which
# keeps 8 bits, and add in float32; PyTorch then rounds gradients of weights to bf16, isoflop does not.
TOLERANCES = {"cpu": {"losses": 2e-4, "norms": 2e-3}, "cuda": {"losses": 1e-2, "norms": 5e-2}}
VARIANTS = {
    "cpu": ("eager", "eager, attention written out", "compile", "compile, attention written out"),
    "cuda": ("eager", "compile"),
}


class Side:
    """One way to train a job: `cells` models side by side, in one process or one for each.

    It starts at once; `ready` waits until it can train.
    """

    def __init__(self, name, cells, commands, first_line, environment):
        self.name, self.cells, self.rates, self.steps = name, cells, [], 1
        self.first_line, self.about, self.tried = first_line, None, {}
        self.processes = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                env=os.environ | environment,
            )
            for command in commands
        ]
        for process in self.processes:
            if first_line:
                self.order(process, first_line)

    def ready(self):
        try:
            self.about = [self.answer(process) for process in self.processes][0]
        except Ended:
            self.close()
            raise
        return self

    def order(self, process, line):
        try:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # what follows reads its end

    def answer(self, process):
        line = process.stdout.readline()
        if not line:
            raise Ended(f"{self.name}, {self.cells} side by side: ended early; its message is above")
        return json.loads(line)

    def train(self, steps):
        """(seconds by this process's clock, the losses and norms of each cell)."""
        begin = time.perf_counter()
        for process in self.processes:
            self.order(process, steps)
        answers = [self.answer(process) for process in self.processes]
        seconds = time.perf_counter() - begin
        cells = [cell for answer in answers for cell in answer.get("cells", [answer])]
        if [len(cell["losses"]) for cell in cells] != [steps] * self.cells:
            sys.exit(f"error: {self.name} did not take {steps} steps in each of {self.cells} cells")
        return seconds, cells

    def warm_up(self, turn_seconds):
        """The first steps, for the check; then how many steps make a turn."""
        _, cells = self.train(WARM_UP)
        self.steps = max(1, round(turn_seconds / self.train(1)[0]))
        self.steps = max(1, round(turn_seconds * self.steps / self.train(self.steps)[0]))
        return cells

    def turn(self):
        """Steps of one model and second, times models [step/s]."""
        seconds, _ = self.train(self.steps)
        self.rates.append(self.cells * self.steps / seconds)
        return self.rates[-1]

    def peak_mb(self):
        """Largest resident memory, all processes together, pages of shared libraries counted once [MB]."""
        most = files = 0
        for process in self.processes:
            status = pathlib.Path(f"/proc/{process.pid}/status")
            if not status.exists():
                return None
            kb = {k: int(v) for k, v in re.findall(r"(\w+):\s+(\d+) kB", status.read_text())}
            files = kb["RssFile"] + kb["RssShmem"]
            most += kb["VmHWM"] - files
        return (most + files) / 1024

    def gpu_mb(self):
        """Memory of the card that the driver counts for it [MB]; None where the driver does not say."""
        wanted = {str(process.pid) for process in self.processes}
        told = run("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
        rows = [line.split(", ") for line in (told or "").splitlines()]
        used = [int(row[1]) for row in rows if row[0] in wanted and row[-1].isdigit()]
        return sum(used) if used else None

    def close(self):
        for process in self.processes:
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Ended(Exception):
    """A side ended before its answer."""


def main():
    options = arguments()
    cores = take_cores(options.cores)
    binary = options.binary or build(options.device)
    if options.warm:
        return warm(binary, options)
    ours = bench(binary, options.device, options.matmul)
    peak = gpu_peak(options) if options.device == "cuda" else gemm(binary, cores)
    result = {"about": about(cores, options), "gemm": peak, "rows": [], "notes": []}
    variants = usable_variants(options, result["notes"])
    begin, longest = time.perf_counter(), 0.0
    for job in options.jobs or [f"{s}:{v}" for s in options.sizes for v in options.vocabs]:
        job_begin = time.perf_counter()
        if options.limit and options.limit - (job_begin - begin) < longest:
            result["notes"].append(f"{job} was left out: too little time.")
            continue
        rows = race(ours, job, cores, variants, result, options)
        for row in rows:
            print(json.dumps(row), file=sys.stderr, flush=True)
        result["rows"] += rows
        longest = max(longest, time.perf_counter() - job_begin)
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    text = report(result)
    print(text)
    if options.write_docs:
        pages.write_docs(DOCS, MARKS, text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--sizes", type=words, default=SIZES, help=f"of {','.join(SIZES)}")
    parser.add_argument("--vocabs", type=words, default=VOCABS, help="default 256,4096")
    parser.add_argument("--jobs", type=words, help="SIZE:VOCAB,... in their place")
    parser.add_argument("--device", choices=TOLERANCES, default="cpu", help="default cpu")
    parser.add_argument("--binary", metavar="FILE", help="the built isoflop; else cargo builds it")
    parser.add_argument("--matmul", choices=("fixed", "autotune"), help="isoflop's products on a GPU")
    parser.add_argument("--warm", nargs="+", metavar="JOB", help="only compile PyTorch's side of these")
    parser.add_argument("--limit", type=float, metavar="S", help="begin no job that may end later")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="of the GPU, dense bf16")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side (default 7)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one turn (default 2)")
    parser.add_argument("--cores", type=int, help="use so many cores only")
    parser.add_argument("--one-cell", action="store_true", help="leave out the mode whole-machine")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    parser.add_argument("--json", metavar="FILE", help="write every number, single turns included")
    parser.add_argument("--write-docs", action="store_true", help="rewrite docs/BENCHMARKS.md")
    parser.add_argument("--quick", action="store_true", help="a smoke: 30k, eager, two short turns")
    options = parser.parse_args()
    if options.device == "cuda":
        options.jobs, options.one_cell = options.jobs or GPU_JOBS, True
    if options.quick:
        options.sizes, options.vocabs, options.no_compile = ["30k"], [256], True
        options.rounds, options.seconds = 2, 0.5
    return options


def take_cores(wanted):
    """Holds this process and all it starts to some cores; returns how many."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count()
    there = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, there[: wanted or len(there)])
    return len(os.sched_getaffinity(0))


def build(device):
    """Path of the binary, built if need be."""
    command = ["cargo", "build", "--release", "--locked", "--bin", "isoflop"]
    command += ["--features", "cuda"] if device == "cuda" else []
    command.append("--message-format=json-render-diagnostics")
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        sys.exit("error: there is no cargo to build isoflop; name a built one by --binary")
    if done.returncode:
        sys.exit(done.returncode)
    messages = (json.loads(line) for line in done.stdout.splitlines())
    for message in messages:
        if message.get("executable") and message["target"]["kind"] == ["bin"]:
            return message["executable"]
    sys.exit("error: cargo names no binary")


def bench(binary, device, matmul=None):
    return [binary, "device", "bench", "--device", device, *(["--matmul", matmul] if matmul else [])]


def usable_variants(options, notes):
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if options.no_compile:
        notes.append("torch.compile was left out on request.")
    elif not compiler:
        notes.append("torch.compile was left out: it needs a C++ compiler and finds none.")
    compiles = compiler and not options.no_compile
    return [name for name in VARIANTS[options.device] if compiles or "compile" not in name]


def warm(binary, options):
    """Has PyTorch compile what the race of these jobs will need; isoflop says on the CPU what to train."""
    for job in [job for words in options.warm for job in words.split(",")]:
        begin = time.perf_counter()
        told = Side("isoflop", 1, [[*bench(binary, "cpu"), "--serve", job, "1"]], None, {}).ready()
        told.close()
        order = twin_order(None, told.about["recipe"], "compile", os.cpu_count(), options.device)
        side = Side("compile", 1, [[sys.executable, str(TWIN), "--serve"]], order, compilers(options.device))
        side.ready().train(2)
        side.close()
        print(f"{job}: compiled in {time.perf_counter() - begin:.1f} s", flush=True)


def twin_order(file, recipe, variant, threads, device):
    """What torch_twin.py is told first."""
    keys = ("file", "recipe", "variant", "threads", "device")
    return json.dumps(dict(zip(keys, (file, recipe, variant, threads, device), strict=True)))


def compilers(device):
    """Processes of PyTorch's compiler: on a GPU one cell at a time compiles, on the CPU many may."""
    return {"TORCHINDUCTOR_COMPILE_THREADS": "8" if device == "cuda" else "1"}


def gpu_peak(options):
    """The vendor's figure, the denominator of MFU."""
    peak = options.peak_tflops * 1e3
    return {"peak_gflops": peak, "gemm_peak_gflops": peak, "torch_peak_gflops": peak}


def gemm(binary, cores):
    """The most GFLOP/s that either side's matrix products reach: what shares are shares of."""
    command = [binary, "device", "bench", "--gemm"]
    ours = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    shapes = [row["m_n_k"] for row in ours["products"]]
    torch = {}
    for threads in {1, cores}:
        order = json.dumps({"threads": threads, "shapes": shapes}) + "\n"
        command = [sys.executable, str(TWIN), "--gemm"]
        done = subprocess.run(command, input=order, stdout=subprocess.PIPE, text=True, check=True)
        torch[threads] = json.loads(done.stdout)
    return {
        "gemm_peak_gflops": ours["peak_gflops"],
        "gemm_peak_gflops_one_thread": ours["peak_gflops_one_thread"],
        "torch_peak_gflops": torch[cores]["peak_gflops"],
        "torch_peak_gflops_one_thread": torch[1]["peak_gflops"],
        "peak_gflops": max(ours["peak_gflops"], torch[cores]["peak_gflops"]),
        "ours": ours["products"],
        "torch": {str(threads): answer["products"] for threads, answer in torch.items()},
    }


def race(binary, job, cores, variants, result, options):
    """The rows of one job: all sides warmed up and checked, then rounds of turns."""
    ks = [1] + [k for k in powers_of_two(cores) if k > 1 and not options.one_cell]
    sides, opened, want = [], [], None
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "start.safetensors")
        if subprocess.run([*binary, "--export", job, file]).returncode:
            sys.exit(f"error: isoflop wrote no start of {job}; its message is above")
        try:
            for k in ks:
                ours = Side("isoflop", k, [[*binary, "--serve", job, str(k)]], None, {})
                opened.append(ours)
                recipe = ours.ready().about["recipe"]

                def start(variant, k=k, recipe=recipe):
                    opened.append(torch_side(file, variant, k, cores, recipe, options))
                    return opened[-1]

                # On a GPU the starts of all overlap: seconds each, and nothing is timed yet.
                early = {v: start(v) for v in variants} if options.device == "cuda" else {}
                cells = ours.warm_up(options.seconds)
                want = want or cells[0]
                for cell in cells:
                    check("isoflop", want, cell, options.device)
                torch = ((v, early.get(v) or start(v)) for v in variants)
                sides += [ours, fastest(torch, want, result["notes"], options)]
            for turn in range(options.rounds):
                for side in sides if turn % 2 == 0 else reversed(sides):
                    side.turn()
            return rows_of(job, sides, result, options)
        finally:
            for side in opened:
                side.close()


def powers_of_two(cores):
    """1, 2, 4, ... and the number of cores."""
    return sorted({2**i for i in range(cores.bit_length())} | {cores})


def torch_side(file, variant, k, cores, recipe, options):
    threads = max(1, cores // k)
    order = twin_order(file, recipe, variant, threads, options.device)
    environment = {"OMP_NUM_THREADS": str(threads), **compilers(options.device)}
    return Side(variant, k, [[sys.executable, str(TWIN), "--serve"]] * k, order, environment)


def fastest(torch, want, notes, options):
    """Of pairs (variant, side) the side that is quickest; the others are closed."""
    best, tried = None, {}
    for variant, side in torch:
        try:
            cells = side.ready().warm_up(options.seconds)
        except Ended as error:
            # A variant that this machine cannot run is a note; the check below is not caught.
            notes.append(f"PyTorch {variant}: {error}.")
            continue
        for cell in cells:
            check(f"PyTorch {variant}", want, cell, options.device)
        tried[variant] = side.turn()
        side.rates.clear()
        if best and tried[best.name] >= tried[variant]:
            side.close()
            continue
        if best:
            best.close()
        best = side
    if not best:
        sys.exit("error: PyTorch trains by none of its variants")
    best.tried = tried
    return best


def check(variant, want, got, device):
    """Both sides must have taken the same steps."""
    for key, tolerance in TOLERANCES[device].items():
        for step, (ours, theirs) in enumerate(zip(want[key], got[key], strict=True)):
            if not math.isclose(ours, theirs, rel_tol=tolerance):
                sys.exit(f"error: {key} of step {step}: isoflop {ours}, {variant} {theirs}")


def rows_of(job, sides, result, options):
    size, vocab = job.split(":")
    told = next(side for side in sides if side.name == "isoflop").about
    rows = []
    for mode in ("one-cell", "whole-machine"):
        ks = {side.cells for side in sides}
        if mode == "whole-machine" and ks == {1}:
            continue
        entered = [side for side in sides if mode == "whole-machine" or side.cells == 1]
        median = lambda side: statistics.median(side.rates)  # noqa: E731
        ours = max((side for side in entered if side.name == "isoflop"), key=median)
        theirs = max((side for side in entered if side.name != "isoflop"), key=median)
        tokens = {side: median(side) * told["tokens_per_step"] for side in (ours, theirs)}
        memory = Side.gpu_mb if options.device == "cuda" else Side.peak_mb
        gflops = {side: rate * told["flops_per_token"] / 1e9 for side, rate in tokens.items()}
        rows.append(
            {
                "size": size,
                "vocab": int(vocab),
                "mode": mode,
                "params": told["params"],
                "flops_per_token": told["flops_per_token"],
                "isoflop_cells": ours.cells,
                "torch_cells": theirs.cells,
                "isoflop_tokens_per_s": tokens[ours],
                "torch_tokens_per_s": tokens[theirs],
                "torch_variant": theirs.name,
                "ratio": tokens[ours] / tokens[theirs],
                "gflops": gflops[ours],
                "torch_gflops": gflops[theirs],
                "gemm_share": gflops[ours] / result["gemm"]["peak_gflops"],
                "torch_gemm_share": gflops[theirs] / result["gemm"]["peak_gflops"],
                "peak_mb": memory(ours),
                "torch_peak_mb": memory(theirs),
                "torch_tried_tokens_per_s": {
                    name: rate * told["tokens_per_step"] for name, rate in theirs.tried.items()
                },
                "isoflop_turns": [r * told["tokens_per_step"] for r in ours.rates],
                "torch_turns": [r * told["tokens_per_step"] for r in theirs.rates],
            }
        )
    result["about"]["versions"]["isoflop"] = f"{told['version']} ({described()})"
    result["about"]["versions"]["torch"] = theirs.about["torch"]
    if theirs.about.get("card"):
        result["about"]["card"] = theirs.about["card"]
    return rows


def described():
    """The commit, which a packed folder carries in a file."""
    packed = ROOT / "COMMIT"
    return packed.read_text().strip() if packed.exists() else first("git", "describe", "--always", "--dirty")


def first(*command):
    """First line of a command's output."""
    return next(iter((run(*command) or "").splitlines()), "unknown").strip()


def compiler():
    """Version of the compiler of a binary that was built here."""
    return first("rustc", "--version").removeprefix("rustc ").split()[0]


def run(*command):
    """A command's output; None where it is missing or fails."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def about(cores, options):
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        text = pathlib.Path("/proc/cpuinfo").read_text()
        cpu = (re.findall(r"model name\s*: (.*)", text) or [cpu])[0]
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{cpu}, {cores} cores used, {platform.system()} {platform.machine()}",
        "load": os.getloadavg()[0],
        "rounds": options.rounds,
        "turn_s": options.seconds,
        "versions": {
            # A binary from elsewhere was not built by the compiler that is here.
            **({} if options.binary else {"rustc": compiler()}),
            "Python": platform.python_version(),
        },
    }


def report(result):
    told, peak = result["about"], result["gemm"]
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    machine = ", ".join(filter(None, (told.get("card"), told["machine"])))
    lines = [
        f"* Machine: {machine}; load before the start {told['load']:.1f}; {told['date']}.",
        f"* Versions: {versions}.",
        f"* Medians of {told['rounds']} turns of about {told['turn_s']:g} s.",
        f"* Best matrix product (f32, all cores): {peak['gemm_peak_gflops']:.0f} GFLOP/s by isoflop's, "
        f"{peak['torch_peak_gflops']:.0f} by PyTorch's; shares are of the higher."
        if "torch" in peak
        else f"* Shares are of {peak['peak_gflops']:.0f} GFLOP/s, dense bf16 (MFU).",
        *(f"* {note}" for note in dict.fromkeys(result["notes"])),
    ]
    for mode in ("one-cell", "whole-machine"):
        rows = [row for row in result["rows"] if row["mode"] == mode]
        if rows:
            lines += ["", f"**{mode}**", ""] + HEADER + [line(row) for row in rows]
    return "\n".join(lines)


HEADER = [
    "| size | V | isoflop tokens/s | PyTorch tokens/s | isoflop / PyTorch | isoflop GFLOP/s (share) "
    "| PyTorch GFLOP/s (share) | peak MB, isoflop | PyTorch | PyTorch by |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
]


def line(row):
    side_by_side = row["mode"] == "whole-machine"
    cells = lambda who: f" ({row[who + '_cells']} cells)" if side_by_side else ""  # noqa: E731
    memory = lambda mb: "?" if mb is None else f"{mb:,.0f}"  # noqa: E731
    ratio = row["ratio"]
    quick = f"{ratio:.2f}" if ratio >= 1 else f"**{ratio:.2f}, PyTorch is quicker**"
    return (
        f"| {row['size']} | {row['vocab']} "
        f"| {row['isoflop_tokens_per_s']:,.0f}{cells('isoflop')} "
        f"| {row['torch_tokens_per_s']:,.0f}{cells('torch')} | {quick} "
        f"| {row['gflops']:.1f} ({row['gemm_share']:.0%}) "
        f"| {row['torch_gflops']:.1f} ({row['torch_gemm_share']:.0%}) "
        f"| {memory(row['peak_mb'])} | {memory(row['torch_peak_mb'])} | {row['torch_variant']} |"
    )


if __name__ == "__main__":
    main()
