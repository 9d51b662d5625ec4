"""First look at a machine with an NVIDIA GPU, without isoflop: its libraries, one kernel, its ceilings.

    probe.py --find          `export` lines for the shell: CUDA_PATH, LD_LIBRARY_PATH; the story on stderr
    probe.py --chain         driver, NVRTC with cubecl's options, load, launch, read back, values checked
    probe.py --ceilings      by torch: copies, bf16 products at our shapes, attention, launches, graphs

`--find --pip` prefers the toolkit that pip packages bring. `--json FILE` keeps the figures, `--limit S` ends
the ceilings in time: what is left out is said. Figures are medians after a warm-up, on random values.
"""

import argparse
import contextlib
import ctypes
import glob
import json
import math
import os
import pathlib
import random
import statistics
import struct
import sys
import sysconfig
import time

BEGIN = time.perf_counter()
# What cubecl's kernels include; `cuda/barrier` is CCCL's.
HEADERS = ("cuda_bf16.h", "cuda_fp16.h", "mma.h", "crt/mma.h", "cooperative_groups.h", "cuda/barrier")
# Where libcuda lies: folders that the loader may not know, and its own, which no path may put first.
DRIVERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib")
SYSTEM = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64")
MATRIX = 16  # rows and columns of the product that --chain computes


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    does = parser.add_mutually_exclusive_group(required=True)
    does.add_argument("--find", action="store_true")
    does.add_argument("--chain", action="store_true")
    does.add_argument("--ceilings", action="store_true")
    parser.add_argument("--pip", action="store_true", help="with --find: pip's toolkit before the system's")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, as they come")
    parser.add_argument("--limit", type=float, default=35.0, metavar="S", help="default 35")
    options = parser.parse_args()
    if options.find:
        find(options.pip)
    elif options.chain:
        chain()
    else:
        ceilings(Figures(options.json), BEGIN + options.limit)


def tell(*words):
    print(*words, file=sys.stderr, flush=True)


# --find


def roots(pip_first):
    """Folders that may hold a CUDA toolkit, likeliest first."""
    site = {sysconfig.get_paths()["purelib"], *glob.glob("/opt/*/.venv/lib/python3*/site-packages")}
    pip = [f"{folder}/nvidia/cu13" for folder in sorted(site)]
    system = [
        os.environ.get("CUDA_PATH") or os.environ.get("CUDA_HOME"),
        "/usr/local/cuda",
        *sorted(glob.glob("/usr/local/cuda-*"), reverse=True),
        "/opt/cuda",
    ]
    both = pip + system if pip_first else system + pip
    there = [os.path.realpath(root) for root in both if root and os.path.isdir(root)]
    return list(dict.fromkeys(there))


def holds(root, header):
    return any(os.path.exists(f"{root}/include/{folder}{header}") for folder in ("", "cccl/"))


def find(pip_first):
    """CUDA_PATH: the first root with all headers and NVRTC. LD_LIBRARY_PATH: its folder and the driver's."""
    best, least = None, None
    for root in roots(pip_first):
        folders = [f"{root}/{lib}" for lib in ("lib64", "lib", "targets/x86_64-linux/lib")]
        missing = [header for header in HEADERS if not holds(root, header)]
        # NVRTC loads without its builtins and then fails at every kernel.
        nvrtc = next(
            (d for d in folders if all(glob.glob(f"{d}/{n}.so*") for n in ("libnvrtc", "libnvrtc-builtins"))),
            None,
        )
        tell(f"{root}: headers missing {missing or 'none'}, NVRTC with builtins in {nvrtc or 'none'}")
        if not missing and nvrtc and not best:
            best = (root, nvrtc)
        if nvrtc and (not least or len(missing) < len(least[2])):
            least = (root, nvrtc, missing)
    if not best and least:
        tell(f"MISSING: headers {least[2]}; the nearest root is taken")
        best = least[:2]
    kept = [d for d in os.environ.get("LD_LIBRARY_PATH", "").split(":") if d]
    known = [d for d in (*kept, *DRIVERS, *SYSTEM) if "stubs" not in d]
    driver = next((d for d in known if glob.glob(f"{d}/libcuda.so*")), None)
    tell(f"libcuda in {driver or 'no known folder'}")
    # A folder of stubs would win over the driver: libcuda.so is asked for before libcuda.so.1.
    path = [best[1] if best else None, *kept, driver if driver in DRIVERS else None]
    path = [d for d in dict.fromkeys(path) if d and "stubs" not in d]
    print(f"export LD_LIBRARY_PATH='{':'.join(path)}'")
    if best:
        print(f"export CUDA_PATH='{best[0]}'")
    else:
        tell("MISSING: a CUDA toolkit with NVRTC")
        sys.exit(1)


