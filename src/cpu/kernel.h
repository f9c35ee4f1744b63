#pragma once

// GF_KERNEL marks a function whose loops are compiled for several instruction sets; the loader
// picks the best one this machine has. What it calls must inline into it. Clones are resolved
// before a sanitizer's run time is ready, so sanitized builds have none.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(GF_SANITIZED)
#define GF_KERNEL \
  __attribute__((flatten, target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GF_KERNEL
#endif
