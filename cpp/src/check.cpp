#include "check.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "sampler.h"

namespace caloforge::inside {
namespace {

// All cells of a shower together may differ by so much of its energy, and of a thousand hits one may differ by more
// than 1e-3: the smallest deposits of a marginal follow from the last digits of a latent just above its threshold.
constexpr double kWithin = 1e-4, kHit = 1e-3, kHits = 1e-3;
// At its threshold a cell may fall on either side.
constexpr size_t kFlips = 2;
constexpr float kNormals = 2e-6F;

struct Apart {
  double energy = 0, deposits = 0;
  size_t hits = 0, flips = 0, far = 0;
};

Apart compare(const Golden& golden, const caloforge_hits& made, size_t shower) {
  std::vector<std::pair<uint32_t, float>> hits;
  for (size_t i = made.first[shower]; i < made.first[shower + 1]; ++i) hits.emplace_back(made.cell[i], made.energy_MeV[i]);
  std::sort(hits.begin(), hits.end());
  Apart apart;
  auto hit = hits.begin();
  for (int64_t i = golden.first[shower]; i < golden.first[shower + 1]; ++i) {
    const double expected = golden.deposits_MeV[i];
    apart.energy += expected;
    ++apart.hits;
    for (; hit != hits.end() && hit->first < uint64_t(golden.cells[i]); ++hit, ++apart.flips) apart.deposits += hit->second;
    if (hit == hits.end() || hit->first != uint64_t(golden.cells[i])) {
      ++apart.flips;
      apart.deposits += expected;
      continue;
    }
    const double difference = std::fabs(hit->second - expected);
    apart.deposits += difference;
    apart.far += difference > kHit * expected ? 1 : 0;
    ++hit;
  }
  for (; hit != hits.end(); ++hit, ++apart.flips) apart.deposits += hit->second;
  return apart;
}

bool same_normals(const Model& model, const Kernels& kernels, size_t shower) {
  const size_t pairs = (model.noise_size + 1) / 2;
  std::vector<uint64_t> words(pairs);
  std::vector<float> made(2 * pairs);
  Words(uint64_t(model.golden.seed[0])).read(static_cast<Words::Place>(shower) * pairs, pairs, words.data());
  kernels.normals(words.data(), pairs, made.data());
  for (size_t i = 0; i < std::min<size_t>(8, model.noise_size); ++i)
    if (!(std::fabs(made[i] - model.golden.normals[8 * shower + i]) < kNormals * (1 + std::fabs(made[i])))) return false;
  return true;
}

}  // namespace

Verdict check_golden(const Model& model, const Kernels& kernels) {
  const Golden& golden = model.golden;
  char text[300];
  if (golden.showers == 0) return {false, "the file has no golden showers"};
  std::vector<caloforge_primary> primaries;
  for (size_t i = 0; i < golden.showers; ++i) {
    const float* c = golden.conditions + 5 * i;
    primaries.push_back(caloforge_primary{c[0], c[1], c[2], c[3], c[4], int32_t(golden.pdg_ids[i])});
  }
  Sampler sampler(model, kernels);
  const caloforge_hits made = sampler.of_seed(primaries.data(), golden.showers, uint64_t(golden.seed[0]), 0, true);
  double largest = 0;
  for (size_t i = 0; i < golden.showers; ++i) {
    if (!same_normals(model, kernels, i)) {
      std::snprintf(text, sizeof text, "golden shower %zu: other random numbers than the file's", i);
      return {false, text};
    }
    const Apart apart = compare(golden, made, i);
    const double relative = apart.deposits / std::max(apart.energy, 1e-9);
    if (!(relative <= kWithin) || apart.flips > kFlips || double(apart.far) > 2 + kHits * double(apart.hits)) {
      std::snprintf(text, sizeof text,
                    "golden shower %zu of %.6g MeV: differs by %.2g of its energy, %zu of %zu hits by more than %g, and "
                    "%zu cells are hit in one alone",
                    i, apart.energy, relative, apart.far, apart.hits, kHit, apart.flips);
      return {false, text};
    }
    largest = std::max(largest, relative);
  }
  std::snprintf(text, sizeof text, "%zu golden showers as the model's, within %.1e of their energy (%s)", golden.showers,
                largest, kernels.name);
  return {true, text};
}

}  // namespace caloforge::inside
