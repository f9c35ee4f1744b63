#!/usr/bin/env bash
# The whole way from a fresh machine to a comparison of both models; see usage() below.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'END'
Usage: ./speedrun.sh
       ./speedrun.sh [transformer|grassmann|all] [wikitext|snli|all] [train|eval|both]

Without arguments: installs what is missing, builds, trains a small transformer
and a small Grassmann model on the embedded sample corpus, evaluates them and
prints how they compare. A few minutes on two cores; no GPU, no data, no
network but the package registry.

With arguments: the study's runs, for L = 128 and 256 and N = 6 and 12 layers
(LAYER_DEPTHS_OVERRIDE=6 takes 6 only). Trains, then evaluates on the test
split; train leaves the evaluation out, eval takes the latest outputs. Data are
looked for in $GF_DATA_DIR, then ./data; tools/fetch-data.sh gets them.

Outputs: outputs/<time>/<model>_<task>_L<L>_N<N>/
END
}

readonly BLOCK_SIZES=(128 256)
IFS=, read -ra LAYER_DEPTHS <<<"${LAYER_DEPTHS_OVERRIDE:-6,12}"
readonly LAYER_DEPTHS

fail() {
  printf 'speedrun.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

heading() { printf '\n== %s\n' "$1"; }

# ---- Packages and build ------------------------------------------------------------------------

build() {
  heading "Packages"
  # shellcheck source=tools/packages.sh
  source tools/packages.sh
  install_packages build

  heading "Build"
  local log=build/speedrun.log
  mkdir -p build
  if ! { [[ -f build/CMakeCache.txt ]] || cmake -S . -B build -G Ninja -DGF_BUILD_TESTS=OFF; } >"$log" 2>&1 ||
    ! cmake --build build --target gf-train gf-eval >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "the build failed; the whole log is in $log"
  fi
  echo "build/bin/gf-train and gf-eval are up to date"
}

# ---- Runs --------------------------------------------------------------------------------------

new_outputs() { echo "outputs/$(date +%Y-%m-%d_%H-%M-%S)"; }

# train_run DIR FLAGS...
train_run() {
  local run=$1
  shift
  heading "Training $(basename "$run")"
  build/bin/gf-train --output-dir "$run" "$@"
}

# eval_run DIR TASK: test loss of the run's best weights, in DIR/TASK_test_results.json
eval_run() {
  heading "Evaluating $(basename "$1")"
  build/bin/gf-eval --checkpoint "$1" --split test --output-file "$1/$2_test_results.json"
}

# ---- Table -------------------------------------------------------------------------------------

# field KEY FILE...: that number of the first of the JSON files that exists and holds it, else "-"
field() {
  local key=$1 value
  shift
  value=$(sed -n "s/^ *\"$key\": \([-+.0-9e]*\),\{0,1\}$/\1/p" "$@" 2>/dev/null | head -n 1) || true
  echo "${value:--}"
}

# table DIR...: one row for each run; gaps are to the transformer of the same size before it
table() {
  local run results
  heading "Comparison"
  for run in "$@"; do
    results=$run/results.json
    echo "$(basename "$run") $(field parameters "$results")" \
      "$(field best_val_perplexity "$results")" \
      "$(field perplexity "$run"/*_test_results.json)" \
      "$(field test_perplexity "$results") $(field tokens_per_second "$results")"
  done | awk '
    function commas(n,  s) {
      for (n = sprintf("%d", n); length(n) > 3; n = substr(n, 1, length(n) - 3))
        s = "," substr(n, length(n) - 2) s
      return n s
    }
    function fixed(n) { return n == "-" ? n : sprintf("%.2f", n) }
    BEGIN {
      row = "%-36s %10s %14s %9s %8s %9s\n"
      printf row, "run", "parameters", "best val. ppl", "test ppl", "gap", "tokens/s"
    }
    {
      size = $1
      sub(/^[a-z]+/, "", size)
      sub(/_per-layer$/, "", size)
      gap = "-"
      if ($1 ~ /^transformer/) reference[size] = $3
      else if (reference[size] > 0 && $3 != "-") gap = sprintf("%+.1f %%", 100 * ($3 / reference[size] - 1))
      printf row, $1, commas($2), fixed($3), fixed($4 == "-" ? $5 : $4), gap, commas($6)
    }'
}

# ---- The two jobs ------------------------------------------------------------------------------

demo() {
  local outputs transformer all per_layer run
  build
  outputs=$(new_outputs)
  transformer=$outputs/transformer_sample_L128_N4
  all=$outputs/grassmann_sample_L128_N4
  per_layer=$outputs/grassmann_sample_L128_N4_per-layer
  train_run "$transformer" --preset demo --model transformer
  train_run "$all" --preset demo --model grassmann
  train_run "$per_layer" --preset demo --model grassmann --window-schedule per-layer
  for run in "$transformer" "$all" "$per_layer"; do eval_run "$run" sample; done
  table "$transformer" "$all" "$per_layer"
  printf '\nOutputs: %s\n' "$outputs"
}

need_wikitext() {
  local directory
  for directory in ${GF_DATA_DIR:+"$GF_DATA_DIR"} data; do
    [[ -f $directory/wikitext-2/wiki.train.tokens && -f $directory/bert-base-uncased/vocab.txt ]] &&
      return
  done
  fail "WikiText-2 is neither in \$GF_DATA_DIR nor in ./data; run tools/fetch-data.sh first"
}

# The latest outputs that hold a WikiText run.
latest_outputs() {
  local run latest=
  for run in outputs/*/*_wikitext_L*/; do
    [[ -d $run ]] && latest=$(dirname "$run")  # their names are times: the last is the latest
  done
  [[ $latest ]] || fail "outputs/ holds no WikiText run to evaluate; train one first"
  echo "$latest"
}

# wikitext MODEL MODE
wikitext() {
  local models=("$1") mode=$2 outputs model length layers run runs=()
  [[ $1 == all ]] && models=(transformer grassmann)
  need_wikitext
  if [[ $mode == eval ]]; then outputs=$(latest_outputs); else outputs=$(new_outputs); fi
  build
  for length in "${BLOCK_SIZES[@]}"; do
    for layers in "${LAYER_DEPTHS[@]}"; do
      for model in "${models[@]}"; do
        run=$outputs/${model}_wikitext_L${length}_N${layers}
        if [[ $mode != eval ]]; then
          train_run "$run" --preset study --task wikitext --model "$model" \
            --max-seq-len "$length" --num-layers "$layers"
        fi
        if [[ ! -f $run/checkpoints/best.safetensors ]]; then
          echo "speedrun.sh: $run has no checkpoints/best.safetensors: skipped" >&2
          continue
        fi
        [[ $mode == train ]] || eval_run "$run" wikitext
        runs+=("$run")
      done
    done
  done
  [[ ${#runs[@]} -gt 0 ]] || fail "nothing to evaluate in $outputs for these models and sizes"
  table "${runs[@]}"
  printf '\nOutputs: %s\n' "$outputs"
}

main() {
  case ${1:-} in -h | --help) usage; exit ;; esac
  if [[ $# -eq 0 ]]; then
    demo
    return
  fi
  local model=$1 dataset=${2:-wikitext} mode=${3:-both}
  if [[ $# -gt 3 || ! $model =~ ^(transformer|grassmann|all)$ ||
    ! $dataset =~ ^(wikitext|snli|all)$ || ! $mode =~ ^(train|eval|both)$ ]]; then
    usage >&2
    exit 2
  fi
  [[ $dataset == snli ]] || wikitext "$model" "$mode"
  [[ $dataset == wikitext ]] || fail "snli: not there yet; it comes with a later version"
}

main "$@"
