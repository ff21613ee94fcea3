// A small model's file, to be changed before it is written.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct SampleTensor {
  std::string type;
  std::vector<size_t> shape;
  std::vector<uint8_t> bytes;
};

struct SampleFile {
  std::map<std::string, SampleTensor> tensors;
  std::map<std::string, std::string> texts;

  void floats(const std::string& name, const std::vector<size_t>& shape, const std::vector<float>& numbers);
  void doubles(const std::string& name, const std::vector<size_t>& shape, const std::vector<double>& numbers);
  void integers(const std::string& name, const std::vector<size_t>& shape, const std::vector<int64_t>& numbers);
  std::string bytes() const;                // with the right checksum
  void write(const std::string& path) const;
};

// Random constants, with cells of which some are hit often and some hardly ever. Without golden showers.
SampleFile sample_file(bool tilted, bool cylindrical = false);

void write_bytes(const std::string& path, const std::string& bytes);
std::string with_checksum(std::string bytes);
std::string temporary(const std::string& name);  // a path in a folder of this process
