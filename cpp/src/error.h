// What a caller is told: one line.
#pragma once

#include <stdexcept>
#include <string>

namespace caloforge::inside {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace caloforge::inside
