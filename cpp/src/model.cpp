#include "model.h"

#include <cmath>

#include "error.h"

namespace caloforge::inside {
namespace {

constexpr size_t kMostCells = 1 << 24, kMostMonomials = 256, kMostVariables = 16;

void expect(bool true_of_it, const char* field, const char* expected) {
  if (!true_of_it) throw Error(std::string("field ") + field + ": expected " + expected);
}

bool ordered(const double* pair) { return pair[0] <= pair[1]; }

}  // namespace

Model::Model(const std::string& path) : tensors(path) {
  if (tensors.text("format") != "caloforge-native" || tensors.text("version") != "1")
    throw Error("field format: expected caloforge-native, version 1");
  for (const char* name : {"name", "detector", "card"}) tensors.text(name);
  read_sizes();
  read_conditions();
  read_cells();
  read_sums();
  read_domain();
  read_golden();
}

void Model::read_sizes() {
  const int64_t* shape = tensors.integers("shape", {3});
  for (int axis = 0; axis < 3; ++axis) expect(shape[axis] > 0 && shape[axis] <= 1 << 22, "shape", "numbers of cells");
  nx = static_cast<size_t>(shape[0]);
  ny = static_cast<size_t>(shape[1]);
  nz = static_cast<size_t>(shape[2]);
  expect(nx * ny <= kMostCells && nx * ny * nz <= kMostCells, "shape", "fewer cells");
  across = nx * ny;
  const auto loadings = tensors.shape("cells.loadings", 3);
  factors = loadings[1];
  columns = loadings[2];
  expect(columns % kLanes == 0 && columns >= across && columns < across + kLanes, "cells.loadings", "whole vectors");
  monomials = tensors.shape("cells.below", 3)[1];
  expect(monomials <= kMostMonomials, "cells.below", "fewer monomials");
  energies = tensors.shape("energies", 1)[0];
  expect(energies >= 2, "energies", "two or more");
  sums = 1 + nz;
  sum_columns = (sums + kLanes - 1) / kLanes * kLanes;
}

void Model::read_conditions() {
  const int64_t* follows = tensors.integers("follows", {6});
  for (int i = 0; i < 6; ++i) expect(follows[i] == 0 || follows[i] == 1, "follows", "0 or 1");
  tilted = follows[0] != 0;
  follows_impact = follows[1] != 0;
  particles = follows[2] != 0;
  has_sizes = follows[3] != 0;
  moves = follows[4] != 0;
  turned = follows[5] != 0;
  own_noise = factors + sums + 1 + size_t(turned);
  noise_size = own_noise + across * nz;
  expect(has_sizes || !(tilted || follows_impact), "follows", "cells of a known size where axes are followed");
  expect(!(turned && moves), "follows", "a cylinder where showers are turned");
  variables = 4 + 2 * size_t(tilted) + size_t(particles);
  of_shower = 3 + size_t(tilted) + size_t(particles);
  cell_size_mm = tensors.floats("cell_size_mm", {2});
  expect(!has_sizes || (cell_size_mm[0] > 0 && cell_size_mm[1] > 0), "cell_size_mm", "positive numbers");
  depth_mm = tensors.floats("depth_mm", {nz});
  offset_spread = *tensors.floats("offset_spread", {1});
  slope_spread = *tensors.floats("slope_spread", {1});
  expect(offset_spread > 0, "offset_spread", "a positive number");
  expect(slope_spread > 0, "slope_spread", "a positive number");
  log_energy = tensors.floats("log_energy", {2});
  expect(log_energy[1] > 0, "log_energy", "a positive width");
  energies_at = tensors.floats("energies", {energies});
  expect(energies_at[1] > energies_at[0], "energies", "increasing numbers");
  products = tensors.integers("products", {2, monomials});
  for (size_t i = 0; i < 2 * monomials; ++i)
    expect(products[i] >= 0 && products[i] <= int64_t(3 * variables), "products", "numbers of polynomials");
}

void Model::read_cells() {
  const size_t record = tensors.shape("cells.records", 3)[2];
  expect(record % kLanes == 0 && record >= 2 * monomials + 4 && record < 2 * monomials + 4 + kLanes, "cells.records",
         "records of the monomials");
  scale.size = tensors.shape("scale.values", 2)[1];
  scale.count = tensors.shape("scale.values", 2)[0];
  expect(scale.size >= 2 && scale.size * scale.count < 1 << 24, "scale.values", "tables of two numbers or more");
  scale.lowest = *tensors.floats("scale.lowest", {1});
  scale.step = tensors.floats("scale.step", {scale.count});
  scale.values = tensors.floats("scale.values", {scale.count, scale.size});
  for (size_t s = 0; s < scale.count; ++s) expect(scale.step[s] > 0, "scale.step", "positive numbers");
  left.assign(columns, 0.0F);
  right.assign(columns, 0.0F);
  for (size_t o = 0; o < across; ++o) {
    left[o] = o % ny > 0 ? 1.0F : 0.0F;
    right[o] = o % ny + 1 < ny ? 1.0F : 0.0F;
  }
  Layer layer{across, columns, ny, factors, monomials, record, nz * columns, nullptr, nullptr, nullptr, nullptr,
              nullptr, left.data(), right.data(), nullptr};
  const float* loadings = tensors.floats("cells.loadings", {nz, factors, columns});
  const float* below = tensors.floats("cells.below", {nz, monomials, columns});
  const float* amplitude = tensors.floats("cells.amplitude", {energies, nz, columns});
  const float* own = tensors.floats("cells.own", {energies, nz, columns});
  const float* share = tensors.floats("cells.share", {nz, columns});
  const float* records = tensors.floats("cells.records", {nz, across, record});
  for (size_t cell = 0; cell < nz * across; ++cell) {
    const float number = records[cell * record + 2 * monomials + 3];
    expect(number >= 0 && number < float(scale.count) && number == std::floor(number), "cells.records",
           "the number of a scale");
  }
  for (size_t z = 0; z < nz; ++z) {
    layer.loadings = loadings + z * factors * columns;
    layer.below = below + z * monomials * columns;
    layer.amplitude = amplitude + z * columns;
    layer.own = own + z * columns;
    layer.share = share + z * columns;
    layer.records = records + z * across * record;
    layers.push_back(layer);
  }
}

void Model::read_sums() {
  sum_loadings = tensors.floats("sums.loadings", {energies, factors, sum_columns});
  sum_rest = tensors.floats("sums.rest", {energies, sums, sum_columns});
  sum_location = tensors.floats("sums.location", {monomials, sum_columns});
  sum_log_width = tensors.floats("sums.log_width", {monomials, sum_columns});
  sum_skew = tensors.floats("sums.skew", {of_shower, sum_columns});
  sum_largest = tensors.floats("sums.largest", {sum_columns});
  many_hits = *tensors.floats("sums.many_hits", {1});
  expect(many_hits > 0, "sums.many_hits", "a positive number");
  sum_log_tail = tensors.floats("sums.log_tail", {of_shower, sum_columns});
}

void Model::read_domain() {
  const auto range = [this](const char* name) {
    const double* pair = tensors.doubles(name, {2});
    expect(ordered(pair), name, "low <= high");
    return Range{pair[0], pair[1]};
  };
  domain.energy_MeV = range("range.energy_MeV");
  domain.theta_rad = range("range.theta_rad");
  domain.phi_rad = range("range.phi_rad");
  domain.possible_energy_MeV = range("range.possible_energy_MeV");
  expect(domain.possible_energy_MeV.low > 0, "range.possible_energy_MeV", "positive numbers");
  domain.has_impact = tensors.has("range.impact_mm");
  domain.x_mm = domain.y_mm = Range{0, 0};
  if (domain.has_impact) {
    const double* impact = tensors.doubles("range.impact_mm", {2, 2});
    expect(ordered(impact) && ordered(impact + 2), "range.impact_mm", "low <= high");
    domain.x_mm = Range{impact[0], impact[1]};
    domain.y_mm = Range{impact[2], impact[3]};
  }
  domain.particles = tensors.shape("range.pdg_ids", 1)[0];
  domain.pdg_ids = tensors.integers("range.pdg_ids", {domain.particles});
  most_per_energy = *tensors.floats("most_per_energy", {1});
  expect(most_per_energy > 0, "most_per_energy", "a positive number");
  threshold_MeV = *tensors.floats("threshold_MeV", {1});
  expect(threshold_MeV >= 0, "threshold_MeV", "a number >= 0");
  const int64_t round = *tensors.integers("cylindrical", {1});
  expect(round == 0 || round == 1, "cylindrical", "0 or 1");
  cylindrical = round == 1;
  has_positions = tensors.has("positions.across");
  if (has_positions) {
    x_mm = tensors.floats("positions.across", {2, across});
    y_mm = x_mm + across;
    z_mm = tensors.floats("positions.depth", {nz});
  }
}

void Model::read_golden() {
  golden = Golden{};
  if (!tensors.has("golden.conditions")) return;
  golden.showers = tensors.shape("golden.conditions", 2)[0];
  golden.conditions = tensors.floats("golden.conditions", {golden.showers, 5});
  golden.pdg_ids = tensors.integers("golden.pdg_ids", {golden.showers});
  golden.seed = tensors.integers("golden.seed", {1});
  golden.first = tensors.integers("golden.first", {golden.showers + 1});
  golden.hits = tensors.shape("golden.cells", 1)[0];
  golden.cells = tensors.integers("golden.cells", {golden.hits});
  golden.deposits_MeV = tensors.floats("golden.deposits_MeV", {golden.hits});
  golden.normals = tensors.floats("golden.normals", {golden.showers, 8});
  expect(golden.seed[0] >= 0, "golden.seed", "a number >= 0");
  expect(golden.first[0] == 0 && golden.first[golden.showers] == int64_t(golden.hits), "golden.first", "all hits");
  for (size_t i = 0; i < golden.showers; ++i)
    expect(golden.first[i] <= golden.first[i + 1], "golden.first", "increasing numbers");
  for (size_t i = 0; i < golden.hits; ++i)
    expect(golden.cells[i] >= 0 && golden.cells[i] < int64_t(across * nz), "golden.cells", "numbers of cells");
}

}  // namespace caloforge::inside
