# What the library links: a CBLAS, utf8proc, nlohmann-json, threads. Each missing one is named with the
# Debian package that brings it.

find_package(Threads REQUIRED)

function(gf_require_found variable what package)
  if(NOT ${variable})
    message(FATAL_ERROR "${what} not found. On Debian or Ubuntu: apt-get install ${package}")
  endif()
endfunction()

find_path(UTF8PROC_INCLUDE_DIR utf8proc.h)
find_library(UTF8PROC_LIBRARY utf8proc)
gf_require_found(UTF8PROC_LIBRARY "utf8proc" libutf8proc-dev)
add_library(gf_utf8proc INTERFACE)
target_include_directories(gf_utf8proc SYSTEM INTERFACE ${UTF8PROC_INCLUDE_DIR})
target_link_libraries(gf_utf8proc INTERFACE ${UTF8PROC_LIBRARY})

find_package(nlohmann_json QUIET)
gf_require_found(nlohmann_json_FOUND "nlohmann-json" nlohmann-json3-dev)

# The library calls the CBLAS from its own threads, so it wants a serial one that several may call at
# once. Debian's alternatives decide at run time which OpenBLAS a plain -lopenblas loads, and a
# threaded one may already be in the host process; the serial archive, linked in and hidden, is the
# same everywhere and disturbs nobody.
add_library(gf_blas INTERFACE)
if(GF_BLAS_LIBRARY)
  find_path(GF_BLAS_INCLUDE_DIR cblas.h)
  target_link_libraries(gf_blas INTERFACE ${GF_BLAS_LIBRARY})
else()
  set(triplet ${CMAKE_LIBRARY_ARCHITECTURE})
  find_library(GF_OPENBLAS_SERIAL libopenblas.a PATHS /usr/lib/${triplet}/openblas-serial
               NO_DEFAULT_PATH)
  find_path(GF_BLAS_INCLUDE_DIR cblas.h PATHS /usr/include/${triplet}/openblas-serial)
  gf_require_found(GF_OPENBLAS_SERIAL "the serial OpenBLAS" libopenblas-serial-dev)
  target_link_libraries(gf_blas INTERFACE ${GF_OPENBLAS_SERIAL} m)
  # src/cpu/openblas.cc stands in front of these two.
  target_compile_definitions(gf_blas INTERFACE GF_WRAP_OPENBLAS)
  target_link_options(gf_blas INTERFACE -Wl,--wrap=blas_memory_alloc -Wl,--wrap=blas_memory_free
                      -Wl,--undefined=__wrap_blas_memory_alloc)
endif()
target_include_directories(gf_blas SYSTEM INTERFACE ${GF_BLAS_INCLUDE_DIR})
