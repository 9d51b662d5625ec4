#!/usr/bin/env bash
# The CUDA build without a GPU: `scripts/gpu/rehearse.sh [BINARY]`, before a machine with a GPU is at hand.
# NVIDIA's own kernel compiler and headers come from PyPI, the driver is fake/cuda.c (which says what this can prove).
# Every kernel is written, compiled for an H100 and launched within its limits; launches and the host's time are
# counted; what is missing is named; a card that fails is survived. No figure that a GPU computes or takes is looked at.
# Without BINARY it is built first. REHEARSAL_LOGS=DIR keeps the logs. Each step has a limit of its own and a failed one
# does not stop the next; the exit code is then 1.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
case "${1:-}" in -h | --help) sed -n '2,7s/^# //p' "$0"; exit 0 ;; esac
binary=${1:+$(realpath "$1")}

stop() { echo "rehearse: $*" >&2; exit 2; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/isoflop-rehearsal
# On the file system of the toolkit, whose libraries get a second name here.
mkdir -p "$cache" && scratch=$(mktemp -d -p "$cache" run.XXXXXX) || exit 2
trap 'rm -rf "$scratch"' EXIT
logs=${REHEARSAL_LOGS:-$scratch/logs}
mkdir -p "$logs" && logs=$(realpath "$logs") && rm -f "$logs"/*.counts || exit 2

# What the rehearsal needs ---------------------------------------------------------------------------------------

if [ ! -x "$cache/bin/pip" ]; then
  python3 -m venv "$cache" || stop "python3 -m venv $cache failed; install python3-venv"
fi
"$cache/bin/pip" install -q --disable-pip-version-check --no-deps 'nvidia-cuda-nvrtc==13.0.*' \
  'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-crt==13.0.*' 'nvidia-cuda-cccl==13.0.*' >"$logs/pip.log" 2>&1 ||
  stop "pip cannot install NVIDIA's compiler and headers: $(tail -1 "$logs/pip.log")"
# ptxas, which turns PTX into the card's own code as the driver does: only one step is without it.
"$cache/bin/pip" install -q --disable-pip-version-check --no-deps 'nvidia-cuda-nvcc==13.0.*' >>"$logs/pip.log" 2>&1
toolkit=$(ls -d "$cache"/lib/python3*/site-packages/nvidia/cu13 2>/dev/null | head -1)
for file in include/cuda_bf16.h include/mma.h include/cuda_runtime.h include/cccl/cuda/barrier lib/libnvrtc.so.13; do
  [ -e "$toolkit/$file" ] || stop "$file is not among NVIDIA's packages in ${toolkit:-$cache}"
done

# Everything that a CUDA toolkit and a driver would have, so that each part can be left out.
mkdir -p "$scratch/lib" "$scratch/ptx"
fake() { cc -O2 -fPIC -shared -I"$toolkit/include" -Wl,-soname,"$1" -o "$scratch/lib/$1" "${@:2}"; }
fake libcuda.so.1 scripts/gpu/fake/cuda.c -ldl -lpthread || stop "the fake driver does not compile"
fake libcupti.so.13 -DFAKE_CUPTI scripts/gpu/fake/cuda.c -ldl || stop "the fake CUPTI does not compile"
fake libcublasLt.so.13 -x c - <<<'unsigned long cublasLtGetVersion(void) { return 130000; }' || stop "cc failed"
# No symbolic links: a library is also looked for beside what a link points to.
find "$toolkit/lib" -maxdepth 1 -name '*.so*' -exec cp -lP {} "$scratch/lib/" \; || stop "cp failed"
for lib in libcuda.so.1 libcupti.so.13 libcublasLt.so.13 libnvrtc.so.13; do
  ln -sf "$lib" "$scratch/lib/${lib%.so.*}.so"
