// Compiled once for each kind of processor: CALOFORGE_KIND is its name, and the compiler's flags choose the vectors.
#include "kernels.h"

#include "vector_math.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

namespace caloforge::inside {
namespace CALOFORGE_KIND {
namespace {

constexpr size_t kAhead = 6;  // hits whose records are fetched meanwhile
constexpr float kThresholds[2] = {-5.0F, 5.2F}, kLogWidths[2] = {-5.0F, 3.0F}, kFarthest = 6.0F;

// Sines and cosines of a whole turn in 2^32 parts: of an eighth of it, with the quarters in the upper two bits.
inline void turn(U angle, V& sine, V& cosine) {
  const U quarter = (angle + 0x20000000U) >> 30;
  I rest;
  const U left = angle - (quarter << 30);
  std::memcpy(&rest, &left, sizeof rest);
  const V x = __builtin_convertvector(rest, V) * 1.46291808e-9F, q = x * x;
  const V s = x * (1 + q * (-1.0F / 6 + q * (1.0F / 120 + q * (-1.0F / 5040 + q * (1.0F / 362880)))));
  const V c = 1 + q * (-1.0F / 2 + q * (1.0F / 24 + q * (-1.0F / 720 + q * (1.0F / 40320 - q * (1.0F / 3628800)))));
  const I swapped = (quarter & 1U) != 0U, s_minus = (quarter & 2U) != 0U, c_minus = ((quarter + 1U) & 2U) != 0U;
  sine = number(bits(swapped ? c : s) ^ (s_minus & INT32_MIN));
  cosine = number(bits(swapped ? s : c) ^ (c_minus & INT32_MIN));
}

// Halves of the words are radii and angles: radii first, then angles.
void normals(const uint64_t* words, size_t pairs, float* out) {
  const char* halves = reinterpret_cast<const char*>(words);
  for (size_t i = 0; i < pairs; i += LANES) {
    // The last ones are made from the end, some of them twice.
    const size_t at = pairs < LANES ? 0 : (i + LANES <= pairs ? i : pairs - LANES);
    const size_t count = pairs < LANES ? pairs : LANES;
    I radius{};
    U angle{};
    std::memcpy(&radius, halves + 4 * at, 4 * count);
    std::memcpy(&angle, halves + 4 * (pairs + at), 4 * count);
    const V part = larger(size_of(__builtin_convertvector(radius, V)) * 0x1p-31F, all(0x1p-32F));
    const V r = root(larger(-2 * log(part), V{}));
    V sine, cosine;
    turn(angle, sine, cosine);
    sine *= r;
    cosine *= r;
    std::memcpy(out + at, &sine, 4 * count);
    std::memcpy(out + pairs + at, &cosine, 4 * count);
  }
}

// Add the share of each neighbour's noise to a cell's own.
void share_noise(const Layer& layer, const float* noise, float* work, float* out) {
  const size_t row = layer.row, filled = layer.columns + 2 * row + kLanes;
  std::memset(work, 0, 4 * (row + 1));
  std::memcpy(work + row + 1, noise, 4 * layer.across);
  std::memset(work + row + 1 + layer.across, 0, 4 * (filled - row - 1 - layer.across));
  const float* own = work + row + 1;
  for (size_t o = 0; o < layer.columns; o += LANES) {
    const V beside = load(own + o - row) + load(own + o + row) + load(layer.left + o) * load(own + o - 1) +
                     load(layer.right + o) * load(own + o + 1);
    store(out + o, load(own + o) + load(layer.share + o) * beside);
  }
}

// So many showers B and vectors C of cells at once, whose sums stay in registers.
template <int B, int C>
inline void tile(const Layer& layer, const Incoming* showers, size_t o, float* below, float* above) {
  const size_t columns = layer.columns;
  V limit[B][C] = {}, common[B][C] = {};
  for (size_t f = 0; f < layer.monomials; ++f)
    for (int c = 0; c < C; ++c) {
      const V constants = load(layer.below + f * columns + o + c * LANES);
      for (int b = 0; b < B; ++b) limit[b][c] += showers[b].monomials[f] * constants;
    }
  for (int b = 0; b < B; ++b)
    for (int c = 0; c < C; ++c) store(below + b * columns + o + c * LANES, limit[b][c]);
  for (size_t k = 0; k < layer.factors; ++k)
    for (int c = 0; c < C; ++c) {
      const V constants = load(layer.loadings + k * columns + o + c * LANES);
      for (int b = 0; b < B; ++b) common[b][c] += showers[b].factors[k] * constants;
    }
  for (int b = 0; b < B; ++b) {
    const Incoming& shower = showers[b];
    const size_t first = shower.energy * layer.between + o, second = first + layer.between;
    for (int c = 0; c < C; ++c) {
      const size_t at = c * LANES;
      const V amplitude =
          shower.lower * load(layer.amplitude + first + at) + shower.upper * load(layer.amplitude + second + at);
      const V own = shower.lower * load(layer.own + first + at) + shower.upper * load(layer.own + second + at);
      float* to = above + b * columns + o + at;
      store(to, load(below + b * columns + o + at) + amplitude * common[b][c] + own * load(to));
    }
  }
}

template <int B, int C>
inline void tiles(const Layer& layer, const Incoming* showers, float* below, float* above) {
  size_t o = 0;
  for (; o + C * LANES <= layer.columns; o += C * LANES) tile<B, C>(layer, showers, o, below, above);
  for (; o < layer.columns; o += LANES) tile<B, 1>(layer, showers, o, below, above);
}

void latents(const Layer& layer, const Incoming* showers, size_t count, float* work, float* below, float* above) {
  constexpr int kWide = LANES == 16 ? 4 : 2;
  for (size_t b = 0; b < count; ++b) share_noise(layer, showers[b].noise, work, above + b * layer.columns);
  size_t b = 0;
  for (; b + 4 <= count; b += 4)
    tiles<4, kWide>(layer, showers + b, below + b * layer.columns, above + b * layer.columns);
  for (; b < count; ++b)
    tiles<1, 4>(layer, showers + b, below + b * layer.columns, above + b * layer.columns);
}

// Location and log width of a hit: sums over the even and the odd numbers of its cell's record.
inline void law(const float* record, const float* paired, size_t size, float& location, float& log_width) {
  V sum{};
  for (size_t i = 0; i < size; i += LANES) sum += load(record + i) * load(paired + i);
  typedef float Four __attribute__((vector_size(16)));
  Four parts[LANES / 4];
  std::memcpy(parts, &sum, sizeof sum);
  for (int half = LANES / 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
  location = parts[0][0] + parts[0][2];
  log_width = parts[0][1] + parts[0][3];
}

// From latents above thresholds to ln(deposit) on the common scale.
inline V scaled_log(V above, V below, V location, V log_width, V skew, V tail) {
  const V threshold = between(-below, kThresholds[0], kThresholds[1]);
  const V chance = upper_tail(above + threshold) / upper_tail(threshold);
  const V standard = sinh(between((asinh(-quantile(chance)) + skew) * tail, -kFarthest, kFarthest));
  return location + exp(between(log_width, kLogWidths[0], kLogWidths[1])) * standard;
}

// Where in a scale's table a number lies.
inline float from_scale(const Scale& scale, float mapped, float number) {
  const size_t s = static_cast<size_t>(number);
  const float place = (mapped - scale.lowest) / scale.step[s], last = float(scale.size - 2);
  const float bound = place > 0 ? (place < last ? place : last) : 0;
  const size_t piece = static_cast<size_t>(bound);
  const float* values = scale.values + s * scale.size + piece;
  return values[0] + (place - float(piece)) * (values[1] - values[0]);
}

size_t hits(const Layer& layer, const Scale& scale, const Incoming& shower, const float* below, const float* above,
            float* work, uint32_t* cells, float* deposits) {
  size_t count = 0;
  for (size_t o = 0; o < layer.columns; o += LANES) count += put_positive(load(above + o), uint32_t(o), cells + count);
  while (count > 0 && cells[count - 1] >= layer.across) --count;  // columns that are no cells
  const size_t columns = layer.columns;
  float *excess = work, *limit = work + columns, *location = work + 2 * columns, *log_width = work + 3 * columns,
        *skew = work + 4 * columns, *tail = work + 5 * columns, *largest = work + 6 * columns,
        *number = work + 7 * columns;
  for (size_t i = 0; i < count; ++i) {
    const float* record = layer.records + size_t(cells[i]) * layer.record;
    const float* later = layer.records + size_t(cells[i + kAhead < count ? i + kAhead : i]) * layer.record;
    for (size_t at = 0; at < layer.record; at += 16) __builtin_prefetch(later + at);
    law(record, shower.paired, layer.record, location[i], log_width[i]);
    excess[i] = above[cells[i]];
    limit[i] = below[cells[i]];
    const float* shapes = record + 2 * layer.monomials;
    skew[i] = shapes[0];
    tail[i] = shapes[1];
    largest[i] = shapes[2];
    number[i] = shapes[3];
  }
  const size_t filled = (count + LANES - 1) / LANES * LANES;
  for (size_t i = count; i < filled; ++i)
    excess[i] = limit[i] = location[i] = log_width[i] = skew[i] = tail[i] = largest[i] = number[i] = 0;
  for (size_t i = 0; i < filled; i += LANES)
    store(deposits + i, scaled_log(load(excess + i), load(limit + i), load(location + i), load(log_width + i),
                                   load(skew + i), load(tail + i)));
  for (size_t i = 0; i < count; ++i) deposits[i] = from_scale(scale, deposits[i], number[i]);
  for (size_t i = 0; i < filled; i += LANES)
    store(deposits + i, smaller(exp(smaller(load(deposits + i), load(largest + i))), all(shower.most_MeV)));
  return count;
}

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {TEXT(CALOFORGE_KIND), normals, latents, hits};

}  // namespace CALOFORGE_KIND
}  // namespace caloforge::inside
