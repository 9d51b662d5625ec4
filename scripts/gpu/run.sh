#!/usr/bin/env bash
# On a machine with an NVIDIA GPU, in the unpacked folder of `pack.sh`: is it there, is it right, is it fast?
#
#   scripts/gpu/run.sh OUT first|second|dry SECONDS
#
# A line a step as it ends: name, exit code, seconds, the last informative line; after a failed one, why.
# Every step has its own limit and none outlives SECONDS; a failure does not stop the next, and late steps are
# shortened or skipped with a word. OUT gets summary.txt, figures.json, logs.tar.xz and cache.tar.xz, kept up to
# date, so a killed call has its figures too. `dry` tries every step with whatever is there. docs/GPU.md has the
# agenda. GPU_SKIP="peers tune" leaves steps out. Exit code: 0 when every step passed, else 1.
# shellcheck disable=SC2016 # single quotes around what another shell expands
set -uo pipefail

usage="usage: scripts/gpu/run.sh OUT first|second|dry SECONDS"
out=${1:?$usage} which=${2:?$usage} whole=${3:?$usage}
case $which in first | second | dry) ;; *) echo "$usage" >&2 && exit 2 ;; esac
case $whole in '' | *[!0-9]*) echo "$usage" >&2 && exit 2 ;; esac
end=$((SECONDS + whole)) start=$SECONDS
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
# What one call makes serves the next: kernels, tuning, PyTorch's compiled code.
work=${ISOFLOP_GPU_WORK:-${TMPDIR:-/tmp}/isoflop-gpu}
logs=$work/logs iso=$work/isoflop
closing=15 # seconds kept for packing what comes back
most_bytes=$((16 << 20))
rm -rf "$logs" && mkdir -p "$logs" "$work/lib" || exit 2
cd "$work" || exit 2
: >"$out/summary.txt"
rm -f "$out/figures.json"

export HOME=${HOME:-$work} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RUST_BACKTRACE=1
export CUDA_CACHE_PATH=$work/driver CUDA_CACHE_MAXSIZE=2147483648
export TORCHINDUCTOR_CACHE_DIR=$work/inductor TRITON_CACHE_DIR=$work/triton TORCHINDUCTOR_COMPILE_THREADS=8

# isoflop keeps compiled and tuned kernels in one database there; what it may tell of them is said here, in the
# file that CubeCL finds in the working folder. A step that is killed shows there which kernel it had reached.
export ISOFLOP_CACHE=$work/cubecl
cat >cubecl.toml <<TOML
[compilation.logger]
level = "basic"
file = "$logs/cubecl-compile.log"
[autotune]
level = "minimal"
[autotune.logger]
level = "full"
file = "$logs/cubecl-tune.log"
[profiling.logger]
level = "disabled"
file = "$logs/cubecl-profile.log"
TOML

failed=0 passed=0 skipped=0 ran=0 child='' warm=''

say() { echo "$*" | tee -a "$out/summary.txt"; }

pack_logs() {
  find "$logs" -type f -size +8M | while read -r file; do
    tail -c 2M "$file" >"$file.cut" && mv "$file.cut" "$file"
  done
  XZ_OPT=-1 tar -C "$work" -cJf "$out/logs.tar.xz" logs 2>/dev/null
  drop_large "$out/logs.tar.xz"
}

drop_large() { # what is too large to come back
  [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -le $most_bytes ] || { rm -f "$1" && say "$(basename "$1") was too large to keep" && false; }
}

pack_cache() {
  local parts
  for parts in "cubecl driver" "cubecl"; do
    mkdir -p "$work/cubecl" "$work/driver"
    # shellcheck disable=SC2086
    XZ_OPT='-3 -T0' timeout -k 1 6 tar -C "$work" -cJf "$out/cache.tar.xz" $parts 2>/dev/null || { rm -f "$out/cache.tar.xz" && continue; }
    drop_large "$out/cache.tar.xz" && return
  done
}

