// What is computed for many cells at once; compiled for several processors, one of which is chosen at run time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace caloforge::inside {

constexpr size_t kLanes = 16;  // numbers of the widest vector, to which rows are filled up

// Constants of one layer; rows have `columns` numbers.
struct Layer {
  size_t across, columns, row, factors, monomials, record, between;
  const float *loadings, *below;   // (factors, columns), (monomials, columns)
  const float *amplitude, *own;    // of the first energy; `between` numbers farther on the next one's
  const float *share, *left, *right;
  const float* records;            // (across, record): laws of the cells
};

// Common scales of energies: tables with equal steps.
struct Scale {
  size_t count, size;
  float lowest;
  const float *step, *values;
};

// What one shower brings to a layer.
struct Incoming {
  const float *factors, *monomials;
  const float* noise;          // one number for each cell
  const float* paired;         // each monomial twice, filled up with zeros to a record
  size_t energy;               // the lower of the two energies between which the shower's is
  float lower, upper;          // their weights
  float most_MeV;              // that a cell can hold
};

struct Kernels {
  const char* name;

  // Standard normal numbers (2 * pairs) of so many words, by Box and Muller: sines first, then cosines.
  void (*normals)(const uint64_t* words, size_t pairs, float* out);

  // Minus the thresholds, and the latents above them: rows of `columns` numbers for each shower. `work` has
  // room for columns + 2 * row + kLanes numbers.
  void (*latents)(const Layer& layer, const Incoming* showers, size_t count, float* work, float* below, float* above);

  // Which cells are hit, and their deposits in MeV before layers are scaled. Returns how many. `work` has room
  // for 8 * columns numbers; so have `cells` and `deposits` for columns.
  size_t (*hits)(const Layer& layer, const Scale& scale, const Incoming& shower, const float* below,
                 const float* above, float* work, uint32_t* cells, float* deposits);
};

// The fastest that this processor runs; CALOFORGE_KERNELS in the environment names another.
const Kernels& kernels();

// By name, or null where there is none or the processor cannot run it.
const Kernels* kernels_called(const char* name);

}  // namespace caloforge::inside
