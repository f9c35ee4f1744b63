#!/usr/bin/env bash
# Builds and runs all tests that concern a GPU, on the one at hand; see usage() below.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
  cat <<'END'
Usage: tests/gpu/run.sh [OPTION]...

Builds, then runs on the GPU at hand, in fp32 and in bf16: the operations, golden
files, training, evaluation, checkpoints, the C API, memory and errors; then the
operations at small shapes under compute-sanitizer's four tools. Prints a table;
the output of each program stays in DIR/gpu-logs.

  --quick          small shapes only, nothing that trains on WikiText-2, and of the
                   sanitizer's tools memcheck alone
  --no-sanitize    without compute-sanitizer
  --sanitize-only  nothing else
  --seconds N      for each of the sanitizer's tools; default 900
  --jobs N         programs side by side on the one GPU; default 4
  --only PATTERN   tests whose name matches it, such as 'ops/(gelu|linear)'
  --build-dir DIR  default build-gpu
  --no-build       runs what is built there, perhaps on another machine: without
                   compiler, CMake and git

GF_DATA_DIR names the data where they are not in data/; tests without their data skip.
END
}

quick=0 plain=1 sanitize=1 build=1 only=. build_dir=build-gpu tool_seconds=900 jobs=4
while [[ $# -gt 0 ]]; do
  case $1 in
    --seconds | --jobs | --only | --build-dir) [[ $# -ge 2 ]] || { usage >&2; exit 2; } ;;&
    --quick) quick=1 ;;
    --no-sanitize) sanitize=0 ;;
    --sanitize-only) plain=0 ;;
    --seconds) tool_seconds=$2; shift ;;
    --jobs) jobs=$2; shift ;;
    --only) only=$2; shift ;;
    --build-dir) build_dir=$2; shift ;;
    --no-build) build=0 ;;
    -h | --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
[[ $jobs =~ ^[1-9][0-9]*$ && $tool_seconds =~ ^[1-9][0-9]*$ ]] || { usage >&2; exit 2; }