done
root() { # NAME [PATTERN]: a toolkit without the libraries of the pattern, or without headers
  mkdir -p "$scratch/$1/lib"
  cp -lP "$scratch"/lib/* "$scratch/$1/lib/"
  [ -z "${2:-}" ] || find "$scratch/$1/lib" -name "$2" -delete
  [ "${2:-}" = headers ] || ln -sfn "$toolkit/include" "$scratch/$1/include"
}
# Products are the build's own: the stand-in for cuBLASLt has nothing to call.
root whole 'libcublasLt*'

if [ -z "$binary" ]; then
  echo "building; half an hour where nothing is built yet"
  export CUDARC_CUDA_VERSION=13000
  llvm=../shared/tools/llvm-from-debian.sh
  [ ! -x "$llvm" ] || eval "$("$llvm")"
  binary=$(cargo build --release --locked --features cuda --bin isoflop --message-format=json-render-diagnostics |
    python3 -c '
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if m.get("executable") and m["target"]["name"] == "isoflop":
        print(m["executable"])' | tail -1)
fi
[ -x "$binary" ] || stop "no binary: ${binary:-the build failed}"

# Steps ----------------------------------------------------------------------------------------------------------

table=() bad=0
# NAME LIMIT CODES COMMAND ...: runs it; its exit code must be among CODES; `verdict` prints the line.
step() {
  name=$1 limit=$2 codes=$3
  shift 3
  begin=$SECONDS
  # What a fake card tunes and compiles must not lie where a real one looks.
  timeout -k 20 "$limit" env -u CUDA_VISIBLE_DEVICES -u CUDA_HOME -u VIRTUAL_ENV -u CONDA_PREFIX -u ISOFLOP_CACHE \
    XDG_CACHE_HOME="$scratch/cache" FAKECUDA_LOG="$logs/$name.counts" FAKECUDA_PTX="$scratch/ptx" \
    CUDA_PATH="$scratch/$use" LD_LIBRARY_PATH="$scratch/$use/lib" PATH="${path:-$PATH}" \
    "$@" >"$logs/$name.out" 2>"$logs/$name.err" </dev/null
  rc=$?
  why=
  case " $codes " in
    *" $rc "*) ;;
    *) [ $rc = 124 ] && why="not done after $limit s" || why="exit code $rc, not ${codes// / or }" ;;
  esac
}
verdict() { # DETAIL: of the step that ran, good unless $why says otherwise
  local mark=ok
  [ -z "$why" ] || { mark=FAIL; bad=1; }
  local line
  line=$(printf '%-4s %-20s %5ss  %s' "$mark" "$name" $((SECONDS - begin)) "${why:+$why; }$1")
  echo "$line"
  table+=("$line")
  [ -z "$why" ] || tail -5 "$logs/$name.err" | cut -c1-300 | sed 's/^/       | /'
}
skip() { # NAME REASON
  table+=("$(printf '%-4s %-20s %6s  %s' - "$1" '' "$2")")
  echo "${table[-1]}"
}
# A count of all processes of a step, 0 where there is none.
count() { awk -v k="$2" '$1 == k { n += $2 } END { printf "%.0f", n }' "$logs/$1.counts" 2>/dev/null || printf 0; }
counts() { # NAME
  printf '%s launches, %s replays, %s modules, %s waits, peak %s MB' "$(count "$1" launches)" "$(count "$1" replays)" \
    "$(count "$1" modules)" "$(count "$1" waits)" $(($(count "$1" peak_bytes) / 1000000))
}
device=(--device cuda)
use=whole path=

step device 60 0 "$binary" device
grep -q H100 "$logs/device.out" || why=${why:-it does not name the card}
verdict "$(grep -m1 H100 "$logs/device.out" | cut -c1-80)"

# What is missing is named: where the answer differs from that of a whole machine.
root all
use=all step device-json 60 0 "$binary" device --json
python3 -m json.tool "$logs/device-json.out" >/dev/null 2>&1 || why=${why:-its answer is no JSON}
verdict "a whole machine"
names_missing() { # NAME WORD: a path and value of the JSON that the whole machine has not, with the word in it
  python3 - "$logs" "$1" "$2" <<'PY'
import json, re, sys
def leaves(x, path=""):
    if isinstance(x, dict):
        path += "".join(f"[{x[k]}]" for k in ("name", "part", "library") if isinstance(x.get(k), str))
        return {p for k, v in x.items() for p in leaves(v, f"{path}.{k}")}
    if isinstance(x, list):
        return {p for v in x for p in leaves(v, path)}
    return {f"{path} {x}".lstrip(".")}
def read(name, root):
    return leaves(json.loads(open(f"{sys.argv[1]}/{name}.out").read().replace(f"/{root}/", "/all/")))
try:
    new = read(sys.argv[2], sys.argv[2]) - read("device-json", "all")
except ValueError as error:
    sys.exit(f"no JSON: {error}")
new = [x for x in new if re.search(sys.argv[3], x, re.I)]
print(min(new, key=lambda x: (".problem" not in x, len(x)))[:110] if new else "")
sys.exit(not new)
PY
}
# Does the machine itself have the library, where isoflop looks?
own() {
  { ldconfig -p; ls /usr/local/cuda*/{lib64,targets/*/lib} /opt/cuda/lib64 /usr/lib/*-linux-gnu /usr/lib64 \
    /opt/*/.venv/lib/python3*/site-packages/nvidia/*/lib /usr/local/nvidia/lib64 /usr/lib/wsl/lib; } 2>/dev/null |
    grep -q "$1.so"
}
missing() { # NAME PATTERN CODE WORD
  if [[ $2 == lib* ]] && own "${2%%.*}"; then
    skip "without-$1" "this machine has its own ${2%%.*}"
    return
  fi
  root "without-$1" "$2"
  # Python on the path would lead to its packages.
  use=without-$1 path=/nowhere step "without-$1" 60 "$3" "$binary" device --json
  local said
  said=$(names_missing "without-$1" "$4" 2>&1) || why=${why:-the JSON does not name it}
  verdict "$said"
}
missing libcuda 'libcuda.so*' 2 'libcuda|driver'
missing nvrtc 'libnvrtc.so*' 2 nvrtc
missing builtins 'libnvrtc-builtins.*' 2 builtins
missing headers headers 2 'header|include|cuda_bf16'
missing cublasLt 'libcublasLt.so*' 0 cublas

step check 1200 0 "$binary" device check "${device[@]}" --compile-only --limit 1100
verdict "$(counts check)"

step bench 1200 0 "$binary" device bench 30k:256 10M:256 124M:50304 "${device[@]}" --steps 3 --limit 1100 --json
rows=$(python3 - "$logs/bench.out" 2>&1 <<'PY'
import json, sys
layers, many = {"30k": 3, "10M": 6, "124M": 12}, []
for row in json.load(open(sys.argv[1]))["rows"]:
    most = 56 * layers[row["job"].split(":")[0]] + 24  # a copy of padded rows anywhere is one more a layer
    if row["launches_per_step"] > most:
        many.append(f"{row['job']}: {row['launches_per_step']:g} launches a step, at most {most}")
    print("{job}, {cells} cell(s): {launches_per_step:.0f} launches a step, {host_us_per_launch:.1f} us each, "
          "{host_us_per_step:.0f} us a step, {waits_per_step:g} waits".format(**row))
sys.exit("; ".join(many) or 0)
PY
) || why=${why:-$(tail -1 <<<"$rows")}
verdict "$(counts bench)"
if [ -n "$rows" ]; then
  rows=$(sed 's/^/       /' <<<"$rows")
  echo "$rows"
  table+=("$rows")
fi

# A sweep of seconds. Its losses are read as zeros, as leftovers would end most cells; all must end, also as diverged.
sweep() { # NAME LIMIT CODES SWEEP RESULTS [VARIABLE ...]
  step "$1" "$2" "$3" env FAKECUDA_ZERO_READS=1024 "${@:6}" "$binary" run "$4" "${device[@]}" --train-only \
    --results "$5/results" --analysis "$5/analysis"
  states=$(env XDG_CACHE_HOME="$scratch/cache" "$binary" status "$4" --json --results "$5/results" 2>/dev/null |
    python3 -c '
import collections, json, sys
states = collections.Counter(c["state"] for c in json.load(sys.stdin))
print(*(f"{n} {s}" for s, n in states.items()), sep=", ")' 2>/dev/null)
}
ended() { # every cell
  [ -n "$states" ] && ! sed 's/[0-9]* \(completed\|diverged\)\(, \)\?//g' <<<"$states" | grep -q '[a-z]'
}
sweep smoke 1200 '0 1' sweeps/smoke.toml "$scratch/one"
ended || why=${why:-not every cell ended}
verdict "${states:-no ledger}; $(counts smoke)"

# `[device]` of the sweep replaced; without a word on workers each card gets one.
two=$scratch/two.toml
awk '/^\[/ { own = $0 ~ /^\[device[].]/ } !own' sweeps/smoke.toml >"$two"
printf '\n[device]\nkind = "cuda"\ndevices = [0, 1]\n' >>"$two"
sweep two-cards 1200 '0 1' "$two" "$scratch/two" FAKECUDA_DEVICES=2
ended || why=${why:-not every cell ended}
each=()
for card in 0 1; do
  each+=("$(($(count two-cards card${card}_launches) + $(count two-cards card${card}_replayed_nodes)))")
  [ "${each[-1]}" -gt 0 ] || why=${why:-card $card got nothing}
done
verdict "${states:-no ledger}; kernels on the cards ${each[*]}"

# A card that fails on the way: try again later (75), and nothing is the cells' fault.
all=$(($(count smoke launches) + $(count smoke replayed_nodes)))
if [ "$all" -gt 0 ]; then
  sweep fault 1200 75 sweeps/smoke.toml "$scratch/fault" FAKECUDA_FAIL_AFTER=$((all * 6 / 10))
  case "$states" in *failed*) why=${why:-a cell is recorded as failed} ;; esac
  verdict "${states:-no ledger}; $(count fault launches) launches until then"
  sweep after-fault 1200 '0 1' sweeps/smoke.toml "$scratch/fault"
  ended || why=${why:-not every cell ended}
  verdict "${states:-no ledger}; $(count after-fault launches) launches more"
else
  skip fault "the smoke sweep launched nothing"
fi

# The driver compiles PTX once more when it loads a module; ptxas does the same here.
if [ -x "$toolkit/bin/ptxas" ]; then
  md5sum "$scratch"/ptx/*.ptx 2>/dev/null | sort -u -k1,1 | awk '{ print $2 }' >"$scratch/modules"
  step ptxas 600 0 xargs -a "$scratch/modules" -P 2 -I{} \
    sh -c '"$0" -v -arch=sm_90a -o /dev/null "$1" 2>&1 || { echo "refused: $1"; exit 1; }' "$toolkit/bin/ptxas" {}
  [ -s "$scratch/modules" ] || why=${why:-no module was loaded}
  verdict "$(wc -l <"$scratch/modules") modules, $(awk '
    / bytes spill stores/ && $5 > 0 { spills++ }
    /Used [0-9]+ registers/ { match($0, /Used [0-9]+/); n = substr($0, RSTART + 5, RLENGTH - 5) + 0; if (n > most) most = n }
    /^refused/ { refused++ }
    END { printf "%d refused, %d spill registers, at most %d registers a thread", refused, spills, most }' "$logs/ptxas.out")"
else
  skip ptxas "pip has no nvidia-cuda-nvcc"
fi

echo
echo "Rehearsal of $(basename "$binary") ($("$binary" --version 2>/dev/null)), $(date -u +%F), NVRTC $(
  "$cache/bin/pip" list --disable-pip-version-check 2>/dev/null | awk '/nvidia-cuda-nvrtc/ { print $2 }'), no GPU:"
printf '%s\n' "${table[@]}"
exit $bad
