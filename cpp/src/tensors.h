// Tensors and texts of a safetensors file, every byte checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "header.h"
#include "mapped_file.h"

namespace caloforge::inside {

class Tensors {
 public:
  // Throws Error where this is no such file, or its checksum is another.
  explicit Tensors(const std::string& path);

  bool has(const std::string& name) const { return header_.tensors.count(name) > 0; }
  const std::string& text(const std::string& name) const;
  // The shape of a tensor with so many axes, none of them empty.
  std::vector<size_t> shape(const std::string& name, size_t axes) const;
  // The numbers of a tensor of just this type and shape; floating point ones are finite.
  const float* floats(const std::string& name, const std::vector<size_t>& shape) const;
  const double* doubles(const std::string& name, const std::vector<size_t>& shape) const;
  const int64_t* integers(const std::string& name, const std::vector<size_t>& shape) const;

 private:
  const Entry& entry(const std::string& name) const;
  const uint8_t* numbers(const std::string& name, const char* type, size_t bytes,
                         const std::vector<size_t>& shape) const;
  void check_sum(size_t header_size) const;

  MappedFile file_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  Header header_;
};

}  // namespace caloforge::inside
