#!/usr/bin/env bash
# Builds what a machine with a GPU needs and packs it: `scripts/gpu/pack.sh FILE.tar.xz`.
# There, unpack it and run `scripts/gpu/run.sh OUT`. That machine needs no Rust and no network.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:?usage: scripts/gpu/pack.sh FILE.tar.xz}")
# cudarc binds to the newest CUDA unless told which driver it will meet.
export CUDARC_CUDA_VERSION="${CUDARC_CUDA_VERSION:-13000}"
binary() { # of a kind and a name, from cargo's own messages
  python3 -c '
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if m.get("executable") and m["target"]["kind"] == [sys.argv[1]] and m["target"]["name"] == sys.argv[2]:
        print(m["executable"])' "$1" "$2" | tail -1
}
build() { cargo "$@" --release --locked --features cuda --message-format=json-render-diagnostics; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/bin"
cp "$(build build --bin isoflop | binary bin isoflop)" "$dir/bin/isoflop"
cp "$(build build --bench train | binary bench train)" "$dir/bin/train"
cp "$(build test --lib --no-run | binary lib isoflop)" "$dir/bin/tests"
strip "$dir"/bin/*
cp -r --parents scripts/gpu benches/peers sweeps "$dir"
tar -C "$dir" -cJf "$out" .
ls -l "$out"
