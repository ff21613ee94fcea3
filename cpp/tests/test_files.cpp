// What is no whole and sound file is refused in a line, and what is not refused makes no memory error.
#include <caloforge/caloforge.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "expect.h"
#include "sample_file.h"

namespace {

// Open a file; a refusal is one line that begins with its name. Returns the rest of it.
std::string refusal(const std::string& path) {
  caloforge_model* model = caloforge_open(path.c_str());
  if (model != nullptr) {
    caloforge_sampler* sampler = caloforge_sampler_new(model);
    caloforge_description told;
    EXPECT(caloforge_describe(model, &told) == CALOFORGE_OK);
    const caloforge_primary primaries[2] = {{1e5F, 1.5F, 0.5F, 1, 1, 11}, {4e5F, 1.6F, 1, -2, 2, -11}};
    caloforge_hits hits;
    if (caloforge_sample(sampler, primaries, 2, 1, 0, CALOFORGE_EXTRAPOLATE, &hits) == CALOFORGE_OK)
      for (size_t i = 0; i < hits.first[2]; ++i) {
        EXPECT(std::isfinite(hits.energy_MeV[i]));
        EXPECT(hits.cell[i] < told.shape[0] * told.shape[1] * told.shape[2]);
      }
    char report[100];
    caloforge_check(model, report, sizeof report);
    caloforge_sampler_free(sampler);
    caloforge_close(model);
    return "";
  }
  const std::string line = caloforge_last_error();
  EXPECT(line.rfind(path + ": ", 0) == 0);
  EXPECT(line.find('\n') == std::string::npos);
  return line.substr(path.size() + 2);
}

std::string refusal_of(const std::string& bytes) {
  const std::string path = temporary("changed.caloforge");
  write_bytes(path, bytes);
  return refusal(path);
}

template <typename Change>
std::string refusal_after(Change change) {
  SampleFile file = sample_file(true);
  change(file);
  return refusal_of(file.bytes());
}

void no_file() {
  EXPECT(refusal(temporary("none")) == "No such file or directory");
  EXPECT(refusal("/tmp") == "expected a regular file");
  EXPECT(refusal_of("") == "the file is empty");
  EXPECT(refusal_of("short") == "not a whole safetensors file");
  EXPECT(refusal_of(std::string(8, '\xff') + "{}") == "not a whole safetensors file");
  EXPECT(caloforge_open(nullptr) == nullptr);
}

void damage(const std::string& whole) {
  EXPECT(refusal_of(whole).empty());
  for (size_t size = 0; size < whole.size(); size += 1 + whole.size() / 100) EXPECT(!refusal_of(whole.substr(0, size)).empty());
  EXPECT(!refusal_of(whole + "x").empty());
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    std::string flipped = whole;
    flipped[random() % (i % 2 == 0 ? whole.size() : 4000)] ^= char(1 << random() % 8);
    EXPECT(!refusal_of(flipped).empty());
  }
}

// With the right checksum, so that what reads the header and the numbers sees the change.
void forgeries(const std::string& whole, int count) {
  std::mt19937 random(2);
  const size_t header = 8 + static_cast<size_t>(*reinterpret_cast<const uint64_t*>(whole.data()));
  for (int i = 0; i < count; ++i) {
    std::string forged = whole;
    const int changes = 1 + int(random() % 3);
    for (int k = 0; k < changes; ++k) {
      const size_t place = 8 + random() % ((i % 3 == 0 ? whole.size() : header) - 8);
      if (i % 3 == 1)
        forged[place] = "0123456789[]{}\",:\\ "[random() % 19];
      else
        forged[place] = char(random());
    }
    refusal_of(with_checksum(forged));
  }
}

void wrong_fields() {
  for (const auto& tensor : sample_file(true).tensors) {
    const std::string& name = tensor.first;
    const std::string missing = refusal_after([&](SampleFile& file) { file.tensors.erase(name); });
    const bool needed = name != "range.impact_mm" && name != "positions.across";
    EXPECT(missing == (needed ? "field " + name + " is missing" : ""));
    EXPECT(refusal_after([&](SampleFile& file) { file.tensors[name].shape.push_back(1); }).rfind("field ", 0) == 0);
    EXPECT(refusal_after([&](SampleFile& file) { file.tensors[name].bytes.pop_back(); }).rfind("field ", 0) == 0);
    EXPECT(refusal_after([&](SampleFile& file) { file.tensors[name].shape[0] = 0; }).rfind("field ", 0) == 0);
    EXPECT(refusal_after([&](SampleFile& file) { file.tensors[name].shape[0] = size_t(1) << 62; }).rfind("field ", 0) == 0);
    if (tensor.second.type != "F32") continue;
    const float none = std::numeric_limits<float>::quiet_NaN();
    const std::string found =
        refusal_after([&](SampleFile& file) { std::memcpy(file.tensors[name].bytes.data(), &none, 4); });
    EXPECT(found == "field " + name + ": expected finite numbers");
  }
  EXPECT(refusal_after([](SampleFile& file) { file.texts["format"] = "other"; }) ==
         "field format: expected caloforge-native, version 1");
  EXPECT(refusal_after([](SampleFile& file) { file.integers("shape", {3}, {-7, 6, 4}); }) ==
         "field shape: expected numbers of cells");
  EXPECT(refusal_after([](SampleFile& file) { file.integers("shape", {3}, {1 << 22, 1 << 22, 4}); }) ==
         "field shape: expected fewer cells");
  EXPECT(refusal_after([](SampleFile& file) { file.tensors["products"].bytes[0] = 99; }) ==
         "field products: expected numbers of polynomials");
  EXPECT(refusal_after([](SampleFile& file) { file.floats("scale.step", {2}, {0.1F, 0}); }) ==
         "field scale.step: expected positive numbers");
  EXPECT(refusal_after([](SampleFile& file) {
           float* records = reinterpret_cast<float*>(file.tensors["cells.records"].bytes.data());
           records[2 * 9 + 3] = 2;
         }) == "field cells.records: expected the number of a scale");
}

}  // namespace

int main() {
  const char* asked = std::getenv("CALOFORGE_FORGERIES");
  const int forged = asked == nullptr ? 100 : std::atoi(asked);
  no_file();
  for (bool tilted : {false, true}) {
    const std::string whole = sample_file(tilted).bytes();
    damage(whole);
    forgeries(whole, forged);
  }
  wrong_fields();
}
