// Random words are numpy's of the same seed, and each place is reached at once.
#include <vector>

#include "expect.h"
#include "random.h"

int main() {
  EXPECT(caloforge::inside::blake2b64("20261129/'noise'") == 2717709585232867826U);
  EXPECT(!error_of([] { caloforge::inside::blake2b64(std::string(129, 'a')); }).empty());

  // numpy.random.PCG64DXSM(2717709585232867826 >> 1)
  const caloforge::inside::Words table(20261129);
  std::vector<uint64_t> words(8000);
  table.read(0, words.size(), words.data());
  EXPECT(words[0] == 10711802688544290569U);
  EXPECT(words[1] == 16703136126494335292U);
  EXPECT(words[2] == 17254443872397791419U);
  EXPECT(words[7858] == 3540319633611575502U);
  for (size_t first : {1, 2, 3, 77, 7999}) {
    uint64_t word;
    table.read(first, 1, &word);
    EXPECT(word == words[first]);
  }
  uint64_t far[2], other;
  table.read(caloforge::inside::Words::Place(1) << 90, 2, far);
  table.read((caloforge::inside::Words::Place(1) << 90) + 1, 1, &other);
  EXPECT(far[1] == other && far[0] != other);
  caloforge::inside::Words(20261130).read(0, 1, &other);
  EXPECT(other != words[0]);
}
