#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "error.h"

namespace caloforge::inside {
namespace {

constexpr size_t kAtOnce = 32;              // showers for which constants are read once
constexpr size_t kRoom = size_t(1) << 26;   // numbers of noise, and as many of hits, of showers made together
constexpr float kSmallestShare = 1e-5F;     // was added to a layer's share before its logarithm was taken
constexpr float kLeast = 0.1F, kFarthest = 6.0F;

float bounded(float x, float low, float high) { return std::min(std::max(x, low), high); }

}  // namespace

Sampler::Sampler(const Model& model, const Kernels& kernels) : model_(model), kernels_(kernels) {
  at_once_ = std::min(std::max<size_t>(kRoom / model.noise_size, 1), kAtOnce);
  pairs_ = (model.noise_size + 1) / 2;
  padded_ = 2 * pairs_;
}

caloforge_hits Sampler::of_seed(const caloforge_primary* primaries, size_t count, uint64_t seed, uint64_t first,
                                bool extrapolate) {
  const Words table(seed);
  return sample(primaries, count, extrapolate, [&](size_t place, size_t number) {
    table.read((Words::Place(first) + number) * pairs_, pairs_, words_.get());
    return drawn(place);
  });
}

caloforge_hits Sampler::of_engine(const caloforge_primary* primaries, size_t count, caloforge_engine engine,
                                  bool extrapolate) {
  return sample(primaries, count, extrapolate, [&](size_t place, size_t) {
    engine.fill(engine.state, words_.get(), pairs_);
    return drawn(place);
  });
}

caloforge_hits Sampler::of_noise(const caloforge_primary* primaries, size_t count, const float* noise,
                                 bool extrapolate) {
  return sample(primaries, count, extrapolate,
                [&](size_t, size_t number) { return noise + number * model_.noise_size; });
}

// Turn words into the noise of the shower at a place among those made together.
const float* Sampler::drawn(size_t place) {
  float* noise = noise_.get() + place * padded_;
  kernels_.normals(words_.get(), pairs_, noise);
  return noise;
}

// All memory that so many showers at once need. `noise(place, number)` returns the noise of a shower.
template <typename Noise>
caloforge_hits Sampler::sample(const caloforge_primary* primaries, size_t count, bool extrapolate, Noise noise) {
  size_t outside = 0;
  for (size_t i = 0; i < count; ++i) outside += check_primary(model_, primaries[i], i, extrapolate) ? 0 : 1;
  reserve(std::min(count, at_once_));
  size_t* first = first_.need(count + 1);
  first[0] = filled_ = 0;
  for (size_t start = 0; start < count; start += at_once_) {
    const size_t showers = std::min(at_once_, count - start);
    for (size_t b = 0; b < showers; ++b) begin(b, primaries[start + b], noise(b, start + b));
    make_hits(showers);
    for (size_t b = 0; b < showers; ++b) {
      finish(b, start + b, primaries[start + b].energy_MeV);
      first[start + b + 1] = filled_;
    }
  }
  return caloforge_hits{count, first, out_cells_.get(), out_energies_.get(), outside};
}

void Sampler::reserve(size_t showers) {
  const Model& m = model_;
  const size_t record = m.layers[0].record, n = std::max<size_t>(showers, 1);
  words_.need(pairs_);
  noise_.need(n * padded_);
  monomials_.need(n * m.nz * m.monomials);
  of_shower_.need(n * m.of_shower);
  paired_.need(n * record);
  below_.need(n * m.columns);
  above_.need(n * m.columns);
  // A layer's hits are written behind those of the layers before, in whole vectors.
  deposits_.need(n * m.nz * m.columns);
  cells_.need(n * m.nz * m.columns);
  cell_x_.need(n * m.nz);
  cell_y_.need(n * m.nz);
  counts_.need(n * (m.nz + 1));
  conditions_.need(n);
  incoming_.need(n);
  rows_.need(n);
  work_.need(std::max(8 * m.columns, m.columns + 2 * m.ny + 2 * kLanes));
  sums_.need(5 * m.sum_columns);
  layers_.need(4 * m.nz);
}

void Sampler::begin(size_t place, const caloforge_primary& primary, const float* noise) {
  const Model& m = model_;
  Conditions& conditions = conditions_.get()[place];
  conditions.monomials = monomials_.get() + place * m.nz * m.monomials;
  conditions.of_shower = of_shower_.get() + place * m.of_shower;
  conditions.cell_x = cell_x_.get() + place * m.nz;
  conditions.cell_y = cell_y_.get() + place * m.nz;
  work_out(m, primary, noise, conditions);
  rows_.get()[place] = noise;
  const size_t record = m.layers[0].record;
  float* paired = paired_.get() + place * record;
  std::fill(paired, paired + record, 0.0F);
  incoming_.get()[place] = Incoming{noise, nullptr, nullptr, paired, conditions.energy, conditions.lower,
                                    conditions.upper, primary.energy_MeV * m.most_per_energy};
  std::fill_n(counts_.get() + place * (m.nz + 1), m.nz + 1, size_t(0));
}

// Layer by layer, so that its constants stay in a cache for all showers.
void Sampler::make_hits(size_t showers) {
  const Model& m = model_;
  for (size_t z = 0; z < m.nz; ++z) {
    const Layer& layer = m.layers[z];
    for (size_t b = 0; b < showers; ++b) {
      Incoming& shower = incoming_.get()[b];
      shower.noise = rows_.get()[b] + m.own_noise + z * m.across;
      if (z > 0 && !m.tilted) continue;
      shower.monomials = conditions_.get()[b].monomials + z * m.monomials;
      float* paired = paired_.get() + b * layer.record;
      for (size_t f = 0; f < m.monomials; ++f) paired[2 * f] = paired[2 * f + 1] = shower.monomials[f];
    }
    kernels_.latents(layer, incoming_.get(), showers, work_.get(), below_.get(), above_.get());
    for (size_t b = 0; b < showers; ++b) {
      const size_t at = b * m.nz * m.columns + counts_.get()[b * (m.nz + 1) + m.nz];
      const size_t found =
          kernels_.hits(layer, m.scale, incoming_.get()[b], below_.get() + b * m.columns,
                        above_.get() + b * m.columns, work_.get(), cells_.get() + at, deposits_.get() + at);
      keep_inside(b, z, found);
    }
  }
}

// Turn cells of the window into those of the grid, and leave out what lies outside.
void Sampler::keep_inside(size_t place, size_t z, size_t found) {
  const Model& m = model_;
  size_t* counts = counts_.get() + place * (m.nz + 1);
  uint32_t* cells = cells_.get() + place * m.nz * m.columns + counts[m.nz];
  float* deposits = deposits_.get() + place * m.nz * m.columns + counts[m.nz];
  const int64_t by_x = conditions_.get()[place].cell_x[z], by_y = conditions_.get()[place].cell_y[z];
  size_t kept = 0;
  for (size_t i = 0; i < found; ++i) {
    int64_t o = cells[i];
    if (by_x != 0 || by_y != 0) {
      const int64_t x = o / int64_t(m.ny) + by_x;
      int64_t y = o % int64_t(m.ny) + by_y;
      if (m.turned && y >= int64_t(m.ny)) y -= int64_t(m.ny);
      if (x < 0 || x >= int64_t(m.nx) || y < 0 || y >= int64_t(m.ny)) continue;
      o = x * int64_t(m.ny) + y;
    }
    cells[kept] = uint32_t(size_t(o) * m.nz + z);
    deposits[kept++] = deposits[i];
  }
  counts[z] = kept;
  counts[m.nz] += kept;
}

// The layers' energies as they are drawn (nz,), at the beginning of `layers_`.
void Sampler::draw_layers(size_t place, float energy_MeV) {
  const Model& m = model_;
  const Conditions& conditions = conditions_.get()[place];
  const float* noise = rows_.get()[place];
  const size_t width = m.sum_columns;
  float *latent = sums_.get(), *location = latent + width, *log_width = location + width, *skew = log_width + width,
        *log_tail = skew + width;
  const auto add = [width](float* to, float by, const float* row) {
    for (size_t i = 0; i < width; ++i) to[i] += by * row[i];
  };
  std::fill(latent, latent + 5 * width, 0.0F);
  for (size_t q = 0; q < 2; ++q) {
    const float weight = q == 0 ? conditions.lower : conditions.upper;
    const size_t at = conditions.energy + q;
    for (size_t k = 0; k < m.factors; ++k)
      add(latent, weight * noise[k], m.sum_loadings + (at * m.factors + k) * width);
    for (size_t n = 0; n < m.sums; ++n)
      add(latent, weight * noise[m.factors + n], m.sum_rest + (at * m.sums + n) * width);
  }
  for (size_t f = 0; f < m.monomials; ++f) {
    add(location, conditions.monomials[f], m.sum_location + f * width);
    add(log_width, conditions.monomials[f], m.sum_log_width + f * width);
  }
  for (size_t j = 0; j < m.of_shower; ++j) {
    add(skew, conditions.of_shower[j], m.sum_skew + j * width);
    add(log_tail, conditions.of_shower[j], m.sum_log_tail + j * width);
  }
  float* layers = layers_.get();
  float total = 0, all = 0;
  for (size_t i = 0; i < m.sums; ++i) {
    const float stretched = (std::asinh(latent[i]) + skew[i]) * std::exp(-log_tail[i]);
    const float standard = std::sinh(bounded(stretched, -kFarthest, kFarthest));
    const float drawn = std::min(location[i] + std::exp(bounded(log_width[i], -6, 4)) * standard, m.sum_largest[i]);
    if (i == 0)
      total = energy_MeV * std::exp(drawn);
    else
      all += layers[i - 1] = std::max(std::exp(drawn) - kSmallestShare, 0.0F);
  }
  for (size_t z = 0; z < m.nz; ++z) layers[z] *= total / std::max(all, kSmallestShare);
}

// Scale layers of many hits to their drawn energies, and all together to the total; then read out.
void Sampler::finish(size_t place, size_t number, float energy_MeV) {
  const Model& m = model_;
  const size_t* counts = counts_.get() + place * (m.nz + 1);
  const uint32_t* cells = cells_.get() + place * m.nz * m.columns;
  const float* deposits = deposits_.get() + place * m.nz * m.columns;
  draw_layers(place, energy_MeV);
  const float* drawn = layers_.get();
  float *trust = layers_.get() + m.nz, *scale = trust + m.nz;
  float lacking = 0, trusted = 0;
  for (size_t z = 0, at = 0; z < m.nz; at += counts[z++]) {
    float sum = 0;
    for (size_t i = at; i < at + counts[z]; ++i) sum += deposits[i];
    const float hits = float(counts[z]) * float(counts[z]);
    trust[z] = hits / (hits + m.many_hits * m.many_hits);
    scale[z] = std::pow(drawn[z] / std::max(sum, 1e-9F), trust[z]);
    lacking += drawn[z] - sum * scale[z];
    trusted += trust[z] * sum * scale[z];
  }
  const float more = lacking / std::max(trusted, 1e-9F);
  const size_t whole = filled_ + counts[m.nz];
  uint32_t* out_cells = out_cells_.grow(whole, filled_);
  float* out_energies = out_energies_.grow(whole, filled_);
  float all = 0;
  for (size_t z = 0, at = 0; z < m.nz; at += counts[z++]) {
    const float by = scale[z] * std::max(1 + trust[z] * more, kLeast);
    for (size_t i = at; i < at + counts[z]; ++i) {
      const float energy = deposits[i] * by;
      all += energy;
      out_cells[filled_] = cells[i];
      out_energies[filled_] = energy;
      filled_ += energy > m.threshold_MeV ? 1 : 0;
    }
  }
  if (!std::isfinite(all))
    throw Error("shower " + std::to_string(number) + ": no finite deposits, too far from the training");
}

}  // namespace caloforge::inside
