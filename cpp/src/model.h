// An exported model: its constants in mapped memory, all shapes and indices checked.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "kernels.h"
#include "tensors.h"

namespace caloforge::inside {

struct Range {
  double low, high;
};

// What the model was trained on.
struct Domain {
  Range energy_MeV, theta_rad, phi_rad, x_mm, y_mm, possible_energy_MeV;
  bool has_impact;
  size_t particles;
  const int64_t* pdg_ids;
};

// How showers must be: those of `shower` are first[shower] to first[shower + 1] - 1.
struct Golden {
  size_t showers, hits;
  const float* conditions;  // energy, theta, phi, x, y of each
  const int64_t *pdg_ids, *seed, *first, *cells;
  const float *deposits_MeV, *normals;  // of each shower its first eight normal numbers
};

struct Model {
  explicit Model(const std::string& path);

  Tensors tensors;
  size_t nx, ny, nz, across;  // across: nx * ny
  size_t factors, sums, monomials, variables, energies, of_shower;
  size_t columns, sum_columns, noise_size, own_noise;  // own_noise: where that of the cells begins
  bool tilted, follows_impact, particles, has_sizes, moves, turned, cylindrical, has_positions = false;

  const float *cell_size_mm, *depth_mm, *log_energy, *energies_at;
  float offset_spread, slope_spread, threshold_MeV, most_per_energy, many_hits;
  const int64_t* products;  // left factors of the monomials, then right ones
  const float *sum_loadings, *sum_rest, *sum_location, *sum_log_width, *sum_skew, *sum_log_tail, *sum_largest;
  const float *x_mm = nullptr, *y_mm = nullptr, *z_mm = nullptr;
  std::vector<Layer> layers;
  std::vector<float> left, right;  // whether a cell has a neighbour in its row, by column
  Scale scale;
  Domain domain;
  Golden golden;

 private:
  void read_sizes();
  void read_conditions();
  void read_cells();
  void read_sums();
  void read_domain();
  void read_golden();
};

}  // namespace caloforge::inside
