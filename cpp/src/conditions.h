// What showers are given, checked against the training, and as the numbers that laws depend on.
#pragma once

#include <caloforge/caloforge.h>

#include "model.h"

namespace caloforge::inside {

// Whether conditions lie within the training. Throws Error, naming the shower, for those that no shower of the model
// has, and without `extrapolate` for those beyond the training.
bool check_primary(const Model& model, const caloforge_primary& primary, size_t number, bool extrapolate);

// Numbers of one shower. Pointers lead to memory of the sampler.
struct Conditions {
  float* monomials;  // (nz or 1, monomials)
  float* of_shower;  // (of_shower,)
  int32_t *cell_x, *cell_y;  // (nz,): by so many cells the window is moved
  size_t energy;             // the lower of two energies at which correlations are known
  float lower, upper;        // their weights
};

// Fills in all but the pointers; `noise` is the shower's.
void work_out(const Model& model, const caloforge_primary& primary, const float* noise, Conditions& out);

}  // namespace caloforge::inside
