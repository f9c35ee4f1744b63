#!/usr/bin/env bash
# The headers compile without a warning in every language standard they are for, by gcc and clang.
# Usage: check_header.sh SOURCE_DIR
set -euo pipefail
cd "$1"

failed=0
# compile HEADER INCLUDES LANGUAGE STANDARD COMPILER
compile() {
  local header=$1 includes=$2 language=$3 standard=$4 compiler=$5
  # shellcheck disable=SC2086  # a list of options
  if ! echo "#include <$header>" | "$compiler" -x "$language" -std="$standard" -pedantic -Werror -Wall \
    -Wextra -Wconversion -Wshadow $includes -fsyntax-only -; then
    echo "$header: $compiler -std=$standard finds fault with it" >&2
    failed=1
  fi
}

for compiler in gcc clang; do
  for standard in c99 c11 c17; do compile grassflow.h -Iinclude c $standard $compiler; done
done
for compiler in g++ clang++; do
  for standard in c++11 c++14 c++17 c++20; do compile grassflow.h -Iinclude c++ $standard $compiler; done
  compile grassflow.hpp '-Iinclude -Ibindings/cpp' c++ c++20 $compiler
done
exit $failed
