// The distributions' serial OpenBLAS is built without USE_LOCKING: it takes its packing buffers
// from an unguarded table, so two threads that ask at once now and then get the same buffer and
// wrong products (OpenBLAS issue 2126). The linker puts these two functions in front of those of
// the archive (--wrap, see cmake/Dependencies.cmake).
#ifdef GF_WRAP_OPENBLAS

#include <mutex>

extern "C" {
void* __real_blas_memory_alloc(int position);
void __real_blas_memory_free(void* buffer);

static std::mutex table;

void* __wrap_blas_memory_alloc(int position) {
  const std::lock_guard lock(table);
  return __real_blas_memory_alloc(position);
}

void __wrap_blas_memory_free(void* buffer) {
  const std::lock_guard lock(table);
  __real_blas_memory_free(buffer);
}
}

#endif
