// The C interface with owners and exceptions.
#pragma once

#include <caloforge/caloforge.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace caloforge {

struct Failure : std::runtime_error {
  Failure() : std::runtime_error(caloforge_last_error()) {}
};

inline void require(int status) {
  if (status != CALOFORGE_OK) throw Failure();
}

// An open file; threads may share it.
class Model {
 public:
  explicit Model(const std::string& path) : model_(caloforge_open(path.c_str()), caloforge_close) {
    if (!model_) throw Failure();
  }
  caloforge_description describe() const {
    caloforge_description out;
    require(caloforge_describe(model_.get(), &out));
    return out;
  }
  std::array<float, 3> position_mm(uint32_t cell) const {
    std::array<float, 3> xyz;
    require(caloforge_position(model_.get(), cell, xyz.data()));
    return xyz;
  }
  const caloforge_model* get() const { return model_.get(); }

 private:
  std::shared_ptr<caloforge_model> model_;
};

// Makes showers, in one thread.
class Sampler {
 public:
  explicit Sampler(const Model& model)
      : model_(model), sampler_(caloforge_sampler_new(model.get()), caloforge_sampler_free) {
    if (!sampler_) throw Failure();
  }
  caloforge_hits sample(const std::vector<caloforge_primary>& primaries, uint64_t seed, uint64_t first = 0,
                        unsigned flags = 0) {
    caloforge_hits out;
    require(caloforge_sample(sampler_.get(), primaries.data(), primaries.size(), seed, first, flags, &out));
    return out;
  }
  caloforge_hits sample(const caloforge_primary& primary, caloforge_engine engine, unsigned flags = 0) {
    caloforge_hits out;
    require(caloforge_sample_engine(sampler_.get(), &primary, 1, engine, flags, &out));
    return out;
  }

 private:
  Model model_;  // lives as long as what samples from it
  std::unique_ptr<caloforge_sampler, void (*)(caloforge_sampler*)> sampler_;
};

}  // namespace caloforge
