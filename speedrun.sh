#!/usr/bin/env bash
# The whole way from a fresh machine to a comparison of both models; see usage() below.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'END_OF_USAGE'
Usage: ./speedrun.sh [OPTION...]
       ./speedrun.sh transformer|grassmann|grassmann+|all [wikitext|snli|all
                     [train|eval|both]] [OPTION...]
       ./speedrun.sh --continue [DIR] [OPTION...]

Without a model: installs what is missing, builds, trains a small transformer
and small Grassmann models on the embedded sample corpus and on its sentence
pairs, evaluates them and reports how they compare. Four to eight minutes on two
cores; no GPU, no data, no network but the package registry.

With a model: the study's runs. WikiText-2 at L = 128 and 256 with N = 6 and 12
layers, the Grassmann model with both window schedules and as grassmann+ (more
windows with learned weights, four heads); SNLI at L = 128, N = 6: twenty runs.
Trains, then evaluates the best weights on validation and test, and writes
report.md, best_results_summary.json and pictures; train leaves the evaluation
out, eval takes the latest study as it is. Data are looked for in --data-dir,
$GF_DATA_DIR, then ./data; tools/fetch-data.sh gets them.

  --ablations        add nine runs at L = 128, N = 6 that explain the windows:
                     each offset alone, learned weights, more windows, heads
  --seeds K          repeat every run with K seeds
  --jobs J           runs side by side; by itself 4 on a GPU, 1 on the CPU
  --device NAME      auto (a GPU if there is one), cpu, cuda or cuda:N
  --data-dir DIR     where the data lie
  --output-dir DIR   where the runs go; by itself outputs/<time>. What is already
                     there is not done again
  --continue [DIR]   go on with the study in DIR, or with the latest
  LAYER_DEPTHS_OVERRIDE=6 in the environment takes these depths only.
END_OF_USAGE
}

fail() {
  printf 'speedrun.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

heading() { printf '\n== %s\n' "$1"; }

# ---- The command line --------------------------------------------------------------------------

positions=()  # model, task, mode
study=()      # options of gf-study
output=       # directory of the study
continued=
ablations=

# value OPTION [VALUE]: fails unless there is one
value() { [[ $# -gt 1 ]] || fail "$1: expected a value after it" 2; }

parse() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) usage; exit ;;
      --ablations) ablations=$1; shift ;;
      --seeds | --jobs | --device) value "$@"; study+=("$1" "$2"); shift 2 ;;
      --data-dir) value "$@"; study+=(--data "$2"); export GF_DATA_DIR=$2; shift 2 ;;
      --output-dir) value "$@"; output=$2; shift 2 ;;
      --continue)
        continued=1
        shift
        if [[ $# -gt 0 && $1 != -* ]]; then output=$1; shift; fi
        ;;
      -*) fail "unknown option $1; ./speedrun.sh --help lists them" 2 ;;
      *) positions+=("$1"); shift ;;
    esac
  done
  local model=${positions[0]:-all} task=${positions[1]:-wikitext} mode=${positions[2]:-both}
  if [[ ${#positions[@]} -gt 3 || ! $model =~ ^(transformer|grassmann\+?|all)$ ||
    ! $task =~ ^(wikitext|snli|all)$ || ! $mode =~ ^(train|eval|both)$ ]]; then
    usage >&2
    exit 2
  fi
  [[ ! $continued || ${#positions[@]} -eq 0 ]] ||
    fail "--continue takes the study's runs as they were planned" 2
  [[ ! $ablations || $task != snli ]] ||
    fail "--ablations are of language models, but snli asks for pair classifiers alone" 2
  if [[ $continued || $mode == eval ]]; then
    [[ ! $ablations ]] ||
      fail "--ablations adds runs to a study: name them again, with its --output-dir" 2
    [[ $output ]] || output=$(latest_study)
    study+=(--continue "$output" --mode "$mode")
    return
  fi
  study+=(${ablations:+"$ablations"})
  if [[ ${#positions[@]} -eq 0 ]]; then
    study+=(--preset demo)
  else
    need_data "$task"
    study+=(--model "$model" --task "$task" --mode "$mode" --num-layers "${LAYER_DEPTHS_OVERRIDE:-6,12}")
  fi
  output=${output:-outputs/$(date +%Y-%m-%d_%H-%M-%S)}
  study+=(--output-dir "$output")
}

latest_study() {
  local file latest=
  for file in outputs/*/study.json; do
    [[ -f $file ]] && latest=$(dirname "$file")  # their names are times: the last is the latest
  done
  [[ $latest ]] || fail "outputs/ holds no study; name its directory, or train one first"
  echo "$latest"
}

# need_data TASK
need_data() {
  local file directory found
  local -A files=([wikitext]=wikitext-2/wiki.train.tokens [snli]=snli_1.0/snli_1.0_test.jsonl)
  for file in "${!files[@]}"; do
    [[ $1 == all || $1 == "$file" ]] || continue
    found=
    for directory in ${GF_DATA_DIR:+"$GF_DATA_DIR"} data; do
      [[ -f $directory/${files[$file]} && -f $directory/bert-base-uncased/vocab.txt ]] && found=1
    done
    [[ $found ]] ||
      fail "${files[$file]} and bert-base-uncased/vocab.txt are neither in \$GF_DATA_DIR nor in ./data; run tools/fetch-data.sh first"
  done
}

# ---- Packages and build ------------------------------------------------------------------------

has_gpu() { nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

build() {
  heading "Packages"
  # shellcheck source=tools/packages.sh
  source tools/packages.sh
  install_packages build

  heading "Build"
  local log=build/speedrun.log cuda=(-DGF_CUDA=OFF)
  if has_gpu; then cuda=(-DGF_CUDA_ARCHITECTURES=native); fi
  mkdir -p build
  if ! { [[ -f build/CMakeCache.txt ]] ||
    cmake -S . -B build -G Ninja -DGF_BUILD_TESTS=OFF "${cuda[@]}"; } >"$log" 2>&1 ||
    ! cmake --build build --target gf-train gf-eval gf-study gf-report >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "the build failed; the whole log is in $log"
  fi
  echo "gf-train, gf-eval, gf-study and gf-report in build/bin are up to date"
  if has_gpu && [[ ! -e build/src/libgrassflow_cuda.so ]]; then
    echo "They do not know the GPU that is here: build/ was configured without a CUDA toolkit of 12.8 or later."
    echo "With one installed, remove build/ and start again; until then everything runs on the CPU."
  fi
}

# ---- The study ---------------------------------------------------------------------------------

main() {
  local code=0
  parse "$@"
  build
  study+=(--commit "$(git describe --always --dirty 2>/dev/null || echo unknown)")

  heading "Study"
  build/bin/gf-study "${study[@]}" || code=$?
  if [[ $code -ge 128 ]]; then
    fail "to go on: ./speedrun.sh --continue $output" "$code"
  fi
  [[ -f $output/study.json ]] || exit "$code"

  heading "Report"
  build/bin/gf-report "$output" || code=$?
  exit "$code"
}

main "$@"
