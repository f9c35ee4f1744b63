# build_id.h: a digest of all that libgrassflow and libgrassflow_cuda have to agree on. Libraries of
# two builds that agree work together; any others say so instead of crashing.

set(GF_GENERATED_DIR ${PROJECT_BINARY_DIR}/generated)
file(GLOB GF_SHARED_HEADERS CONFIGURE_DEPENDS src/ops.h src/device.h src/math.h src/cuda_library.h
     src/base/mat.h src/base/profile.h src/base/error.h include/grassflow.h)
set(text "${CMAKE_CXX_COMPILER_ID}")
foreach(header ${GF_SHARED_HEADERS})
  file(SHA256 ${header} digest)
  string(APPEND text ${digest})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${header})
endforeach()
string(SHA256 digest "${text}")
string(SUBSTRING ${digest} 0 12 digest)
file(CONFIGURE OUTPUT ${GF_GENERATED_DIR}/build_id.h CONTENT
     "#define GF_BUILD_ID \"${PROJECT_VERSION}-${digest}\"\n")
