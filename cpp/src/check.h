// Golden showers: what a file says of its own showers, against what is made here.
#pragma once

#include <string>

#include "kernels.h"
#include "model.h"

namespace caloforge::inside {

struct Verdict {
  bool same;
  std::string line;
};

Verdict check_golden(const Model& model, const Kernels& kernels);

}  // namespace caloforge::inside
