#!/usr/bin/env bash
# Installs into a prefix of its own, moves the prefix, and builds users' programs against it there: by
# pkg-config shared and static, and by CMake. Usage: check_consumers.sh BUILD_DIR
set -euo pipefail
build=$(realpath "$1")
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "check_consumers.sh: $*" >&2
  exit 1
}

# expect_library PROGRAM yes|no: whether it runs, and whether it loads the shared library
expect_library() {
  local program=$1 wanted=$2 found=no
  readelf -d "$program" | grep -q 'NEEDED.*libgrassflow\.so\.0' && found=yes
  [[ $found == "$wanted" ]] || fail "$program needs libgrassflow.so.0: $found, expected $wanted"
  LD_LIBRARY_PATH=$libdir "$program" | grep "^libgrassflow [0-9.]*, " || fail "$program failed"
}

cmake --install "$build" --prefix "$work/first" >"$work/log" || fail "$(cat "$work/log")"
mv "$work/first" "$work/prefix"
prefix=$work/prefix
libdir=$(dirname "$(dirname "$(find "$prefix" -name grassflow.pc)")")
export PKG_CONFIG_PATH=$libdir/pkgconfig

for file in "$libdir"/libgrassflow.{so,so.0,a} "$prefix"/include/grassflow.{h,hpp} \
  "$prefix"/bin/gf-{train,eval,tokenize} "$prefix"/share/man/man1/gf-{train,eval,tokenize}.1; do
  [[ -e $file ]] || fail "${file#"$prefix"/} was not installed"
done
while read -r file; do
  readelf -d "$file" 2>/dev/null | grep -E 'R(UN)?PATH' | grep -vF '[$ORIGIN/' &&
    fail "$file looks for libraries outside of the prefix"
done < <(find "$prefix" -type f \( -name '*.so*' -o -path '*/bin/*' \))
"$prefix/bin/gf-train" --version || fail "gf-train does not find the library in its prefix"
nm -g --defined-only "$libdir/libgrassflow.a" | awk 'NF == 3 && $3 !~ /^gf_/' | grep . &&
  fail "libgrassflow.a shows more than gf_*"

cc=(cc -std=c99 -Wall -Wextra -Werror "$here/../consumer/consumer.c")
read -ra shared < <(pkg-config --cflags --libs grassflow)
"${cc[@]}" -o "$work/shared" "${shared[@]}"
expect_library "$work/shared" yes
read -ra static < <(pkg-config --static --cflags --libs grassflow)
"${cc[@]}" -o "$work/static" "${static[@]/#-lgrassflow/-l:libgrassflow.a}"
expect_library "$work/static" no

cmake -S "$here/../consumer" -B "$work/consumer" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" ||
  fail "$(cat "$work/log")"
cmake --build "$work/consumer" >"$work/log" || fail "$(cat "$work/log")"
expect_library "$work/consumer/shared" yes
expect_library "$work/consumer/static" no
expect_library "$work/consumer/cpp" yes
