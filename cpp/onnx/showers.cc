// Showers from an exported model in ONNX Runtime: the exports `onnx`, `par04`, and `ddml` where it is ONNX.
//
//   g++ -std=c++17 -O2 showers.cc -I/usr/include/onnxruntime -lonnxruntime -o showers
//   ./showers FILE.onnx                      checks the file by its golden showers
//   ./showers FILE.onnx N ENERGY_GEV SEED    then makes N showers, and prints deposit (MeV) and hits of each
//
// A row of each input is standard normal numbers, then what is given; the file's metadata say what the golden showers
// were given. So the same few lines serve all forms.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <onnxruntime_cxx_api.h>

using Numbers = std::vector<double>;

// Philox2x32-10 (J. K. Salmon et al., SC'11), as src/caloforge/export/counter_noise.py has it. Put your own engine here.
static void philox(uint32_t& first, uint32_t& second, uint32_t key) {
  for (int round = 0; round < 10; ++round, key += 0x9E3779B9u) {
    const uint64_t product = uint64_t{0xD256D193u} * first;
    first = uint32_t(product >> 32) ^ key ^ second;
    second = uint32_t(product);
  }
}

static float normal(uint32_t index, uint32_t shower, uint32_t key) {
  uint32_t first = index / 2, second = shower;
  philox(first, second, key);
  const float radius = std::sqrt(-2 * std::log((float(first) + 1) * 0x1p-32f));
  const float angle = float(second) * float(M_PI * 0x1p-31);
  return radius * (index % 2 ? std::sin(angle) : std::cos(angle));
}

class File {
 public:
  explicit File(const char* path) : session_(env_, path, Ort::SessionOptions{}) {
    Ort::AllocatorWithDefaultOptions memory;
    const Ort::ModelMetadata metadata = session_.GetModelMetadata();
    for (const auto& key : metadata.GetCustomMetadataMapKeysAllocated(memory))
      note_[key.get()] = metadata.LookupCustomMetadataMapAllocated(key.get(), memory).get();
    for (size_t i = 0; i < session_.GetInputCount(); ++i)
      inputs_.emplace_back(session_.GetInputNameAllocated(i, memory).get());
    output_ = session_.GetOutputNameAllocated(0, memory).get();
  }

  Numbers numbers(const std::string& name) const {
    Numbers found;
    std::istringstream text(note_.count(name) ? note_.at(name) : "");
    for (double value; text >> value;) found.push_back(value);
    return found;
  }

  // Computes one shower: noise of a key and a number, and what is given; energies replace those given, if not zero.
  std::vector<float> shower(uint32_t number, uint32_t key, size_t golden, double energy_MeV) {
    const auto on_cpu = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::vector<std::vector<float>> rows(inputs_.size());
    std::vector<int64_t> pdg;
    std::vector<const char*> names;
    std::vector<Ort::Value> values;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const Ort::TypeInfo type = session_.GetInputTypeInfo(i);
      std::vector<int64_t> shape = type.GetTensorTypeAndShapeInfo().GetShape();
      shape[0] = 1;
      const size_t width = shape.size() > 1 ? size_t(shape[1]) : 1;
      const Numbers all = numbers("golden_" + inputs_[i]);
      const size_t told = all.size() / numbers("golden_deposit_MeV").size();
      Numbers given(all.begin() + golden * told, all.begin() + (golden + 1) * told);
      if (energy_MeV > 0 && inputs_[i] == "energy_MeV") given[0] = energy_MeV;
      if (energy_MeV > 0 && inputs_[i] == "noise_and_conditions") given[0] = energy_MeV / 1024000;
      for (size_t k = 0; k + told < width; ++k) rows[i].push_back(normal(uint32_t(k), number, key));
      rows[i].insert(rows[i].end(), given.begin(), given.end());
      names.push_back(inputs_[i].c_str());
      if (inputs_[i] == "pdg_id") {
        pdg.assign(given.begin(), given.end());
        values.push_back(Ort::Value::CreateTensor(on_cpu, pdg.data(), 1, shape.data(), shape.size()));
      } else {
        values.push_back(Ort::Value::CreateTensor(on_cpu, rows[i].data(), width, shape.data(), shape.size()));
      }
    }
    const char* output = output_.c_str();
    const auto made = session_.Run({}, names.data(), values.data(), values.size(), &output, 1);
    const float* cells = made[0].GetTensorData<float>();
    std::vector<float> deposits(cells, cells + made[0].GetTensorTypeAndShapeInfo().GetElementCount());
    if (output_ == "deposits_over_incident_energy")
      for (float& deposit : deposits) deposit *= rows[0][rows[0].size() - 4] * 1024000;
    return deposits;
  }

 private:
  Ort::Env env_;
  Ort::Session session_;
  std::map<std::string, std::string> note_;
  std::vector<std::string> inputs_;
  std::string output_;
};

static std::pair<double, int> total(const std::vector<float>& deposits) {
  std::pair<double, int> found{0, 0};
  for (float deposit : deposits) found.first += deposit, found.second += deposit > 0;
  return found;
}

int main(int argc, char** argv) try {
  if (argc != 2 && argc != 5) throw std::runtime_error("expected FILE.onnx [N ENERGY_GEV SEED]");
  File file(argv[1]);
  const Numbers golden = file.numbers("golden_deposit_MeV"), within = file.numbers("golden_within");
  if (golden.empty() || within.empty()) throw std::runtime_error("expected a file of caloforge export");
  const auto key = uint32_t(file.numbers("golden_key").at(0));
  for (size_t i = 0; i < golden.size(); ++i) {
    const double found = total(file.shower(uint32_t(i), key, i, 0)).first;
    if (!(std::abs(found - golden[i]) <= within[0] * golden[i]))
      throw std::runtime_error("golden shower " + std::to_string(i) + ": " + std::to_string(found) + " MeV, expected " +
                               std::to_string(golden[i]));
  }
  std::cerr << golden.size() << " golden showers agree\n";
  for (int i = 0; argc == 5 && i < std::atoi(argv[2]); ++i) {
    const auto [deposit, hits] =
        total(file.shower(uint32_t(i), uint32_t(std::strtoul(argv[4], nullptr, 10)), 0, 1000 * std::atof(argv[3])));
    std::cout << deposit << " " << hits << "\n";
  }
} catch (const std::exception& error) {
  std::cerr << "showers: " << error.what() << "\n";
  return 1;
}
