# What cmake --install installs, and as which component: runtime, development, tools, cuda. Each
# component is a Debian package, see Packages.cmake. Nothing depends on where the prefix is.

include(CMakePackageConfigHelpers)

install(TARGETS grassflow EXPORT grassflow
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT development)
install(FILES include/grassflow.h bindings/cpp/grassflow.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        COMPONENT development)
if(GF_BUILD_STATIC)
  install(FILES ${PROJECT_BINARY_DIR}/src/libgrassflow.a DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
endif()
if(GF_WITH_CUDA)  # without a link for linkers: libgrassflow opens it by its full name
  install(TARGETS grassflow_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cuda
          NAMELINK_SKIP)
endif()

# What a program linked with libgrassflow.a has to name besides.
set(GF_STATIC_LIBRARIES utf8proc stdc++ m pthread dl)
list(TRANSFORM GF_STATIC_LIBRARIES PREPEND "-l" OUTPUT_VARIABLE GF_STATIC_FLAGS)
list(JOIN GF_STATIC_FLAGS " " GF_STATIC_FLAGS)
if(GF_BLAS_LIBRARY)
  list(PREPEND GF_STATIC_LIBRARIES ${GF_BLAS_LIBRARY})
  string(PREPEND GF_STATIC_FLAGS "${GF_BLAS_LIBRARY} ")
endif()

# pkg-config finds the prefix from the place of the file.
set(pkgconfig ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH GF_PREFIX_FROM_PC ${CMAKE_INSTALL_PREFIX}/${pkgconfig} ${CMAKE_INSTALL_PREFIX})
configure_file(pkgconfig/grassflow.pc.in grassflow.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/grassflow.pc DESTINATION ${pkgconfig} COMPONENT development)

# find_package(grassflow)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/grassflow)
set(libdir ${CMAKE_INSTALL_LIBDIR})
set(includedir ${CMAKE_INSTALL_INCLUDEDIR})
set(bindir ${CMAKE_INSTALL_BINDIR})
configure_package_config_file(cmake/grassflow-config.cmake.in grassflow-config.cmake
                              INSTALL_DESTINATION ${package} PATH_VARS libdir includedir bindir)
# As the soname says: callers of an older version with the same major one go on working.
write_basic_package_version_file(grassflow-config-version.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/grassflow-config.cmake
              ${PROJECT_BINARY_DIR}/grassflow-config-version.cmake
        DESTINATION ${package} COMPONENT development)
install(EXPORT grassflow FILE grassflow-targets.cmake NAMESPACE grassflow:: DESTINATION ${package}
        COMPONENT development)
