#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "kernels.h"

namespace caloforge::inside {

namespace baseline {
extern const Kernels kernels;
}
#ifdef CALOFORGE_X86
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#endif

const Kernels* kernels_called(const char* name) {
#ifdef CALOFORGE_X86
  const bool wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool widest = wide && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  if (widest && std::strcmp(name, "avx512") == 0) return &avx512::kernels;
  if (wide && std::strcmp(name, "avx2") == 0) return &avx2::kernels;
#endif
  return std::strcmp(name, "baseline") == 0 ? &baseline::kernels : nullptr;
}

const Kernels& kernels() {
  static const Kernels* chosen = [] {
    const char* asked = std::getenv("CALOFORGE_KERNELS");
    const Kernels* found = asked != nullptr ? kernels_called(asked) : nullptr;
    for (const char* name : {"avx512", "avx2", "baseline"})
      if (found == nullptr) found = kernels_called(name);
    return found;
  }();
  return *chosen;
}

}  // namespace caloforge::inside
