#include "sample_file.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>

#include "expect.h"
#include "sha256.h"

namespace {

template <typename Number>
void put(SampleFile& file, const char* type, const std::string& name, const std::vector<size_t>& shape,
         const std::vector<Number>& numbers) {
  std::vector<uint8_t> bytes(numbers.size() * sizeof(Number));
  if (!bytes.empty()) std::memcpy(bytes.data(), numbers.data(), bytes.size());
  file.tensors[name] = SampleTensor{type, shape, bytes};
}

constexpr char kSum[] = "\"sha256\":\"";

}  // namespace

void SampleFile::floats(const std::string& name, const std::vector<size_t>& shape, const std::vector<float>& numbers) {
  put(*this, "F32", name, shape, numbers);
}
void SampleFile::doubles(const std::string& name, const std::vector<size_t>& shape, const std::vector<double>& numbers) {
  put(*this, "F64", name, shape, numbers);
}
void SampleFile::integers(const std::string& name, const std::vector<size_t>& shape,
                          const std::vector<int64_t>& numbers) {
  put(*this, "I64", name, shape, numbers);
}

std::string SampleFile::bytes() const {
  std::string header = "{\"__metadata__\":{", data;
  for (const auto& [name, text] : texts) header += "\"" + name + "\":\"" + text + "\",";
  header += kSum + std::string(64, '0') + "\"}";
  for (const char* type : {"F64", "I64", "F32"})  // where each may begin
    for (const auto& [name, tensor] : tensors) {
      if (tensor.type != type) continue;
      header += ",\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":[";
      for (size_t i = 0; i < tensor.shape.size(); ++i) header += (i > 0 ? "," : "") + std::to_string(tensor.shape[i]);
      header += "],\"data_offsets\":[" + std::to_string(data.size()) + ",";
      data.append(tensor.bytes.begin(), tensor.bytes.end());
      header += std::to_string(data.size()) + "]}";
    }
  header += "}";
  header += std::string((64 - (8 + header.size()) % 64) % 64, ' ');
  const uint64_t size = header.size();
  return with_checksum(std::string(reinterpret_cast<const char*>(&size), 8) + header + data);
}

std::string with_checksum(std::string bytes) {
  const size_t place = bytes.find(kSum);
  if (place == std::string::npos || place + sizeof kSum - 1 + 64 > bytes.size()) return bytes;
  const size_t digits = place + sizeof kSum - 1;
  bytes.replace(digits, 64, std::string(64, '0'));
  caloforge::inside::Sha256 sum;
  sum.add(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return bytes.replace(digits, 64, sum.hex());
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  EXPECT(file.good());
}

void SampleFile::write(const std::string& path) const { write_bytes(path, bytes()); }

std::string temporary(const std::string& name) {
  static const std::string folder = [] {
    char made[] = "/tmp/caloforge-XXXXXX";
    EXPECT(mkdtemp(made) != nullptr);
    return std::string(made);
  }();
  return folder + "/" + name;
}

SampleFile sample_file(bool tilted, bool cylindrical) {
  const size_t nx = 7, ny = 6, nz = 4, across = nx * ny, columns = 48, factors = 5, sums = 1 + nz, wide = 16;
  const size_t variables = 4 + 2 * size_t(tilted), monomials = 3 + variables, energies = 6;
  const size_t of_shower = 3 + size_t(tilted), record = (2 * monomials + 4 + 15) / 16 * 16;
  std::mt19937 random(5);
  const auto normal = [&random](size_t count, float mean, float width) {
    std::normal_distribution<float> draw(mean, width);
    std::vector<float> numbers(count);
    for (float& x : numbers) x = draw(random);
    return numbers;
  };
  SampleFile file;
  file.texts = {{"format", "caloforge-native"}, {"version", "1"}, {"name", "sample"}, {"detector", "small"}, {"card", "{}"}};
  file.integers("shape", {3}, {int64_t(nx), int64_t(ny), int64_t(nz)});
  file.integers("cylindrical", {1}, {cylindrical});
  file.integers("follows", {6}, {tilted, !cylindrical, 0, 1, !cylindrical, cylindrical});
  file.floats("cell_size_mm", {2}, {5, 4});
  file.floats("depth_mm", {nz}, {2, 6, 10, 14});
  file.floats("offset_spread", {1}, {0.29F});
  file.floats("slope_spread", {1}, {0.3F});
  file.floats("log_energy", {2}, {11, 1});
  file.floats("energies", {energies}, {-2, -1.2F, -0.4F, 0.4F, 1.2F, 2});
  file.floats("most_per_energy", {1}, {1});
  file.floats("threshold_MeV", {1}, {0.01F});
  std::vector<int64_t> products(2 * monomials, 0);
  for (size_t f = 1; f < monomials; ++f) products[f] = int64_t(1 + (f - 1) % (3 * variables));
  file.integers("products", {2, monomials}, products);
  std::vector<float> below = normal(nz * monomials * columns, 0, 0.2F);
  for (size_t z = 0; z < nz; ++z)
    for (size_t o = 0; o < columns; ++o)
      below[z * monomials * columns + o] = o < across ? 1.0F - 0.1F * float(o % 40) : -1e4F;
  file.floats("cells.below", {nz, monomials, columns}, below);
  file.floats("cells.loadings", {nz, factors, columns}, normal(nz * factors * columns, 0, 0.2F));
  file.floats("cells.amplitude", {energies, nz, columns}, normal(energies * nz * columns, 1, 0.1F));
  std::vector<float> own = normal(energies * nz * columns, 0.9F, 0.02F);
  for (size_t i = 0; i < own.size(); ++i) own[i] = i % columns < across ? own[i] : 0;
  file.floats("cells.own", {energies, nz, columns}, own);
  file.floats("cells.share", {nz, columns}, std::vector<float>(nz * columns, 0.1F));
  std::vector<float> records = normal(nz * across * record, 0, 0.1F);
  for (size_t c = 0; c < nz * across; ++c) {
    float* shapes = records.data() + c * record + 2 * monomials;
    shapes[0] = 0.1F;
    shapes[1] = 1;
    shapes[2] = 8;
    shapes[3] = c % 7 == 0 ? 1 : 0;
  }
  file.floats("cells.records", {nz, across, record}, records);
  file.floats("scale.lowest", {1}, {-7});
  file.floats("scale.step", {2}, {0.1F, 0.1F});
  std::vector<float> values;
  for (int s = 0; s < 2; ++s)
    for (int i = 0; i < 160; ++i) values.push_back(-7 + 0.1F * float(i));
  file.floats("scale.values", {2, 160}, values);
  file.floats("sums.loadings", {energies, factors, wide}, normal(energies * factors * wide, 0, 0.2F));
  file.floats("sums.rest", {energies, sums, wide}, normal(energies * sums * wide, 0, 0.3F));
  std::vector<float> location(monomials * wide, 0);
  for (size_t m = 0; m < wide; ++m) location[m] = m == 0 ? -4.0F : -1.4F;
  file.floats("sums.location", {monomials, wide}, location);
  file.floats("sums.log_width", {monomials, wide}, std::vector<float>(monomials * wide, -0.5F));
  file.floats("sums.skew", {of_shower, wide}, std::vector<float>(of_shower * wide, 0));
  file.floats("sums.largest", {wide}, std::vector<float>(wide, 0));
  file.floats("sums.many_hits", {1}, {8});
  file.floats("sums.log_tail", {of_shower, wide}, std::vector<float>(of_shower * wide, 0));
  file.doubles("range.energy_MeV", {2}, {1e4, 5e5});
  file.doubles("range.possible_energy_MeV", {2}, {1, 1e9});
  file.doubles("range.theta_rad", {2}, {tilted ? 1.2 : 1.5707963, tilted ? 1.9 : 1.5707964});
  file.doubles("range.phi_rad", {2}, {-3.2, 3.2});
  file.doubles("range.impact_mm", {2, 2}, {-2.5, 2.5, -2, 2});
  file.integers("range.pdg_ids", {2}, {-11, 11});
  std::vector<float> positions(2 * across);
  for (size_t o = 0; o < across; ++o) {
    positions[o] = 5 * (float(o / ny) - 3);
    positions[across + o] = 4 * (float(o % ny) - 3);
  }
  file.floats("positions.across", {2, across}, positions);
  file.floats("positions.depth", {nz}, {2, 6, 10, 14});
  return file;
}
