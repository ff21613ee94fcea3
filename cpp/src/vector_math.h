// Functions of whole vectors, in single precision. No library is called, and nothing from the standard library's
// headers is compiled here, so that no function built for a newer processor can get where an older one runs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float V __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));
typedef uint32_t U __attribute__((vector_size(4 * LANES)));

inline V all(float x) { return x - V{}; }
inline V load(const float* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
inline void store(float* to, V v) { std::memcpy(to, &v, sizeof v); }
inline I bits(V x) {
  I i;
  std::memcpy(&i, &x, sizeof i);
  return i;
}
inline V number(I i) {
  V x;
  std::memcpy(&x, &i, sizeof x);
  return x;
}
inline V smaller(V a, V b) { return a < b ? a : b; }
inline V larger(V a, V b) { return a > b ? a : b; }
// What is no number becomes the lower limit.
inline V between(V x, float low, float high) { return smaller(larger(x, all(low)), all(high)); }
inline V size_of(V x) { return number(bits(x) & 0x7fffffff); }
inline V with_sign(V size, V sign) { return number((bits(size) & 0x7fffffff) | (bits(sign) & INT32_MIN)); }

inline V root(V x) {
#if defined(__AVX512F__)
  return _mm512_sqrt_ps(x);
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(x);
#elif defined(__x86_64__)
  return _mm_sqrt_ps(x);
#else
  for (int i = 0; i < LANES; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

// Write the lanes' places, counted from `first`, whose numbers are greater than zero; there is room for all of them.
// Returns how many: a loop over the hits would be mispredicted in every vector.
inline size_t put_positive(V x, uint32_t first, uint32_t* to) {
#if defined(__AVX512F__)
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __mmask16 found = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
  const __m512i places = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(first)));
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(found, places));
  return static_cast<size_t>(__builtin_popcount(found));
#else
#if defined(__AVX2__)
  const auto found = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ)));
#elif defined(__x86_64__)
  const auto found = static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpgt_ps(x, _mm_setzero_ps())));
#else
  uint32_t found = 0;
  for (uint32_t lane = 0; lane < LANES; ++lane) found |= uint32_t(x[lane] > 0) << lane;
#endif
  size_t count = 0;
  for (uint32_t lane = 0; lane < LANES; ++lane) {
    to[count] = first + lane;
    count += found >> lane & 1;
  }
  return count;
#endif
}

// The natural logarithm of a positive number: of a power of two, and of what is left between 0.7 and 1.4.
inline V log(V x) {
  const I i = bits(larger(x, all(1.2e-38F)));
  const I power = (i - 0x3f3504f3) >> 23;
  const V m = number(i - (power << 23));
  const V s = (m - 1) / (m + 1), q = s * s;
  const V series = 2 + q * (2.0F / 3 + q * (2.0F / 5 + q * (2.0F / 7 + q * (2.0F / 9))));
  return __builtin_convertvector(power, V) * 0.693147181F + s * series;
}

// e^x; beyond single precision the largest number and nearly zero.
inline V exp(V x) {
  const V bound = between(x, -87.0F, 88.0F);
  const V shifted = bound * 1.44269504F + 12582912.0F;  // which rounds to a whole number
  const V whole = shifted - 12582912.0F;
  const V r = bound - whole * 0.693359375F + whole * 2.12194440e-4F;
  const V series =
      1 + r * (1 + r * (1.0F / 2 + r * (1.0F / 6 + r * (1.0F / 24 + r * (1.0F / 120 + r * (1.0F / 720 + r / 5040))))));
  return series * number(((bits(shifted) - 0x4b400000) + 127) << 23);
}

// ln(x + sqrt(x^2 + 1)).
inline V asinh(V x) {
  const V size = size_of(x);
  return with_sign(log(size + root(size * size + 1)), x);
}

inline V sinh(V x) {
  const V e = exp(x);
  return 0.5F * (e - 1 / e);
}

// The chance of a standard normal number above x, with all its digits far out. A polynomial of u = 1 / (1 + 0.4 |x|)
// was fitted to ln(chance / u) + x^2 / 2 up to |x| = 14, within 1e-7.
inline V upper_tail(V x) {
  const V size = size_of(x), u = 1 / (1 + 0.4F * size);
  const V p =
      -1.835082587F +
      u * (0.9962809922F +
           u * (0.3797460527F +
                u * (-0.2208953385F +
                     u * (0.666606104F +
                          u * (-2.000763972F +
                               u * (2.267236084F + u * (-1.227102133F + u * (0.3021185553F - 0.02129088315F * u))))))));
  const V tail = u * exp(p - 0.5F * size * size);
  return x < 0 ? 1 - tail : tail;
}

// The normal number of which a chance p lies below. With w = -ln(4 p (1 - p)) it is near to sqrt(w) times a
// constant; a polynomial was fitted to the ratio, within 1e-6. Near the median w = -ln(1 - (1 - 2p)^2) keeps its digits.
inline V quantile(V p) {
  p = between(p, 1e-7F, 1 - 1e-7F);
  const V u = 4 * p * (1 - p), y = 1 - 2 * p;
  const V lost = u > 0.5F ? (1 - u - y * y) / u : V{};
  const V w = larger(-log(u) - lost, V{});
  const V ratio =
      1.253314887F +
      w * (0.01477827553F +
           w * (-3.973712853e-4F +
                w * (-1.053396832e-4F +
                     w * (1.266231789e-5F +
                          w * (5.35546967e-9F +
                               w * (-1.101556340e-7F +
                                    w * (9.919751263e-9F + w * (-3.822977124e-10F + w * 5.716752566e-12F))))))));
  return with_sign(root(w) * ratio, -y);
}

}  // namespace
