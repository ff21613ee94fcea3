// Normal numbers are what Box and Muller say, whatever computes them, and of unit variance.
#include <algorithm>
#include <cmath>
#include <vector>

#include "expect.h"
#include "kernels.h"
#include "random.h"
#include "sample_file.h"
#include "sampler.h"

namespace {

using caloforge::inside::Model;
using caloforge::inside::Sampler;

// Kernels round differently: a cell in thousands may be hit in one alone.
void same_showers(const caloforge::inside::Kernels& kernels, bool tilted, bool cylindrical) {
  const std::string path = temporary("kernels.caloforge");
  sample_file(tilted, cylindrical).write(path);
  const Model model(path);
  std::vector<caloforge_primary> primaries;
  for (int i = 0; i < 50; ++i)
    primaries.push_back({2e4F + 5e3F * float(i), tilted ? 1.3F + 0.01F * float(i) : 1.5707963F, 1, 0, 0, 11});
  Sampler first(model, *caloforge::inside::kernels_called("baseline")), second(model, kernels);
  const caloforge_hits a = first.of_seed(primaries.data(), 50, 1, 0, true);
  const caloforge_hits b = second.of_seed(primaries.data(), 50, 1, 0, true);
  size_t different = 0;
  double apart = 0, all = 0;
  for (size_t shower = 0; shower < 50; ++shower) {
    std::vector<float> image(168, 0.0F);
    for (size_t i = a.first[shower]; i < a.first[shower + 1]; ++i) image[a.cell[i]] = a.energy_MeV[i], all += a.energy_MeV[i];
    for (size_t i = b.first[shower]; i < b.first[shower + 1]; ++i) {
      different += image[b.cell[i]] == 0 ? 1 : 0;
      image[b.cell[i]] -= b.energy_MeV[i];
    }
    for (float left : image) apart += std::fabs(left);
  }
  EXPECT(a.first[50] > 500 && different <= 1);
  EXPECT(apart < 1e-4 * all);
}

}  // namespace

int main() {
  const caloforge::inside::Words table(1);
  EXPECT(caloforge::inside::kernels_called("baseline") != nullptr);
  EXPECT(caloforge::inside::kernels_called("abacus") == nullptr);
  for (const char* name : {"baseline", "avx2", "avx512"}) {
    const caloforge::inside::Kernels* kernels = caloforge::inside::kernels_called(name);
    if (kernels == nullptr) {
      std::printf("skipped: %s does not run here\n", name);
      continue;
    }
    EXPECT(std::string(kernels->name) == name);
    same_showers(*kernels, false, false);
    same_showers(*kernels, true, false);
    same_showers(*kernels, false, true);
    for (size_t pairs : {1, 3, 16, 17, 33, 100000}) {
      std::vector<uint64_t> words(pairs);
      std::vector<float> made(2 * pairs);
      table.read(7, pairs, words.data());
      if (pairs == 33) words[0] = 0, words[16] = ~uint64_t(0), words[17] = 0x8000000080000000U;
      kernels->normals(words.data(), pairs, made.data());
      const auto* halves = reinterpret_cast<const int32_t*>(words.data());
      double sum = 0, squares = 0;
      for (size_t i = 0; i < pairs; ++i) {
        const double part = std::max(std::fabs(double(halves[i])) * std::ldexp(1, -31), std::ldexp(1, -32));
        const double radius = std::sqrt(-2 * std::log(part)), angle = halves[pairs + i] * std::acos(-1) * std::ldexp(1, -31);
        EXPECT(std::fabs(made[i] - radius * std::sin(angle)) < 2e-6 * (1 + radius) + 4e-8 / (0.01 + radius));
        EXPECT(std::fabs(made[pairs + i] - radius * std::cos(angle)) < 2e-6 * (1 + radius) + 4e-8 / (0.01 + radius));
        sum += made[i] + made[pairs + i];
        squares += double(made[i]) * made[i] + double(made[pairs + i]) * made[pairs + i];
      }
      if (pairs > 1000) {
        const double n = 2 * double(pairs);
        EXPECT(std::fabs(sum / n) < 5 / std::sqrt(n));
        EXPECT(std::fabs(squares / n - 1) < 5 * std::sqrt(2 / n));
      }
    }
  }
}
