#include "tensors.h"

#include <cmath>
#include <cstring>

#include "error.h"
#include "sha256.h"

namespace caloforge::inside {
namespace {

constexpr size_t kLargestHeader = 100'000'000;  // as safetensors has it
constexpr char kSum[] = "\"sha256\":\"";

std::string written(const std::vector<size_t>& shape) {
  std::string text = "(";
  for (size_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + ")";
}

template <typename Number>
const Number* finite(const std::string& name, const uint8_t* bytes, const std::vector<size_t>& shape) {
  const auto* numbers = reinterpret_cast<const Number*>(bytes);
  size_t count = 1;
  for (size_t size : shape) count *= size;
  for (size_t i = 0; i < count; ++i)
    if (!std::isfinite(numbers[i])) throw Error("field " + name + ": expected finite numbers");
  return numbers;
}

}  // namespace

Tensors::Tensors(const std::string& path) : file_(path) {
  uint64_t size = 0;
  if (file_.size() < 8) throw Error("not a whole safetensors file");
  std::memcpy(&size, file_.data(), 8);
  if (size > kLargestHeader || size > file_.size() - 8) throw Error("not a whole safetensors file");
  header_ = read_header(reinterpret_cast<const char*>(file_.data()) + 8, size);
  check_sum(size);
  data_ = file_.data() + 8 + size;
  size_ = file_.size() - 8 - size;
}

// The sum is of the whole file with zeros in its own place.
void Tensors::check_sum(size_t header_size) const {
  const std::string head(reinterpret_cast<const char*>(file_.data()), 8 + header_size);
  const size_t place = head.find(kSum);
  const size_t digits = place + sizeof kSum - 1;
  if (place == std::string::npos || digits + 64 > head.size()) throw Error("field sha256 is missing");
  Sha256 sum;
  sum.add(file_.data(), digits);
  sum.add(reinterpret_cast<const uint8_t*>(std::string(64, '0').data()), 64);
  sum.add(file_.data() + digits + 64, file_.size() - digits - 64);
  if (sum.hex() != head.substr(digits, 64))
    throw Error("the checksum does not fit the content, the file is damaged");
}

const std::string& Tensors::text(const std::string& name) const {
  const auto found = header_.texts.find(name);
  if (found == header_.texts.end()) throw Error("field " + name + " is missing");
  return found->second;
}

const Entry& Tensors::entry(const std::string& name) const {
  const auto found = header_.tensors.find(name);
  if (found == header_.tensors.end()) throw Error("field " + name + " is missing");
  return found->second;
}

std::vector<size_t> Tensors::shape(const std::string& name, size_t axes) const {
  const Entry& found = entry(name);
  const std::vector<size_t> shape(found.shape.begin(), found.shape.end());
  bool empty = false;
  for (size_t size : shape) empty = empty || size == 0 || size > file_.size();
  if (shape.size() != axes || empty)
    throw Error("field " + name + ": expected " + std::to_string(axes) + " axes, found shape " + written(shape));
  return shape;
}

const uint8_t* Tensors::numbers(const std::string& name, const char* type, size_t bytes,
                                const std::vector<size_t>& expected) const {
  const Entry& found = entry(name);
  const std::vector<size_t> shape(found.shape.begin(), found.shape.end());
  if (found.type != type || shape != expected)
    throw Error("field " + name + ": expected " + type + " of shape " + written(expected) + ", found " +
                found.type.substr(0, 20) + " of shape " + written(shape));
  size_t left = size_ / bytes;
  for (size_t size : shape) left /= size > 0 ? size : 1;  // no product that could overflow
  size_t count = 1;
  for (size_t size : shape) count *= left > 0 ? size : 0;
  if (left == 0 || found.end > size_ || found.begin > found.end || found.end - found.begin != count * bytes)
    throw Error("field " + name + ": its place lies outside of the file or has another size");
  const uint8_t* place = data_ + found.begin;
  if (reinterpret_cast<uintptr_t>(place) % bytes != 0) throw Error("field " + name + ": not aligned");
  return place;
}

const float* Tensors::floats(const std::string& name, const std::vector<size_t>& shape) const {
  return finite<float>(name, numbers(name, "F32", 4, shape), shape);
}

const double* Tensors::doubles(const std::string& name, const std::vector<size_t>& shape) const {
  return finite<double>(name, numbers(name, "F64", 8, shape), shape);
}

const int64_t* Tensors::integers(const std::string& name, const std::vector<size_t>& shape) const {
  return reinterpret_cast<const int64_t*>(numbers(name, "I64", 8, shape));
}

}  // namespace caloforge::inside
