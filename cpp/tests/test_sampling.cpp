// Showers depend on seed and number alone: not on how many are made at once, nor by which thread or kernels.
#include <caloforge/caloforge.hpp>

#include <atomic>
#include <cmath>
#include <cstring>
#include <new>
#include <random>
#include <thread>

#include "expect.h"
#include "sample_file.h"

static std::atomic<size_t> allocations{0};

void* operator new(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

struct Kept {
  std::vector<size_t> first;
  std::vector<uint32_t> cells;
  std::vector<float> energies;

  explicit Kept(const caloforge_hits& hits)
      : first(hits.first, hits.first + hits.showers + 1), cells(hits.cell, hits.cell + first.back()),
        energies(hits.energy_MeV, hits.energy_MeV + first.back()) {}
  bool operator==(const Kept& other) const {
    return first == other.first && cells == other.cells && energies == other.energies;
  }
};

std::vector<caloforge_primary> some(size_t count, bool tilted) {
  std::vector<caloforge_primary> primaries;
  for (size_t i = 0; i < count; ++i) {
    const float share = float(i) / float(count);
    const float theta = tilted ? 1.2F + 0.7F * share : 1.5707963F;
    primaries.push_back({1e4F + 4e5F * share, theta, 3 - 6 * share, 2 - 4 * share, share, i % 2 == 0 ? 11 : -11});
  }
  return primaries;
}

void alone_and_together(const caloforge::Model& model, bool tilted) {
  caloforge::Sampler sampler(model), other(model);
  const auto primaries = some(75, tilted);
  const Kept whole(sampler.sample(primaries, 3));
  EXPECT(whole.first.back() > 75 * 10);
  EXPECT(whole == Kept(other.sample(primaries, 3)));
  EXPECT(!(whole == Kept(sampler.sample(primaries, 4))));
  for (size_t count : {1, 2, 5, 33}) {
    Kept parts(sampler.sample({primaries.begin(), primaries.begin() + 1}, 3, 0));
    for (size_t at = 1; at < 75; at += count) {
      const auto end = primaries.begin() + long(std::min<size_t>(at + count, 75));
      const Kept more(sampler.sample({primaries.begin() + long(at), end}, 3, at));
      for (size_t i = 1; i < more.first.size(); ++i) parts.first.push_back(parts.cells.size() + more.first[i]);
      parts.cells.insert(parts.cells.end(), more.cells.begin(), more.cells.end());
      parts.energies.insert(parts.energies.end(), more.energies.begin(), more.energies.end());
    }
    EXPECT(whole == parts);
  }
  std::vector<float> images(75 * 168);
  const caloforge_hits hits = sampler.sample(primaries, 3);
  EXPECT(caloforge_images(&hits, 168, images.data()) == CALOFORGE_OK);
  double sum = 0, wanted = 0;
  for (float energy : images) sum += energy;
  for (float energy : whole.energies) wanted += energy;
  EXPECT(std::fabs(sum - wanted) < 1e-6 * wanted);
  EXPECT(caloforge_images(&hits, 3, images.data()) == CALOFORGE_ERROR);
}

void threads(const caloforge::Model& model, bool tilted) {
  const auto primaries = some(200, tilted);
  caloforge::Sampler sampler(model);
  const Kept alone(sampler.sample(primaries, 9));
  std::atomic<int> same{0};
  std::vector<std::thread> pool;
  for (int t = 0; t < 4; ++t)
    pool.emplace_back([&] {
      caloforge::Sampler own(model);
      for (int i = 0; i < 5; ++i) same += alone == Kept(own.sample(primaries, 9)) ? 1 : 0;
    });
  for (std::thread& thread : pool) thread.join();
  EXPECT(same == 20);
}

void conditions(const caloforge::Model& model, bool tilted) {
  caloforge::Sampler sampler(model);
  const caloforge_primary usual{1e5F, 1.5707963F, 1, 0, 0, 11};
  const auto refused = [&](auto change, unsigned flags) {
    caloforge_primary changed = usual;
    change(changed);
    return error_of([&] { sampler.sample({usual, changed}, 1, 0, flags); });
  };
  const float none = std::nanf(""), endless = INFINITY;
  for (float value : {none, endless, -endless, 0.0F, -1.0F}) {
    EXPECT(refused([&](caloforge_primary& p) { p.energy_MeV = value; }, CALOFORGE_EXTRAPOLATE).rfind("shower 1: energy", 0) == 0);
    EXPECT(!refused([&](caloforge_primary& p) { p.theta_rad = value; }, CALOFORGE_EXTRAPOLATE).empty());
  }
  for (float value : {none, endless, -endless}) {
    EXPECT(!refused([&](caloforge_primary& p) { p.phi_rad = value; }, CALOFORGE_EXTRAPOLATE).empty());
    EXPECT(!refused([&](caloforge_primary& p) { p.x_mm = value; }, CALOFORGE_EXTRAPOLATE).empty());
    EXPECT(!refused([&](caloforge_primary& p) { p.y_mm = value; }, CALOFORGE_EXTRAPOLATE).empty());
  }
  EXPECT(refused([](caloforge_primary& p) { p.pdg_id = 22; }, CALOFORGE_EXTRAPOLATE).rfind("shower 1: particle", 0) == 0);
  EXPECT(refused([](caloforge_primary& p) { p.energy_MeV = 1e6F; }, 0).rfind("shower 1: energy", 0) == 0);
  EXPECT(refused([](caloforge_primary& p) { p.energy_MeV = 1e6F; }, CALOFORGE_EXTRAPOLATE).empty());
  EXPECT(refused([](caloforge_primary& p) { p.x_mm = 9; }, 0).rfind("shower 1: impact point", 0) == 0);
  EXPECT(refused([](caloforge_primary& p) { p.x_mm = 9; }, CALOFORGE_EXTRAPOLATE).empty());
  EXPECT(!refused([](caloforge_primary& p) { p.theta_rad = 0.7F; }, 0).empty());
  EXPECT(refused([](caloforge_primary& p) { p.theta_rad = 0.7F; }, CALOFORGE_EXTRAPOLATE).empty() == tilted);
  const caloforge_hits hits = sampler.sample({usual, {1e6F, 1.5707963F, 1, 0, 0, 11}}, 1, 0, CALOFORGE_EXTRAPOLATE);
  EXPECT(hits.outside == 1 && hits.showers == 2);
}

// Random and hostile conditions: each is refused in a line, or gives finite deposits in cells that there are.
void hostile(const caloforge::Model& model) {
  caloforge::Sampler sampler(model);
  std::mt19937 random(7);
  const auto any = [&random] {
    const uint32_t bits = uint32_t(random());
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  };
  size_t made = 0;
  for (int i = 0; i < 5000; ++i) {
    caloforge_primary primary{std::fabs(any()), float(random() % 4000) / 1000, 1, 0, 0, 11};
    if (i % 2 == 0) primary.energy_MeV = std::exp(float(random() % 2000) / 100);
    if (i % 3 == 0) primary.phi_rad = any();
    if (i % 5 == 0) primary.x_mm = any();
    const std::string line = error_of([&] {
      const caloforge_hits hits = sampler.sample({primary}, uint64_t(i), random(), CALOFORGE_EXTRAPOLATE);
      for (size_t k = 0; k < hits.first[1]; ++k) EXPECT(std::isfinite(hits.energy_MeV[k]) && hits.cell[k] < 168);
      ++made;
    });
    EXPECT(line.find('\n') == std::string::npos);
  }
  EXPECT(made > 5);
}

struct Engine {
  std::mt19937_64 words{11};
  static void fill(void* state, uint64_t* out, size_t count) {
    for (size_t i = 0; i < count; ++i) out[i] = static_cast<Engine*>(state)->words();
  }
};

void engines(const caloforge::Model& model) {
  caloforge::Sampler sampler(model);
  const caloforge_primary primary{1e5F, 1.5707963F, 1, 0, 0, 11};
  Engine first, second;
  const Kept one(sampler.sample(primary, {Engine::fill, &first}));
  EXPECT(one == Kept(sampler.sample(primary, {Engine::fill, &second})));
  EXPECT(!(one == Kept(sampler.sample(primary, {Engine::fill, &second}))));
  EXPECT(!error_of([&] { sampler.sample(primary, {nullptr, nullptr}); }).empty());
}

void no_allocation(const caloforge::Model& model, bool tilted) {
  caloforge::Sampler sampler(model);
  const auto primaries = some(40, tilted);
  for (uint64_t seed = 0; seed < 30; ++seed) sampler.sample(primaries, seed);
  const size_t before = allocations;
  for (uint64_t seed = 0; seed < 30; ++seed) sampler.sample(primaries, seed);
  EXPECT(allocations == before);
}

}  // namespace

int main() {
  for (bool tilted : {false, true}) {
    const std::string path = temporary("model.caloforge");
    sample_file(tilted).write(path);
    const caloforge::Model model(path);
    alone_and_together(model, tilted);
    threads(model, tilted);
    conditions(model, tilted);
    hostile(model);
    engines(model);
    no_allocation(model, tilted);
    const auto place = model.position_mm(168 - 1);
    EXPECT(place[0] == 15 && place[1] == 8 && place[2] == 14);
    EXPECT(!error_of([&] { model.position_mm(168); }).empty());
    EXPECT(!error_of([] { caloforge::Model("/nowhere"); }).empty());
  }
}
