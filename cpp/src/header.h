// A safetensors file's header: JSON that names tensors, their types, shapes and places, and texts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace caloforge::inside {

struct Entry {
  std::string type;
  std::vector<uint64_t> shape;
  uint64_t begin = 0, end = 0;  // in the bytes behind the header
};

struct Header {
  std::map<std::string, Entry> tensors;
  std::map<std::string, std::string> texts;
};

// Throws Error for what is no such JSON. Only what a header holds is understood: objects, texts, whole numbers.
Header read_header(const char* text, size_t size);

}  // namespace caloforge::inside
