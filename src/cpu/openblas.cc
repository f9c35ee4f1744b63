// What the distributions' serial OpenBLAS lacks for this library. The linker puts the functions
// below in front of those of the archive (--wrap, see cmake/Dependencies.cmake).
#ifdef GF_WRAP_OPENBLAS

#include <cstring>
#include <mutex>

extern "C" {
void* __real_blas_memory_alloc(int position);
void __real_blas_memory_free(void* buffer);
char* __real_getenv(const char* name);

// Built without USE_LOCKING it takes its packing buffers from an unguarded table, and two threads
// that ask at once now and then get the same buffer and wrong products (OpenBLAS issue 2126).
static std::mutex buffers;

void* __wrap_blas_memory_alloc(int position) {
  const std::lock_guard lock(buffers);
  return __real_blas_memory_alloc(position);
}

void __wrap_blas_memory_free(void* buffer) {
  const std::lock_guard lock(buffers);
  __real_blas_memory_free(buffer);
}

// It picks its kernels by the CPU models it knows; 0.3.21 takes a newer AMD for a Haswell, at half
// the speed. OPENBLAS_CORETYPE overrules it: unless the user has set that, a CPU with AVX-512
// answers for itself.
char* __wrap_getenv(const char* name) {
  char* value = __real_getenv(name);
#if defined(__x86_64__)
  static char skylake[] = "SkylakeX";
  if (!value && std::strcmp(name, "OPENBLAS_CORETYPE") == 0) {
    __builtin_cpu_init();  // this runs before the constructors of the C run time have
    if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl")) {
      return skylake;
    }
  }
#endif
  return value;
}
}

#endif