readonly DEVICES=(cuda:fp32 cuda:bf16) PROGRAM_SECONDS=600
tests=()
for source in tests/{ops,golden,train,gpu,api}/test_*.cc; do
  name=${source#tests/}
  name=${name/test_/}
  [[ $quick = 1 && $name =~ one_epoch|curve ]] || tests+=("${name%.cc}")
done
program_of() { echo "$build_dir/tests/test_${1/\//_}"; }

if [[ $build = 1 ]]; then
  # shellcheck source=tools/packages.sh
  source tools/packages.sh
  install_packages tests
  targets=(grassflow_cuda)
  for test in "${tests[@]}"; do targets+=("$(basename "$(program_of "$test")")"); done
  cmake -S . -B "$build_dir" -G Ninja -DGF_CUDA=ON -DGF_CUDA_ARCHITECTURES=native \
    -DGF_BUILD_TOOLS=OFF -DGF_BUILD_TESTS=ON
  cmake --build "$build_dir" --target "${targets[@]}"
  git describe --always --dirty >"$build_dir/commit" 2>/dev/null || echo unknown >"$build_dir/commit"
fi

logs=$build_dir/gpu-logs
mkdir -p "$logs"
export GF_TEST_DIR=$PWD/tests LD_LIBRARY_PATH=$PWD/$build_dir/src:${LD_LIBRARY_PATH:-}
[[ $build_dir = /* ]] && LD_LIBRARY_PATH=$build_dir/src:$LD_LIBRARY_PATH

rows=$logs/rows
: >"$rows"
# note TEST HOW RESULT SECONDS: a row of the table, said at once as well
note() { printf '%-18s %-22s %-28s %7s\n' "$@" | tee -a "$rows"; }

# wait_for_place TEST: until it may begin; one that takes all the memory there is runs alone
alone=gpu/memory
wait_for_place() {
  [[ $1 != "$alone" && ${last:-} != "$alone" ]] || wait
  last=$1
  while [[ $(jobs -rp | wc -l) -ge $jobs ]]; do wait -n || true; done
}

# run TEST HOW SECONDS COMMAND...: one program, whose end does not end the others
run() {
  local test=$1 how=$2 seconds=$3 status=0 result begin=$SECONDS log
  log=$logs/${test/\//_}.${how//[: ]/_}.log
  shift 3
  [[ -x $(program_of "$test") ]] || { note "$test" "$how" "NOT BUILT" -; return; }
  { timeout --kill-after 10 "$seconds" "$@" "$(program_of "$test")"; } >"$log" 2>&1 || status=$?
  case $status in
    0) result=passed ;;
    77) result=skipped ;;
    124 | 137)
      result="STOPPED after $seconds s"
      # A tool's time is short of what it would like; a program's is ample.
      if [[ $how = *' '* ]]; then status=0 result="not finished, time is up"; fi
      ;;
    *) result="FAILED, status $status" ;;
  esac
  note "$test" "$how" "$result" $((SECONDS - begin))
  [[ $status = 0 || $status = 77 ]] && return
  grep -aE 'ERROR|FAILED|terminate|what\(\)|=========' "$log" | head -n 20 | sed 's/^/    /' || true
}

# sanitize TOOL DEVICE TEST...: as many as the tool has time for
sanitize() {
  local tool=$1 device=$2 test left
  shift 2
  for test in "$@"; do
    wait_for_place "$test"
    left=$((deadline - SECONDS))
    if [[ $left -le 5 ]]; then
      note "$test" "$device $tool" "not run, time is up" -
      continue
    fi
    GF_TEST_SMALL=1 GF_TEST_DEVICE=$device run "$test" "$device $tool" "$left" \
      "$sanitizer" --tool "$tool" --error-exitcode 99 &
  done
}

wanted=()
for test in "${tests[@]}"; do [[ $test =~ $only ]] && wanted+=("$test"); done
if [[ $plain = 1 ]]; then
  for device in "${DEVICES[@]}"; do
    for test in "${wanted[@]}"; do
      wait_for_place "$test"
      GF_TEST_SMALL=$quick GF_TEST_DEVICE=$device run "$test" "$device" "$PROGRAM_SECONDS" &
    done
  done
  wait
fi

sanitizer=$(PATH=$PATH:/usr/local/cuda/bin type -P compute-sanitizer || true)
if [[ $sanitize = 1 && -z $sanitizer ]]; then
  note - compute-sanitizer "NOT FOUND" -
elif [[ $sanitize = 1 ]]; then
  operations=()
  for test in "${wanted[@]}"; do [[ $test = ops/* ]] && operations+=("$test"); done
  tools=(memcheck racecheck initcheck synccheck)
  [[ $quick = 1 ]] && tools=(memcheck)
  for tool in "${tools[@]}"; do
    deadline=$((SECONDS + tool_seconds))
    # bf16 first: most kernels are its own.
    for device in cuda:bf16 cuda:fp32; do sanitize "$tool" "$device" "${operations[@]}"; done
    wait
  done
fi

printf '\n%-18s %-22s %-28s %7s\n' test device result seconds
sort -k2,2 -k3,3 -k1,1 "$rows"
printf '\n'
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | sort | uniq -c |
  sed -E 's/^ *([0-9]+) (.*), (.*)/GPU: \1 x \2, driver \3/' || echo "GPU: unknown, no nvidia-smi"
toolkit=$(sed -nE 's/^set\(CMAKE_CUDA_COMPILER_VERSION "(.*)"\)/\1/p' \
  "$build_dir"/CMakeFiles/*/CMakeCUDACompiler.cmake 2>/dev/null || true)
driver=$(nvidia-smi 2>/dev/null | sed -nE 's/.*CUDA Version: ([0-9.]+).*/\1/p' || true)
echo "CUDA: ${toolkit:-unknown}, the driver's ${driver:-unknown}"
echo "Date: $(date -u '+%Y-%m-%d %H:%M UTC')"
echo "Commit: $(cat "$build_dir/commit" 2>/dev/null || echo unknown)"
! grep -qE 'FAILED|STOPPED|NOT (BUILT|FOUND)' "$rows"
