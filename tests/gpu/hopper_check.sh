#!/bin/sh
# Builds and runs hopper_check over the study's shapes and odd ones, each in a process of its own,
# so that a case that ends its CUDA context does not end the others. Lines that end in 0 are timed
# as the models store their rows; rows with padding begin inside of sectors and are slower. Usage,
# from the root of the tree:
# tests/gpu/hopper_check.sh [DIRECTORY of the program, built there if it is not yet]
set -u
at=${1:-/tmp}
if [ ! -x "$at/hopper_check" ]; then
  nvcc -std=c++20 -gencode=arch=compute_90a,code=sm_90a -O3 -lineinfo \
    --expt-relaxed-constexpr -Isrc -Iinclude -Icuda -t 2 -o "$at/hopper_check" \
    tests/gpu/hopper_check.cu cuda/hopper*.cu cuda/sum_parts.cu cuda/gpu.cc \
    src/base/error.cc -lcublasLt || exit 1
fi
failed=0
while read -r line; do
  [ -n "$line" ] || continue
  # shellcheck disable=SC2086
  timeout 30 "$at/hopper_check" $line || failed=$((failed + 1))
done <<END
linear 4096 64 64
linear 4096 256 256
linear 4096 768 256
linear 4096 256 1024
linear 4096 256 512
linear 4096 32 256
linear 4096 320 1024
linear 17 40 24
linear 1000 257 72
linear_wide 1000 256 256
linear 32768 768 256
linear 32768 256 256
linear 32768 256 1024
linear 32768 32 256
gelu 4096 1024 256
gelu 4096 1024 256 0.1
gelu 1000 72 64 0.1
gelu 3 1024 320 0.1
gelu 32768 1024 256 0.1
gelu_backward 4096 1024 256
gelu_backward 4096 1024 256 0.1
gelu_backward 1000 72 64 0.1
gelu_backward 3 1024 320 0.1
gelu_backward 32768 1024 256 0.1
exp_sums 128 464 64
exp_sums 64 232 256
exp_sums 1024 30522 256
exp_sums 1024 50257 256
exp_sums 4096 30522 256
exp_sums 17 257 24
exp_sums 1000 30523 256
exp_sums 100 40000 256
exp_sums 1000 1000 320
gradient 128 128 512
gradient 256 256 4096
gradient 1024 256 4096
gradient 256 1024 4096
gradient 768 256 4096
gradient 256 512 4096
gradient 512 256 4096
gradient 32 256 4096
gradient 257 40 17
gradient 1024 256 32768
gradient 256 256 32768
gradient 50257 256 1024
gradient 2048 512 1000
gradient 1024 256 100
gradient 1024 1024 4096
gradient 1024 768 4096
linear 1000 100 72
linear 32700 200 320
linear 20000 300 256
gelu 20000 520 256 0.1
linear 4096 64 64 0 0
linear 4096 256 256 0 0
linear 4096 768 256 0 0
linear 4096 256 1024 0 0
linear 4096 256 512 0 0
linear 4096 32 256 0 0
linear 4096 320 1024 0 0
linear 32768 768 256 0 0
linear 32768 256 256 0 0
linear 32768 256 1024 0 0
linear 32768 32 256 0 0
gelu 4096 1024 256 0 0
gelu 4096 1024 256 0.1 0
gelu 32768 1024 256 0.1 0
gelu_backward 4096 1024 256 0 0
gelu_backward 4096 1024 256 0.1 0
gelu_backward 32768 1024 256 0.1 0
gradient 256 256 4096 0 0
gradient 1024 256 4096 0 0
gradient 256 1024 4096 0 0
gradient 768 256 4096 0 0
gradient 256 512 4096 0 0
gradient 32 256 4096 0 0
gradient 1024 256 32768 0 0
gradient 256 256 32768 0 0
linear 4096 1024 256 0 0
gradient 512 256 4096 0 0
gradient 768 256 32768 0 0
gradient 256 1024 32768 0 0
END
echo "$failed failed"
[ "$failed" = 0 ]
