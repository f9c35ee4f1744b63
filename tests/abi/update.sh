#!/usr/bin/env bash
# Records the binary interface anew after functions or fields were added: symbols.txt, layout.txt and
# grassflow.abi of this directory, from the library in BUILD (build/). What would break callers is
# refused.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
build=${1:-$here/../../build}
exec python3 "$here/abi.py" update "$here/../../include/grassflow.h" "$build/src/libgrassflow.so.0"
