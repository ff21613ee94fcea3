// Makes showers: memory that is used again and again, for one thread.
#pragma once

#include <caloforge/caloforge.h>

#include <memory>

#include "conditions.h"
#include "random.h"

namespace caloforge::inside {

// Memory that grows and is never filled in vain.
template <typename Item>
class Buffer {
 public:
  Item* need(size_t count) {
    if (count > size_) {
      std::unique_ptr<Item[]> larger(new Item[count]);
      items_ = std::move(larger);
      size_ = count;
    }
    return items_.get();
  }
  // As need, but keeps the first `kept` items, and takes twice the room.
  Item* grow(size_t count, size_t kept) {
    if (count > size_) {
      const size_t size = 2 * count;
      std::unique_ptr<Item[]> larger(new Item[size]);
      for (size_t i = 0; i < kept; ++i) larger[i] = items_[i];
      items_ = std::move(larger);
      size_ = size;
    }
    return items_.get();
  }
  Item* get() const { return items_.get(); }

 private:
  std::unique_ptr<Item[]> items_;
  size_t size_ = 0;
};

class Sampler {
 public:
  Sampler(const Model& model, const Kernels& kernels);

  caloforge_hits of_seed(const caloforge_primary* primaries, size_t count, uint64_t seed, uint64_t first, bool extrapolate);
  caloforge_hits of_engine(const caloforge_primary* primaries, size_t count, caloforge_engine engine, bool extrapolate);
  caloforge_hits of_noise(const caloforge_primary* primaries, size_t count, const float* noise, bool extrapolate);

 private:
  template <typename Noise>
  caloforge_hits sample(const caloforge_primary* primaries, size_t count, bool extrapolate, Noise noise);
  const float* drawn(size_t place);
  void reserve(size_t showers);
  void begin(size_t place, const caloforge_primary& primary, const float* noise);
  void make_hits(size_t showers);
  void keep_inside(size_t place, size_t z, size_t found);
  void finish(size_t place, size_t number, float energy_MeV);
  void draw_layers(size_t place, float energy_MeV);

  const Model& model_;
  const Kernels& kernels_;
  size_t at_once_, padded_, pairs_, filled_ = 0;

  // Of each shower that is made together with others.
  Buffer<uint64_t> words_;
  Buffer<float> noise_, monomials_, of_shower_, paired_, below_, above_, deposits_;
  Buffer<int32_t> cell_x_, cell_y_;
  Buffer<uint32_t> cells_;
  Buffer<size_t> counts_;  // hits of each layer
  Buffer<Conditions> conditions_;
  Buffer<Incoming> incoming_;
  Buffer<const float*> rows_;
  // Of one at a time.
  Buffer<float> work_, sums_, layers_;
  // What was made.
  Buffer<size_t> first_;
  Buffer<uint32_t> out_cells_;
  Buffer<float> out_energies_;
};

}  // namespace caloforge::inside
