#include "random.h"

#include <cstring>

#include "error.h"

namespace caloforge::inside {
namespace {

using Wide = Words::Place;

constexpr uint64_t kMultiplier = 0xda942042e4dd58b5;  // of PCG64DXSM, M. O'Neill's generator with a "cheap" product

constexpr Wide kSeeding = Wide(0x2360ed051fc65da4) << 64 | 0x4385df649fccf645;  // seeds go through PCG64's

// Numpy's SeedSequence of a number: M. O'Neill's seed_seq_fe.
class SeedSequence {
 public:
  explicit SeedSequence(uint64_t entropy) {
    const uint32_t words[4] = {uint32_t(entropy), uint32_t(entropy >> 32), 0, 0};
    for (int i = 0; i < 4; ++i) pool_[i] = hashed(words[i]);
    for (int from = 0; from < 4; ++from)
      for (int to = 0; to < 4; ++to)
        if (from != to) pool_[to] = mixed(pool_[to], hashed(pool_[from]));
  }

  void state(uint64_t out[4]) const {
    uint32_t hash = 0x8b51f9dd, words[8];
    for (int i = 0; i < 8; ++i) {
      uint32_t word = pool_[i % 4] ^ hash;
      hash *= 0x58f38ded;
      word *= hash;
      words[i] = word ^ word >> 16;
    }
    for (int i = 0; i < 4; ++i) out[i] = words[2 * i] | uint64_t(words[2 * i + 1]) << 32;
  }

 private:
  uint32_t hashed(uint32_t word) {
    word ^= hash_;
    hash_ *= 0x931e8875;
    word *= hash_;
    return word ^ word >> 16;
  }

  static uint32_t mixed(uint32_t a, uint32_t b) {
    const uint32_t found = a * 0xca01f9ddU - b * 0x4973f715U;
    return found ^ found >> 16;
  }

  uint32_t pool_[4], hash_ = 0x43b0d7e5;
};

constexpr uint64_t kBlake[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                                0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

constexpr uint8_t kOrder[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

uint64_t turn(uint64_t x, int by) { return x >> by | x << (64 - by); }

void mix(uint64_t* v, int a, int b, int c, int d, uint64_t x, uint64_t y) {
  v[a] += v[b] + x;
  v[d] = turn(v[d] ^ v[a], 32);
  v[c] += v[d];
  v[b] = turn(v[b] ^ v[c], 24);
  v[a] += v[b] + y;
  v[d] = turn(v[d] ^ v[a], 16);
  v[c] += v[d];
  v[b] = turn(v[b] ^ v[c], 63);
}

}  // namespace

uint64_t blake2b64(const std::string& text) {
  if (text.size() > 128) throw Error("a text of more than one block");
  uint64_t block[16] = {}, v[16];
  std::memcpy(block, text.data(), text.size());
  std::memcpy(v, kBlake, sizeof kBlake);
  std::memcpy(v + 8, kBlake, sizeof kBlake);
  const uint64_t parameters = kBlake[0] ^ 0x01010008;  // no key, a digest of eight bytes
  v[0] = parameters;
  v[12] ^= text.size();
  v[14] = ~v[14];
  for (int round = 0; round < 12; ++round) {
    const uint8_t* order = kOrder[round % 10];
    for (int i = 0; i < 4; ++i)
      mix(v, i, 4 + i, 8 + i, 12 + i, block[order[2 * i]], block[order[2 * i + 1]]);
    for (int i = 0; i < 4; ++i)
      mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, block[order[8 + 2 * i]], block[order[9 + 2 * i]]);
  }
  return parameters ^ v[0] ^ v[8];
}

Words::Words(uint64_t seed) {
  uint64_t state[4];
  SeedSequence(blake2b64(std::to_string(seed) + "/'noise'") >> 1).state(state);
  const Wide start = Wide(state[0]) << 64 | state[1];
  step_ = (Wide(state[2]) << 64 | state[3]) << 1 | 1;
  state_ = (step_ + start) * kSeeding + step_;
}

void Words::read(Wide first, size_t count, uint64_t* out) const {
  // So many steps at once: a step is a product and a sum, and so are two of them.
  Wide state = state_, product = kMultiplier, sum = step_;
  for (; first > 0; first >>= 1) {
    if (first & 1) state = state * product + sum;
    sum *= product + 1;
    product *= product;
  }
  for (size_t i = 0; i < count; ++i) {
    uint64_t high = uint64_t(state >> 64);
    const uint64_t low = uint64_t(state) | 1;
    high ^= high >> 32;
    high *= kMultiplier;
    high ^= high >> 48;
    out[i] = high * low;
    state = state * kMultiplier + step_;
  }
}

}  // namespace caloforge::inside
