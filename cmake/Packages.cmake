# Debian packages: `cpack` in the build directory makes one of each component of Install.cmake. Configure
# with -DCMAKE_INSTALL_PREFIX=/usr, so that libraries go where Debian has them.

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME grassflow)
set(CPACK_PACKAGE_VENDOR "The libgrassflow authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # each package begins with one of its own
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/debian/finish.cmake)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL runtime development)
if(GF_BUILD_TOOLS)
  list(APPEND CPACK_COMPONENTS_ALL tools)
endif()
if(GF_WITH_CUDA)
  list(APPEND CPACK_COMPONENTS_ALL cuda)
endif()

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "The libgrassflow authors <maintainers@grassflow.invalid>")
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/src)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(same_version "(= ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})")

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libgrassflow0)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
# CPack would write scripts that call ldconfig, which is a trigger's work.
foreach(component RUNTIME CUDA)
  set(CPACK_DEBIAN_${component}_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/cmake/debian/triggers
      ${PROJECT_SOURCE_DIR}/cmake/debian/postinst ${PROJECT_SOURCE_DIR}/cmake/debian/postrm)
endforeach()
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION "library that trains small language models
Trains and evaluates the attention-free Grassmann-flow model and a
transformer of the same size on the CPU, and on NVIDIA GPUs with
libgrassflow-cuda. Results do not depend on the number of threads, and
PyTorch reads the checkpoints.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libgrassflow-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libgrassflow0 ${same_version}, libutf8proc-dev")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "development files of libgrassflow
The headers for C and C++, a static library, and what pkg-config and CMake
need to find the library that trains small language models.")

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME grassflow-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION science)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libgrassflow0 ${same_version}")
set(CPACK_DEBIAN_TOOLS_PACKAGE_SUGGESTS gnuplot-nox)  # for the pictures of gf-report
set(CPACK_DEBIAN_TOOLS_DESCRIPTION "train small language models from the shell
The programs gf-train, gf-eval and gf-tokenize: training on WikiText-2, on
any text, on sentence pairs or on an embedded sample corpus, with checkpoints
that can be gone on from, and evaluation. gf-study runs a whole comparison as
one command, and gf-report makes tables and pictures of it.")

# Of another version the library would refuse to load it, so the two go together. cuBLAS is NVIDIA's,
# whose packages carry the toolkit's version in their names.
set(CPACK_DEBIAN_CUDA_PACKAGE_NAME libgrassflow-cuda)
set(CPACK_DEBIAN_CUDA_PACKAGE_SECTION contrib/libs)
set(CPACK_DEBIAN_CUDA_PACKAGE_DEPENDS "libgrassflow0 ${same_version}")
if(GF_WITH_CUDA)
  get_filename_component(cublas_directory ${CUDA_cublasLt_LIBRARY} DIRECTORY)
  list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${cublas_directory})
  set(CPACK_DEBIAN_CUDA_PACKAGE_RECOMMENDS
      libcublas-${CUDAToolkit_VERSION_MAJOR}-${CUDAToolkit_VERSION_MINOR})
endif()
set(CPACK_DEBIAN_CUDA_DESCRIPTION "CUDA backend of libgrassflow
Opened by libgrassflow when a GPU is asked for. Needs an NVIDIA GPU of
compute capability 8.0 or later, its driver, and cuBLAS.")

# Each package says what it is under and what changed. Code of others that is compiled in or linked in
# comes with the terms it has on the machine of the build.
set(terms ${PROJECT_BINARY_DIR}/debian/copyright)
file(READ LICENSE text)
foreach(package libopenblas-serial-dev nlohmann-json3-dev libcli11-dev)
  if(EXISTS /usr/share/doc/${package}/copyright)
    file(READ /usr/share/doc/${package}/copyright its_text)
    string(APPEND text "\n\nOf the code in it that is from ${package}:\n\n${its_text}")
  endif()
endforeach()
file(WRITE ${terms} "${text}")
configure_file(cmake/debian/changelog.in debian/changelog.Debian @ONLY)
foreach(component ${CPACK_COMPONENTS_ALL})
  string(TOUPPER ${component} upper)
  set(package ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
  install(FILES ${terms} ${PROJECT_BINARY_DIR}/debian/changelog.Debian
          DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/${package} COMPONENT ${component}
          EXCLUDE_FROM_ALL)
endforeach()

include(CPack)