finish() {
  trap - EXIT INT TERM
  for process in $child $warm; do kill "$process" 2>/dev/null; done
  pack_logs
  pack_cache
  say "$which: $passed passed, $failed failed, $skipped skipped in $((SECONDS - start)) of $whole s"
  exit $((failed + skipped > 0))
}
trap finish EXIT
trap 'say "stopped by a signal"; finish' INT TERM

# Reads a step's log: its JSON and last lines go to figures.json, the last informative one to stdout, then why it
# failed.
digest() { # name, exit code, seconds, limit, lines to show
  python3 - "$logs/$1" "$out/figures.json" "$@" <<'PY' || tail -n 1 "$logs/$1.log" | cut -c1-100
import json, os, re, sys
path, figures, name, code, seconds, limit, show = sys.argv[1:]
with open(path + ".log", errors="replace") as file:
    text = re.sub(r"\x1b\[[0-9;]*m|\r", "", file.read())
noise = re.compile(r"^\s*$|^\s*\d+: |^\s+at |^note: |^stack backtrace|^fakecuda:|^  *\^")
results, plain, at = [], [], 0
while at < len(text):
    stop = text.find("\n", at) + 1 or len(text)
    if text[at] == "{":
        try:
            result, stop = json.JSONDecoder().raw_decode(text, at)
            results.append(result)
            at = stop
            continue
        except ValueError:
            pass
    plain.append(text[at:stop].rstrip())
    at = stop
if os.path.exists(path + ".json"):
    with open(path + ".json") as file:
        try:
            results.append(json.load(file))
        except ValueError:
            pass
kept = {}
if os.path.exists(figures):
    with open(figures) as file:
        kept = json.load(file)
shown = [line for line in plain if line and not noise.search(line)][-400:]
kept[name] = {"exit": int(code), "seconds": int(seconds), "results": results, "lines": shown}
with open(figures + ".new", "w") as file:
    json.dump(kept, file, indent=1)
os.replace(figures + ".new", figures)
lines = shown
# A hint says what to do, the line before it what happened.
telling = [line for line in lines if not line.startswith("hint:")] or lines
last = telling[-1].strip() if telling else "printed nothing"
if code in ("124", "137"):
    last = f"over its {limit} s: {last}"
print(last[:110])
before = telling[-int(show) - 1 : -1] if int(show) else []
for line in before:
    print("    " + line[:118])
if code != "0":
    why = re.compile(r"error|panic|missing|differs|wrong|not found|no such|refused|illegal|failed", re.I)
    told = []
    for i, line in enumerate(lines):
        if why.search(line):
            told.append(line.strip())
            if "panicked at" in line and i + 1 < len(lines):
                told.append(lines[i + 1].strip())
    shown = {line.strip()[:110] for line in [*before, last]}
    told = [line for line in dict.fromkeys(told) if line[:110] not in shown]
    for line in told[:3] + told[3:][-1:]:
        print("  ! " + line[:160])
PY
}

