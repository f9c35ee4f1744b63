#!/usr/bin/env bash
# Training and evaluation on the GPU at hand beside PyTorch; see usage() below.
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
  cat <<'END'
Usage: tests/bench/gpu.sh [OPTION]...

Builds, then times both models at the study's three shapes, for each shape ours,
PyTorch's, ours again, and prints Markdown: speed, evaluation and memory, how
time grows with length, and what it ran on. Without PyTorch: ours alone.

  --output FILE      writes the Markdown there as well
  --lines FILE       appends each measurement as it is made, a JSON line, and tables
                     all that the file then holds: for runs in several calls
  --shape K,L,N,B    this shape only; repeatable
  --quick            few steps: to see that it works, the figures mean nothing
  --no-study         without the study's loop, which takes minutes to compile
  --no-peer          without PyTorch
  --no-scaling       without the times by length
  --peer-scaling     PyTorch's times by length too: ten more compilations
  --peer-flag FLAG   handed to pytorch_peer.py, such as --search; repeatable
  --build-dir DIR    default build-gpu
  --no-build         takes what is built there

PyTorch is looked for in $PYTHON (default python3). TORCHINDUCTOR_CACHE_DIR, if
set, keeps what PyTorch compiles for a later run.
END
}

# A path as the caller means it.
from_caller() { (cd "$here" && realpath -m "$1"); }

shapes=()
peer_flags=() our_flags=()
output='' lines='' build_dir=build-gpu
build=1 study=1 peer=1 scaling=1 peer_scaling=0
while [[ $# -gt 0 ]]; do
  case $1 in
    --output | --lines | --shape | --peer-flag | --build-dir)
      [[ $# -ge 2 ]] || { usage >&2; exit 2; }
      ;;&
    --output) output=$(from_caller "$2"); shift ;;
    --lines) lines=$(from_caller "$2"); shift ;;
    --shape) shapes+=("$2"); shift ;;
    --peer-flag) peer_flags+=("$2"); shift ;;
    --build-dir) build_dir=$2; shift ;;
    --quick) our_flags+=(--quick); peer_flags+=(--quick) ;;
    --no-study) study=0 ;;
    --no-peer) peer=0 ;;
    --no-scaling) scaling=0 ;;
    --peer-scaling) peer_scaling=1 ;;
    --no-build) build=0 ;;
    -h | --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
if [[ ${#shapes[@]} -eq 0 ]]; then
  for size in 128,6,32 256,12,16 256,6,128; do shapes+=("grassmann,$size" "transformer,$size"); done
fi

python=${PYTHON:-python3}
bench=$build_dir/tests/bench/bench_gpu
gpu=${CUDA_VISIBLE_DEVICES:-0}
gpu=${gpu%%,*}
work=$(mktemp -d)
results=${lines:-$work/results}
touch "$results"
sampler=
stop_sampler() {
  if [[ $sampler ]]; then
    kill "$sampler" 2>/dev/null || true
    wait "$sampler" 2>/dev/null || true
  fi
  sampler=
}
trap 'stop_sampler; rm -rf "$work"' EXIT
failures=0

say() { printf 'gpu.sh: %s\n' "$1" >&2; }

used_now() { nvidia-smi -i "$gpu" --query-gpu=memory.used --format=csv,noheader,nounits 2>/dev/null || echo 0; }

# measure PURPOSE COMMAND...: appends its JSON lines to the results, with the most memory that the GPU
# had in use meanwhile, less what it had before. A process id here may not be the driver's, so the whole
# GPU is looked at; nobody else should be using it, for the sake of the times as well.
measure() {
  local purpose=$1 before most
  shift
  say "$*"
  before=$(used_now)
  stdbuf -oL nvidia-smi -i "$gpu" --query-gpu=memory.used --format=csv,noheader,nounits -lms 200 \
    >"$work/used" 2>/dev/null &
  sampler=$!
  if ! "$@" >"$work/lines"; then
    say "failed: $*"
    failures=$((failures + 1))
  fi
  stop_sampler
  most=$(sort -n "$work/used" | tail -n 1)
  sed "s/}\$/, \"purpose\": \"$purpose\", \"used_MiB\": $((${most:-$before} - before))}/" "$work/lines" |
    tee -a "$results" >&2
}

ours() { measure "$1" "$bench" --json "${our_flags[@]}" "${@:2}"; }
theirs() { measure "$1" "$python" tests/bench/pytorch_peer.py "${peer_flags[@]}" "${@:2}"; }

if [[ $build -eq 1 ]]; then
  say "building in $build_dir"
  { [[ -f $build_dir/CMakeCache.txt ]] ||
    cmake -S . -B "$build_dir" -G Ninja -DGF_CUDA=ON -DGF_CUDA_ARCHITECTURES=native \
      -DGF_BUILD_BENCH=ON -DGF_BUILD_TESTS=OFF; } >&2
  cmake --build "$build_dir" --target bench_gpu grassflow_cuda >&2
fi
[[ -x $bench ]] || { say "$bench is not there"; exit 1; }

if [[ $peer -eq 1 ]] && ! "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>"$work/why"; then
  say "no PyTorch that sees a GPU ($(tail -n 1 "$work/why")): ours alone"
  peer=0
fi

for shape in "${shapes[@]}"; do
  ours table --shape "$shape"
  if [[ $peer -eq 1 ]]; then
    [[ $study -eq 0 ]] || theirs table --shape "$shape" --variant study
    theirs table --shape "$shape" --variant best
    ours table --shape "$shape"
  fi
done
if [[ $scaling -eq 1 ]]; then
  ours scaling --scaling --no-eval
  if [[ $peer -eq 1 && $peer_scaling -eq 1 ]]; then
    for kind in grassmann transformer; do
      for length in 256 1024 4096 16384 65536; do
        theirs scaling --shape "$kind,$length,6,$((65536 / length))" --variant best --no-eval
      done
    done
  fi
fi

# The machine and the versions, as every figure should carry them.
facts() {
  local torch='not installed' nvcc='not found' commit
  [[ $peer -eq 0 ]] || torch=$("$python" -c 'import torch; print(torch.__version__)')
  ! command -v nvcc >/dev/null || nvcc=$(nvcc --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
  if ! commit=$(git rev-parse --short HEAD 2>/dev/null); then
    commit=${GF_COMMIT:-unknown}
  elif ! git diff --quiet HEAD; then
    commit+=", changed"
  fi
  printf '\n%s, driver %s, CUDA %s, PyTorch %s; %s, commit %s.\n' \
    "$(nvidia-smi -i "$gpu" --query-gpu=name --format=csv,noheader 2>/dev/null || echo 'unknown GPU')" \
    "$(nvidia-smi -i "$gpu" --query-gpu=driver_version --format=csv,noheader 2>/dev/null || echo unknown)" \
    "$nvcc" "$torch" "$(date -u +%Y-%m-%d)" "$commit"
}

{
  python3 tests/bench/gpu_table.py "$results"
  facts
} >"$work/table"
cat "$work/table"
[[ -z $output ]] || cp "$work/table" "$output"
if [[ $failures -gt 0 ]]; then
  say "$failures runs failed"
  exit 1
fi
