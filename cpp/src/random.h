// Random words of a seed and a shower's number: the table from which caloforge in Python reads as well.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace caloforge::inside {

// The first eight bytes, as a little-endian number, of the BLAKE2b digest of that length (RFC 7693) of a short text.
uint64_t blake2b64(const std::string& text);

// An endless table of 64-bit words, of which any place is reached at once.
class Words {
 public:
  __extension__ typedef unsigned __int128 Place;

  // The table of a seed that showers' noise is read from.
  explicit Words(uint64_t seed);

  // `count` words from place number `first` on.
  void read(Place first, size_t count, uint64_t* out) const;

 private:
  Place state_, step_;
};

}  // namespace caloforge::inside