left_out() { # name: whether GPU_SKIP, a list of steps, names it
  case " ${GPU_SKIP:-} " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

step() { # name, least seconds, most seconds, command ...; @S@ is the time the command may give itself
  local name=$1 least=$2 limit=$3 begin=$SECONDS left=$((end - SECONDS - closing)) word words=() code told
  shift 3
  if left_out "$name"; then
    return 1
  fi
  [ "$which" != dry ] || least=1
  if [ "$left" -lt "$least" ]; then
    skip "$name" "$left s are left, it wants $least"
    return 1
  fi
  [ "$limit" -le "$left" ] || limit=$left
  [ "$which" != dry ] || [ "$limit" -le 10 ] || limit=10
  for word; do words+=("${word//@S@/$((limit > 8 ? limit - 4 : limit))}"); done
  # In the background, so that a signal to this script is heard.
  timeout -k 3 "$limit" "${words[@]}" >"$logs/$name.log" 2>&1 &
  child=$!
  wait $child
  code=$?
  child=''
  told=$(digest "$name" $code $((SECONDS - begin)) "$limit" "${show:-0}")
  say "$(printf '%-10s %3s %4ss  %s' "$name" $code $((SECONDS - begin)) "$told")"
  if [ $code = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  pack_logs
  return $code
}

skip() { # name, why
  say "$(printf '%-10s   -    0s  skipped: %s' "$1" "$2")"
  skipped=$((skipped + 1))
}

ours() { # a step of our binary: 0 is right and 1 wrong, and in both cases it ran
  step "$@"
  local code=$?
  [ $code -gt 1 ] || ran=$((ran + 1))
  return $code
}

wants() { # a step that is worth its time only where something of ours ran
  if [ $ran = 0 ] && [ "$which" != dry ]; then
    skip "$1" "nothing of isoflop ran"
    return 1
  fi
  ours "$@"
}

# Of the carried libraries only those that this machine lacks: its own may be newer and others need them.
lay_libraries() {
  local wanted laid
  rm -f "$work"/lib/*
  if ldd "$root/bin/isoflop" 2>&1 | grep -q 'version .* not found'; then
    ln -sf "$root"/lib/* "$work/lib/"
    return
  fi
  # A library that was laid may want another.
  for _ in 1 2 3 4 5; do
    laid=0
    for wanted in $(LD_LIBRARY_PATH=$work/lib ldd "$root/bin/isoflop" 2>/dev/null | awk '/not found/ { print $1 }'); do
      if [ -e "$root/lib/$wanted" ] && [ ! -e "$work/lib/$wanted" ]; then
        ln -s "$root/lib/$wanted" "$work/lib/$wanted" && laid=1
      fi
    done
    [ $laid = 1 ] || break
  done
}

# Sets the binary's environment. PyTorch keeps its own libraries: it must not see the toolkit's first.
find_cuda() { # further options of probe.py
  python3 "$root/scripts/gpu/probe.py" --find "$@" >"$logs/exports.sh" 2>>"$logs/find.log"
  {
    echo '#!/usr/bin/env bash'
    cat "$logs/exports.sh"
    echo "export LD_LIBRARY_PATH=\"\${LD_LIBRARY_PATH:+\$LD_LIBRARY_PATH:}$work/lib\""
    echo "exec \"\$@\""
  } >"$work/with-cuda"
  printf '#!/usr/bin/env bash\nexec "%s" "%s" "$@"\n' "$work/with-cuda" "$root/bin/isoflop" >"$iso"
  chmod +x "$work/with-cuda" "$iso"
}

where() {
  step where 3 20 bash -c '
    nvidia-smi; uname -r; nproc; lscpu | grep "Model name"; free -g | head -2; ldd --version | head -1
    ls -d /usr/local/cuda*; command -v nvcc compute-sanitizer ncu python3; nvcc --version | tail -1
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,temperature.gpu,power.draw --format=csv,noheader'
  lay_libraries
  find_cuda
  tail -n 3 "$logs/find.log" | cut -c1-120
  step libs 2 10 bash -c '
    [ -x "$2" ] || { echo "missing: $2"; exit 1; }
    ! "$1" ldd "$2" 2>&1 | grep "not found" && echo "all found; carried: $(ls "$3" | tr "\n" " ")"' \
    libs "$work/with-cuda" "$root/bin/isoflop" "$work/lib"
  step device 3 20 bash -c '"$1" device --json; "$1" device' device "$iso"
  if ! step chain 3 35 "$work/with-cuda" python3 "$root/scripts/gpu/probe.py" --chain; then
    find_cuda --pip
    if step chain-pip 3 35 "$work/with-cuda" python3 "$root/scripts/gpu/probe.py" --chain; then
      say "  CUDA from pip's packages is used from here on"
    else
      find_cuda
    fi
  fi
}

first() {
  # PyTorch compiles its side while ours is only checked, not timed.
  if ! left_out peers; then
    timeout -k 3 150 python3 "$root/benches/peers/train.py" --device cuda --binary "$iso" \
      --warm 124M:50304 10M:256 >"$logs/warm.log" 2>&1 &
    warm=$!
  fi
  local check=("$iso" device check --device cuda --limit @S@ --only)
  ours hello 5 45 "${check[@]}" hello
  show=2 ours operations 8 90 "${check[@]}" operations
  show=2 ours products 8 80 "${check[@]}" products --matmul fixed
  show=2 ours step 8 90 "${check[@]}" step --matmul fixed
  show=2 ours golden 8 60 "${check[@]}" golden --matmul fixed
  [ -z "$warm" ] || rest_warm
  bench=("$iso" device bench --device cuda --limit @S@)
  show=4 wants bench 12 80 "${bench[@]}" 10M:256 124M:50304 --matmul fixed --cells 1 --seconds 3
  show=20 wants strategies 12 75 "${bench[@]}" --products 124M:50304 10M:256
  step ceilings 10 40 python3 "$root/scripts/gpu/probe.py" --ceilings --limit @S@ --json "$logs/ceilings.json"
  show=4 wants peers 30 100 python3 "$root/benches/peers/train.py" --device cuda --binary "$iso" --matmul fixed \
    --jobs 124M:50304,10M:256 --rounds 3 --seconds 1 --limit @S@ --json "$logs/peers.json"
  rm -rf "$work/results" "$work/analysis"
  wants smoke 12 75 "$iso" run "$root/sweeps/smoke.toml" --device cuda --matmul fixed \
    --results "$work/results" --analysis "$work/analysis"
  show=2 wants tune 25 120 "${bench[@]}" 124M:50304 --matmul autotune --cells 1 --steps 3 && touch "$work/tuned"
  profile
}

# Waits a little for PyTorch's compiler, since nothing else may run while something is timed.
rest_warm() {
  local begin=$SECONDS word='done'
  while kill -0 "$warm" 2>/dev/null; do
    if [ $((SECONDS - begin)) -ge 30 ] || [ $((end - SECONDS)) -lt 200 ]; then
      kill "$warm" 2>/dev/null
      word='stopped, the rest it compiles later'
      break
    fi
    sleep 0.5
  done
  wait "$warm" 2>/dev/null || [ "$word" != 'done' ] ||
    word="failed: $(grep -v '^ *$' "$logs/warm.log" | tail -n 1 | cut -c1-90)"
  warm=''
  say "  PyTorch compiled meanwhile: $word, $((SECONDS - begin)) s more"
}

second() {
  bench=("$iso" device bench --device cuda --limit @S@)
  show=2 ours twice 8 35 "$iso" device check --device cuda --limit @S@ --only twice --matmul fixed
  show=5 wants speed 15 65 "${bench[@]}" 124M:50304 10M:256 350M:50304 --matmul fixed --cells 1 --seconds 3
  show=12 wants cells 12 60 "${bench[@]}" 30k:256 3M:256 --matmul fixed --cells 1,2,4,8,16 --seconds 2
  if [ -e "$work/tuned" ] || [ "$which" = dry ]; then
    show=2 wants tuned 12 40 "${bench[@]}" 124M:50304 --matmul autotune --cells 1 --seconds 3
  fi
  wants memcheck 15 50 "$work/with-cuda" compute-sanitizer --tool memcheck --error-exitcode 9 \
    "$root/bin/isoflop" device check --device cuda --only operations --limit @S@
  [ -e "$work/profiled" ] || profile
}

# The time of every kernel of a few steps goes to logs/cubecl-profile.log.
profile() {
  wants profile 10 30 env CUBECL_DEBUG_OPTION=profile-medium "${bench[@]}" 124M:50304 --matmul fixed --cells 1 --steps 2 &&
    touch "$work/profiled"
}

commit=$(cat "$root/COMMIT" 2>/dev/null || git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
say "isoflop $commit, $which, $whole s, $(date -u +%FT%TZ); step, exit code, seconds"
carried=$root/carried/cache.tar.xz
if [ -f "$carried" ] && [ ! -d "$work/cubecl" ]; then
  tar -C "$work" -xJf "$carried" && say "  kernels and tuning carried over"
fi
# What the first call found is taken by the second, where it is still there.
if [ "$which" != second ] || [ ! -x "$iso" ]; then where; fi
if [ "$which" != second ]; then first; fi
if [ "$which" != first ]; then second; fi