# --chain

SOURCE = b"""
#include <cuda_bf16.h>
#include <mma.h>
using namespace nvcuda;
extern "C" __global__ void product(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, wmma::row_major> x;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, wmma::row_major> y;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
    wmma::fill_fragment(sum, 0.0f);
    wmma::load_matrix_sync(x, a, 16);
    wmma::load_matrix_sync(y, b, 16);
    wmma::mma_sync(sum, x, y, sum);
    wmma::store_matrix_sync(c, sum, 16, wmma::mem_row_major);
}"""
BARRIER = b'#include <cooperative_groups.h>\n#include <cuda/barrier>\nextern "C" __global__ void none() {}'


def chain():
    """A product on the tensor cores, by the calls that cubecl makes: what must work before any of ours can."""
    cuda = load("libcuda.so", "libcuda.so.1")
    nvrtc = load("libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12")
    driver, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    call(cuda, "cuInit", 0)
    call(cuda, "cuDriverGetVersion", ctypes.byref(driver))
    call(nvrtc, "nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    version = (driver.value // 1000, driver.value % 1000 // 10)
    print(f"driver CUDA {version[0]}.{version[1]}, NVRTC {major.value}.{minor.value}", flush=True)
    if (major.value, minor.value) > version:
        print("NVRTC is newer than the driver: its PTX may be refused", flush=True)
    for attribute, out in ((75, major), (76, minor)):
        call(cuda, "cuDeviceGetAttribute", ctypes.byref(out), attribute, 0)
    options = cubecl_options(10 * major.value + minor.value)
    print(f"options {' '.join(options)}", flush=True)

    ptx, compiled = compile_ptx(nvrtc, SOURCE, options)
    print(f"compiled in {compiled:.2f} s, {len(ptx)} bytes of PTX", flush=True)
    context, module, kernel = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    call(cuda, "cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
    call(cuda, "cuCtxSetCurrent", context)
    begin = time.perf_counter()
    call(cuda, "cuModuleLoadData", ctypes.byref(module), ptx)
    loaded = time.perf_counter() - begin
    call(cuda, "cuModuleGetFunction", ctypes.byref(kernel), module, b"product")

    a, b = random_bf16(1), random_bf16(2)
    poison = struct.pack("<f", math.nan) * MATRIX**2
    buffers = [upload(cuda, data) for data in (to_bf16(a), to_bf16(b), poison)]
    words = (ctypes.c_void_p * 3)(*[ctypes.addressof(buffer) for buffer in buffers])
    call(cuda, "cuLaunchKernel", kernel, 1, 1, 1, 32, 1, 1, 0, None, words, None)
    back = ctypes.create_string_buffer(len(poison))
    call(cuda, "cuMemcpyDtoHAsync_v2", back, buffers[2], ctypes.c_size_t(len(poison)), None)
    call(cuda, "cuCtxSynchronize")
    got = struct.unpack(f"<{MATRIX**2}f", back.raw)
    want = [
        sum(a[row * MATRIX + k] * b[k * MATRIX + column] for k in range(MATRIX))
        for row in range(MATRIX)
        for column in range(MATRIX)
    ]
    error = max((abs(g - w) if g == g else math.inf) for g, w in zip(got, want, strict=True))
    # Last and apart: only kernels with the bulk copy engine need this header.
    try:
        _, barrier = compile_ptx(nvrtc, BARRIER, options)
        print(f"cuda/barrier compiles, {barrier:.2f} s", flush=True)
    except SystemExit as failure:
        print(f"cuda/barrier is missing or does not compile: {failure}", flush=True)
    verdict = "right" if error < 1e-4 else "WRONG"
    print(f"chain {verdict}: worst error {error:.1e}; compile {compiled:.2f} s, load {loaded:.2f} s", flush=True)
    sys.exit(verdict != "right")


def load(*names):
    failures = []
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            failures.append(str(error))
    sys.exit(f"missing library: {'; '.join(failures)}")


def call(library, name, *arguments):
    """A function whose answer is zero when all is well."""
    # Device pointers are 64 bits wide: the types of ctypes objects say so, and plain numbers are small.
    code = getattr(library, name)(*arguments)
    if code:
        sys.exit(f"error {code} from {name}")


def cubecl_options(sm):
    """Those of cubecl-cuda 0.11."""
    root = os.environ.get("CUDA_PATH", "/usr/local/cuda")
    options = [f"--gpu-architecture=sm_{sm}{'a' if sm >= 90 else ''}", f"--include-path={root}/include", "-lineinfo"]
    if os.path.isdir(f"{root}/include/cccl"):
        options.append(f"--include-path={root}/include/cccl")
    return options


def compile_ptx(nvrtc, source, options):
    """(PTX, seconds)."""
    program, size, begin = ctypes.c_void_p(), ctypes.c_size_t(), time.perf_counter()
    call(nvrtc, "nvrtcCreateProgram", ctypes.byref(program), source, None, 0, None, None)
    words = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    code = nvrtc.nvrtcCompileProgram(program, len(options), words)
    if code:
        call(nvrtc, "nvrtcGetProgramLogSize", program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        call(nvrtc, "nvrtcGetProgramLog", program, log)
        sys.exit(f"error {code} from NVRTC: {' '.join(log.value.decode().split())[:500]}")
    call(nvrtc, "nvrtcGetPTXSize", program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    call(nvrtc, "nvrtcGetPTX", program, ptx)
    return ptx, time.perf_counter() - begin


def random_bf16(seed):
    """Values that bf16 holds exactly."""
    draw = random.Random(seed)
    return [draw.randint(-128, 127) / 64 for _ in range(MATRIX**2)]


def to_bf16(values):
    return b"".join(struct.pack("<f", value)[2:] for value in values)


def upload(cuda, data):
    pointer = ctypes.c_uint64()
    call(cuda, "cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(len(data)))
    call(cuda, "cuMemcpyHtoDAsync_v2", pointer, data, ctypes.c_size_t(len(data)), None)
    call(cuda, "cuCtxSynchronize")
    return pointer


# --ceilings

ROWS, CONTEXT, HEAD = 16384, 1024, 64
# Name, width, ff, vocabulary where its product counts.
MODELS = (("10M", 384, 1024, 0), ("124M", 768, 2048, 50304), ("350M", 1024, 2752, 50304), ("50M", 640, 1728, 0))
NODES = 300  # of a graph: about the launches of a small model's step
SMALL = 1024  # values that one such node touches


class Figures:
    """Prints each figure and keeps all of them in a file, so that a killed run has its figures too."""

    def __init__(self, file):
        self.file, self.kept = file, {}

    def add(self, name, value, unit, note=""):
        self.kept[name] = {"value": value, "unit": unit, **({"note": note} if note else {})}
        if self.file:
            text = json.dumps(self.kept, indent=1)
            pathlib.Path(self.file).write_text(f"{text}\n")

    def tell(self, name, value, unit, note=""):
        self.add(name, value, unit, note)
        print(f"{name:<34}{value:10.2f} {unit}{f'  {note}' if note else ''}", flush=True)


class Late(Exception):
    """The time is used up."""


def ceilings(figures, end):
    import torch

    if not torch.cuda.is_available():
        sys.exit("error: torch finds no GPU")
    torch.manual_seed(0)
    torch.empty(1, device="cuda")
    used = time.perf_counter() - BEGIN
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, ready after {used:.1f} s", flush=True)
    figures.add("start of torch", used, "s", f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    left_out = []
    # Most wanted first.
    for part in (copies, square, products, launches, attention, batched):
        try:
            part(torch, figures, end)
        except Late:
            left_out.append(part.__name__)
        except (RuntimeError, TypeError) as error:
            print(f"error in {part.__name__}: {str(error).splitlines()[0][:150]}", flush=True)
            left_out.append(part.__name__)
    if left_out:
        print(f"left out or cut short: {', '.join(left_out)}", flush=True)
    print(f"ceilings: {len(figures.kept)} figures in {time.perf_counter() - BEGIN:.1f} s", flush=True)


def median(torch, work, end, repeat=7):
    """Seconds of one run of `work` by events, each sample long enough for their resolution."""
    if time.perf_counter() > end - 1.0:
        raise Late
    work()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    torch.cuda.synchronize()
    inner = max(1, min(20, round(1e-3 / (time.perf_counter() - begin))))
    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeat)]
    for first, last in marks:
        first.record()
        for _ in range(inner):
            work()
        last.record()
    torch.cuda.synchronize()
    return statistics.median(first.elapsed_time(last) for first, last in marks) * 1e-3 / inner


def copies(torch, figures, end):
    """Bytes read and written a second, of buffers far larger than the cache."""
    a = torch.randn(1 << 28, device="cuda")
    b = torch.empty_like(a)
    figures.tell("copy f32, 1 GiB", 8 * a.numel() / median(torch, lambda: b.copy_(a), end) / 1e12, "TB/s")
    half = a.bfloat16()
    seconds = median(torch, lambda: half.copy_(a), end)
    figures.tell("cast f32 to bf16, 1 GiB", 6 * a.numel() / seconds / 1e12, "TB/s")
    seconds = median(torch, lambda: torch.add(a, a, out=b), end)
    figures.tell("add f32, 1 GiB", 8 * a.numel() / seconds / 1e12, "TB/s")


def square(torch, figures, end):
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    figures.tell("product 8192^3", 2e-12 * 8192**3 / median(torch, lambda: a @ b, end), "TFLOP/s")


def products(torch, figures, end):
    """Each linear layer's three products: forward (NN), to its input (NT), to its weight (TN, also into f32).

    Weights lie as isoflop's do, [in, out]. One line a layer; small operands stay in the cache.
    """
    print(f"products of bf16, {ROWS} rows [TFLOP/s]: NN, NT, TN, TN into f32", flush=True)
    for name, width, ff, vocab in MODELS:
        layers = [("qkv", width, 3 * width), ("out", width, width), ("gate_up", width, 2 * ff), ("down", ff, width)]
        if vocab:
            layers.append(("head", width, vocab))
        for layer, inside, outside in layers:
            draw = lambda *dims: torch.randn(*dims, device="cuda", dtype=torch.bfloat16)  # noqa: E731
            x, w, dy = draw(ROWS, inside), draw(inside, outside), draw(ROWS, outside)
            turns = {
                "NN": lambda: x @ w,  # noqa: B023
                "NT": lambda: dy @ w.T,  # noqa: B023
                "TN": lambda: x.T @ dy,  # noqa: B023
                "TN f32": lambda: torch.mm(x.T, dy, out_dtype=torch.float32),  # noqa: B023
            }
            told = []
            for turn, work in turns.items():
                try:
                    rate = 2e-12 * ROWS * inside * outside / median(torch, work, end)
                except (RuntimeError, TypeError) as error:
                    told.append("      -")
                    figures.add(f"product {name} {layer} {turn}", None, "TFLOP/s", str(error).splitlines()[0][:150])
                    continue
                figures.add(f"product {name} {layer} {turn}", rate, "TFLOP/s")
                told.append(f"{rate:7.0f}")
            print(f"  {name:<5}{layer:<8} {inside:>5} -> {outside:<6}{''.join(told)}", flush=True)


def batched(torch, figures, end):
    """Attention written out: [B H, T, T] of every head, its forward and backward products."""
    for name, width, _, _ in MODELS:
        groups = ROWS // CONTEXT * width // HEAD
        draw = lambda *dims: torch.randn(*dims, device="cuda", dtype=torch.bfloat16)  # noqa: E731
        q, k, p = draw(groups, CONTEXT, HEAD), draw(groups, CONTEXT, HEAD), draw(groups, CONTEXT, CONTEXT)
        flops = 2e-12 * groups * CONTEXT**2 * HEAD
        for turn, work in (
            ("QK NT", lambda: torch.bmm(q, k.mT)),  # noqa: B023
            ("PV NN", lambda: torch.bmm(p, k)),  # noqa: B023
            ("dV TN", lambda: torch.bmm(p.mT, k)),  # noqa: B023
        ):
            rate = flops / median(torch, work, end)
            figures.tell(f"batched {name} {turn}", rate, "TFLOP/s", f"[{groups}, {CONTEXT}, {CONTEXT}] x {HEAD}")


def attention(torch, figures, end):
    """PyTorch's fused causal attention."""
    fused = torch.nn.functional.scaled_dot_product_attention
    for name, width, _, _ in MODELS:
        dims = (ROWS // CONTEXT, width // HEAD, CONTEXT, HEAD)
        draw = lambda: torch.randn(*dims, device="cuda", dtype=torch.bfloat16)  # noqa: B023, E731
        q, k, v = (draw().requires_grad_() for _ in range(3))
        back = draw()
        forward = lambda: fused(q, k, v, is_causal=True)  # noqa: B023, E731
        with torch.no_grad():
            seconds = median(torch, forward, end)
        figures.tell(f"attention {name} forward", 1e3 * seconds, "ms", f"B H T d {dims}")
        both = median(torch, lambda: torch.autograd.grad(forward(), (q, k, v), back), end)  # noqa: B023
        figures.tell(f"attention {name} and backward", 1e3 * both, "ms")


def launches(torch, figures, end):
    """What one small kernel costs: launched alone, as a node of a graph, and in graphs side by side."""
    values = torch.randn(SMALL, device="cuda")

    def many(t):
        for _ in range(NODES):
            t.add_(1e-3)

    many(values)
    torch.cuda.synchronize()
    seconds = []
    for _ in range(7):
        begin = time.perf_counter()
        many(values)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    figures.tell("launch, eager torch", 1e6 * statistics.median(seconds) / NODES, "us each")
    for streams in (1, 4, 16):
        graphs = []
        for _ in range(streams):
            stream, graph, own = torch.cuda.Stream(), torch.cuda.CUDAGraph(), torch.randn(SMALL, device="cuda")
            with torch.cuda.graph(graph, stream=stream):
                many(own)
            graphs.append((stream, graph, own))

        def replay():
            for stream, graph, _ in graphs:  # noqa: B023
                with torch.cuda.stream(stream):
                    graph.replay()
            torch.cuda.synchronize()

        replay()
        if time.perf_counter() > end - 1.0:
            raise Late
        seconds = []
        for _ in range(15):
            begin = time.perf_counter()
            replay()
            seconds.append(time.perf_counter() - begin)
        seconds = statistics.median(seconds)
        note = f"{1e6 * seconds / NODES / streams:.2f} us a node, {NODES} nodes"
        figures.tell(f"graphs on {streams} streams", streams / seconds, "replays/s", note)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
