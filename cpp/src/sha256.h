// SHA-256 (FIPS 180-4), for a file's checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace caloforge::inside {

class Sha256 {
 public:
  void add(const uint8_t* bytes, size_t count);
  std::string hex();  // of all that was added; nothing may be added afterwards

 private:
  void block(const uint8_t* bytes);

  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t rest_[64];
  uint64_t length_ = 0;
};

}  // namespace caloforge::inside
