#!/usr/bin/env bash
# On a machine with an NVIDIA GPU, in the unpacked directory: is it there, is it right, is it fast?
# `scripts/gpu/run.sh OUT` writes full logs to OUT and a short table last. Each step has its own limit and
# a failed one does not stop the next. Not yet run on a GPU.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${1:?usage: scripts/gpu/run.sh OUT}
mkdir -p "$out"
summary="$out/summary.txt"
: >"$summary"
step() { # name, seconds, command ...
  local name=$1 limit=$2 begin=$SECONDS
  shift 2
  timeout "$limit" "$@" >"$out/$name.log" 2>&1
  local rc=$?
  printf '%-14s rc %-4s %4ss  %s\n' "$name" "$rc" $((SECONDS - begin)) "$(tail -1 "$out/$name.log" | cut -c1-90)" >>"$summary"
}

step where 30 bash -c 'nvidia-smi; ldconfig -p | grep -E "libcuda|libnvrtc"; find / -name "libdevice*.bc" -not -path "/proc/*" 2>/dev/null; ls -d /usr/local/cuda*/include 2>/dev/null; echo CUDA_PATH=${CUDA_PATH:-}'
step kernels 240 bin/tests ops::cube
step smoke 120 bin/isoflop run sweeps/smoke.toml --device cuda --results "$out/results-cuda" --analysis "$out/analysis-cuda"
step smoke-cpu 120 bin/isoflop run sweeps/smoke.toml --device cpu --results "$out/results-cpu" --analysis "$out/analysis-cpu"
step speed 300 bin/train --device cuda
step peers 600 python3 benches/peers/train.py --device cuda --binary bin/train --json "$out/peers.json"
cat "$out/speed.log" "$summary"
