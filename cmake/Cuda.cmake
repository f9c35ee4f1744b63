# Sets GF_WITH_CUDA: whether the CUDA backend is built. -DGF_CUDA=ON insists on it, OFF leaves it out,
# AUTO takes it where there is a toolkit.

set(GF_CUDA AUTO CACHE STRING "Build the CUDA backend: ON, OFF, or AUTO (where there is a toolkit)")
set(GF_CUDA_ARCHITECTURES "80-real;90a-real;100-real;100-virtual" CACHE STRING
    "GPU architectures: machine code for each, and PTX of the last for those to come; native: this machine's")
set(GF_WITH_CUDA OFF)
if(GF_SANITIZE AND GF_CUDA STREQUAL "AUTO")
  message(STATUS "CUDA backend: left out of a build with sanitizers (tests/gpu/run.sh has the GPU's own)")
  return()
elseif(GF_CUDA STREQUAL "OFF")
  return()
endif()

# That of the first GPU, with the instructions of its own that Hopper has.
if(GF_CUDA_ARCHITECTURES STREQUAL "native")
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
                  OUTPUT_VARIABLE capability ERROR_VARIABLE ignored RESULT_VARIABLE status)
  if(NOT capability MATCHES "^([0-9]+)\\.([0-9]+)")
    message(FATAL_ERROR "GF_CUDA_ARCHITECTURES is native, but nvidia-smi finds no GPU here (${status}). "
                        "Name an architecture, such as 90a-real")
  endif()
  string(REGEX REPLACE "^90$" "90a" GF_CUDA_ARCHITECTURES "${CMAKE_MATCH_1}${CMAKE_MATCH_2}")
  string(APPEND GF_CUDA_ARCHITECTURES "-real")
endif()

include(CheckLanguage)
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX} AND EXISTS /usr/local/cuda/bin/nvcc)
  set(ENV{CUDACXX} /usr/local/cuda/bin/nvcc)
endif()
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_ARCHITECTURES ${GF_CUDA_ARCHITECTURES})
  enable_language(CUDA)
  find_package(CUDAToolkit 12.8 QUIET)
endif()
if(CMAKE_CUDA_COMPILER AND CUDAToolkit_FOUND AND TARGET CUDA::cublasLt)
  set(GF_WITH_CUDA ON)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # nvcc knows C++20, CMake 3.25 does not know that it does
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  set(CMAKE_CUDA_FLAGS_RELWITHDEBINFO "-O3 -g -DNDEBUG")
  message(STATUS "CUDA backend: toolkit ${CUDAToolkit_VERSION}, architectures ${GF_CUDA_ARCHITECTURES}")
elseif(GF_CUDA STREQUAL "ON")
  message(FATAL_ERROR "GF_CUDA is ON, but no CUDA toolkit of version 12.8 or later with cuBLAS was "
                      "found. Set CUDACXX to its nvcc, or leave GF_CUDA at AUTO")
else()
  message(STATUS "CUDA backend: no toolkit of version 12.8 or later found, building without")
endif()
