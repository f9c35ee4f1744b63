#!/usr/bin/env bash
# Installs what the tests need, builds, runs them; see usage() below.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'END'
Usage: tests/run.sh [--asan | --tsan | --all]

Installs the packages that are missing, fills data/ from ../shared/data if that
is there (else tools/fetch-data.sh does, from the network; tests without their
data skip), builds and runs the tests.

  (none)  as it is released, in build/
  --asan  under AddressSanitizer and UndefinedBehaviorSanitizer, in build-asan/
  --tsan  those of threads and of what uses them under ThreadSanitizer, in
          build-tsan/
  --all   as it is released, then as --asan
END
}

# build_and_test DIRECTORY TESTS LEFT-OUT CMAKE-FLAG...: patterns of names
build_and_test() {
  local directory=$1 tests=$2 left_out=$3
  shift 3
  printf '\n== %s\n' "$directory"
  cmake -S . -B "$directory" -G Ninja -DGF_BUILD_TOOLS=ON -DGF_BUILD_TESTS=ON "$@"
  cmake --build "$directory"
  ctest --test-dir "$directory" --output-on-failure --parallel "$(nproc)" --tests-regex "$tests" \
    --exclude-regex "$left_out"
}

# -O1 since code with sanitizers is slow both to compile and to run, -g1 since lines are all that a
# finding tells; it fails its test.
readonly SANITIZED=(-DCMAKE_BUILD_TYPE=Debug '-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1')
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1

# An epoch on real data would take hours under a sanitizer, and reaches no line that the other tests
# do not.
readonly EPOCH='^train/one_epoch$'

# Where there is a CUDA toolkit the backend is compiled, for one architecture: without a GPU it is not
# run (tests/gpu/run.sh does that), and each further one takes minutes.
readonly CUDA=-DGF_CUDA_ARCHITECTURES=90a-real

# With /usr as prefix, which is where the Debian packages that one test makes have their files.
readonly RELEASED=(-DCMAKE_INSTALL_PREFIX=/usr -DGF_BUILD_DOCS=ON)

plain() { build_and_test build . '^$' "$CUDA" "${RELEASED[@]}"; }
asan() { build_and_test build-asan . "$EPOCH" "${SANITIZED[@]}" -DGF_SANITIZE=address,undefined; }
tsan() {
  build_and_test build-tsan '^(base/thread_pool|data/|cpu/|ops/|train/|api/)' "$EPOCH" \
    "${SANITIZED[@]}" -DGF_SANITIZE=thread
}

case ${1:-} in
  '') jobs=(plain) ;;
  --asan) jobs=(asan) ;;
  --tsan) jobs=(tsan) ;;
  --all) jobs=(plain asan) ;;
  -h | --help) usage; exit ;;
  *) usage >&2; exit 2 ;;
esac

source tools/packages.sh
install_packages tests

if [[ -d ../shared/data ]]; then
  tools/fetch-data.sh --from ../shared/data data || echo "Going on with the data there are" >&2
elif [[ ! -d ${GF_DATA_DIR:-data} ]]; then
  echo "No data: tests that need them skip; tools/fetch-data.sh gets them"
fi

for job in "${jobs[@]}"; do "$job"; done
