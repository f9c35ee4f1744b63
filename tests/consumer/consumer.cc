// The C++ header as an installed one.
#include <cstdio>
#include <grassflow.hpp>

int main() {
  const grassflow::Context context;
  std::printf("libgrassflow %s, %s\n", gf_version_string(),
              context.sample_text(1, 20).empty() ? "no text" : "some text");
}
