#!/usr/bin/env bash
# Packs what a machine with a GPU needs: `scripts/gpu/pack.sh FILE.tar.xz`. There, unpack it and run
# `scripts/gpu/run.sh OUT first 540`: that machine needs no Rust and no network.
#
# ISOFLOP_BINARY=PATH packs that binary and builds none. ISOFLOP_CARRY=cache.tar.xz takes the kernels along that an
# earlier run compiled. PACK_LIMIT_MB is the most the file may be (default 40).
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:?usage: scripts/gpu/pack.sh FILE.tar.xz}")
limit=${PACK_LIMIT_MB:-40}

build() { # prints the binary's path, from cargo's own messages
  # cudarc binds to the newest CUDA unless told which driver it will meet.
  export CUDARC_CUDA_VERSION="${CUDARC_CUDA_VERSION:-13000}"
  local llvm=../shared/tools/llvm-from-debian.sh
  if [ -x "$llvm" ]; then
    eval "$("$llvm")"
  fi
  cargo build --release --locked --features cuda --bin isoflop --message-format=json-render-diagnostics |
    python3 -c '
import json, sys
made = [m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable") and m["target"]["kind"] == ["bin"]]
print(made[-1])'
}

binary=${ISOFLOP_BINARY:-$(build)}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/bin" "$dir/lib" "$(dirname "$out")"
cp "$binary" "$dir/bin/isoflop"
strip "$dir/bin/isoflop"

# The libraries beside glibc's and the compiler's; run.sh uses only those that the other machine lacks.
if ldd "$dir/bin/isoflop" | grep 'not found'; then
  echo "error: these libraries are missing here" >&2
  exit 1
fi
ldd "$dir/bin/isoflop" | awk '$2 == "=>" { print $1, $3 }' | while read -r name path; do
  case $name in
    libc.so.* | libm.so.* | libdl.so.* | librt.so.* | libpthread.so.* | libresolv.so.* | ld-linux* | libgcc_s.so.*) ;;
    *) cp -L "$path" "$dir/lib/$name" && strip --strip-unneeded "$dir/lib/$name" ;;
  esac
done

git describe --always --dirty >"$dir/COMMIT" 2>/dev/null || echo unknown >"$dir/COMMIT"
if [ -n "${ISOFLOP_CARRY:-}" ]; then
  mkdir "$dir/carried"
  cp "$ISOFLOP_CARRY" "$dir/carried/cache.tar.xz"
fi
cp -r --parents scripts/gpu/run.sh scripts/gpu/probe.py benches/peers sweeps "$dir"
find "$dir" -name __pycache__ -prune -exec rm -r {} +

# Machine code packs better through the x86 filter; a dictionary over the whole finds what is far apart.
case $(uname -m) in x86_64) filter=(--x86) ;; *) filter=() ;; esac
tar -C "$dir" --sort=name -cf - . | xz "${filter[@]}" --lzma2=preset=9e,dict=192MiB >"$out"
bytes=$(stat -c %s "$out")
printf 'pack: %s MB (limit %s)\n' "$(awk "BEGIN { printf \"%.1f\", $bytes / 1e6 }")" "$limit"
if [ "$bytes" -gt $((limit * 1000000)) ]; then
  echo "error: the pack is too large; its largest parts, unpacked:" >&2
  du -ab "$dir" | sort -rn | awk -v dir="$dir" '$2 != dir' | head -8 >&2
  exit 1
fi
