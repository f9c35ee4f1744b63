#!/usr/bin/env bash
# The bindings against an installed library, without the network; see usage() below.
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

usage() {
  cat <<'END'
Usage: tests/bindings/run.sh BUILD JOB

BUILD is a build directory; all that is made goes below BUILD/installed. JOBs:

  c       installs the build into a prefix there and runs the C example: what
          it prints and saves is what the others have to print and save
  rust    tests and examples of bindings/rust, with the first Rust of PATH, and
          where that is not Debian's whether it builds with Debian's too
  go      vet, gofmt, tests and examples of bindings/go
  python  tests and examples of bindings/python, installed by pip
  lint    rustfmt, clippy and mypy, which no other job needs
END
}

# need PROGRAM PACKAGE
need() { command -v "$1" >/dev/null || fail "$1 is missing: apt-get install $2"; }

fail() { echo "bindings: $*" >&2; exit 1; }

# same_as_c COMMAND...: the command's 20 steps against those of C, to the last digit and byte.
same_as_c() {
  "$@" "$own/model.safetensors" >"$own/losses.txt"
  diff "$work/c/losses.txt" "$own/losses.txt" || fail "$job does not print what C prints"
  cmp "$work/c/model.safetensors" "$own/model.safetensors" || fail "$job does not save what C saves"
  echo "$job: the losses and the model of C, $(wc -l <"$own/losses.txt") lines"
}

# quick COMMAND...: the example of the README runs to its end.
quick() {
  (cd "$own" && "$@") >"$own/quick.txt"
  tail -n 1 "$own/quick.txt" | grep -Ex 'perplexity [0-9]+\.[0-9]' || fail "$job: the quick example"
}

c() {
  rm -rf "$prefix"
  cmake --install "$build" --prefix "$prefix" >/dev/null
  find_installed
  # shellcheck disable=SC2046
  cc -std=c99 "$source_dir/examples/train_steps.c" -o "$own/train_steps" \
    $(pkg-config --cflags --libs grassflow)
  "$own/train_steps" "$own/model.safetensors" | tee "$own/losses.txt"
}

rust() {
  need cargo cargo
  cd "$source_dir/bindings/rust"
  export CARGO_TARGET_DIR=$own
  cargo test --offline --locked
  cargo build --offline --locked --examples
  same_as_c "$own/debug/examples/train_steps"
  quick "$own/debug/examples/quick"
  if [[ -x /usr/bin/cargo && $(command -v cargo) != /usr/bin/cargo ]]; then
    CARGO_TARGET_DIR=$own/debian PATH=/usr/bin:$PATH cargo check --offline --locked --all-targets
  fi
}

go() {
  need gofmt golang-go
  cd "$source_dir/bindings/go"
  export GOCACHE=$own/cache GOPROXY=off GOFLAGS=-mod=mod GOTOOLCHAIN=local
  [[ -z $(gofmt -l .) ]] || fail "gofmt would change $(gofmt -l .)"
  command go vet ./...
  command go test ./...
  command go build -o "$own/" ./examples/...
  same_as_c "$own/train_steps"
  quick "$own/quick"
}

python() {
  find_python
  rm -rf "$own/source" "$own/site"
  cp -r "$source_dir/bindings/python" "$own/source" # where pip may write
  "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-build-isolation \
    --no-deps --target "$own/site" "$own/source"
  export PYTHONPATH=$own/site
  "$python" -m unittest discover --start-directory "$source_dir/bindings/python/tests"
  same_as_c "$python" "$source_dir/bindings/python/examples/train_steps.py"
  quick "$python" "$source_dir/bindings/python/examples/quick.py"
}

lint() {
  find_python
  export CARGO_TARGET_DIR=$own
  (cd "$source_dir/bindings/rust" && cargo fmt --check &&
    cargo clippy --offline --locked --all-targets -- -D warnings)
  (cd "$source_dir/bindings/python" && "$python" -m mypy src examples/train_steps.py)
}

# The first Python that has what the package needs: that of PATH may be one without NumPy.
find_python() {
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import setuptools, wheel, numpy, pip' 2>/dev/null; then return; fi
  done
  fail "no python3 has all of it: apt-get install python3-{numpy,pip,setuptools,wheel}"
}

find_installed() {
  local description
  description=$(find "$prefix" -name grassflow.pc)
  [[ -f $description ]] || fail "$prefix holds no library: run the job c first"
  PKG_CONFIG_PATH=$(dirname "$description")
  export PKG_CONFIG_PATH
  LD_LIBRARY_PATH=$(pkg-config --variable=libdir grassflow)
  export LD_LIBRARY_PATH
}

[[ $# -eq 2 && $2 =~ ^(c|rust|go|python|lint)$ ]] || { usage >&2; exit 2; }
build=$(cd "$1" && pwd)
job=$2
readonly build job work=$build/installed
readonly prefix=$work/prefix own=$work/$job
mkdir -p "$own"
unset PYTHONPATH GRASSFLOW_LIBRARY
export PYTHONDONTWRITEBYTECODE=1 PIP_ROOT_USER_ACTION=ignore
[[ $job == c ]] || find_installed
"$job"
