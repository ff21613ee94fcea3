#include <caloforge/caloforge.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "check.h"
#include "error.h"
#include "sampler.h"

struct caloforge_model {
  explicit caloforge_model(const std::string& path) : model(path) {}
  caloforge::inside::Model model;
};

struct caloforge_sampler {
  explicit caloforge_sampler(const caloforge::inside::Model& model) : sampler(model, caloforge::inside::kernels()) {}
  caloforge::inside::Sampler sampler;
};

namespace {

thread_local char last_error[512] = "";

void keep(const std::string& before, const char* error) {
  std::snprintf(last_error, sizeof last_error, "%s%s", before.c_str(), error);
  for (char* c = last_error; *c != '\0'; ++c)
    if (static_cast<unsigned char>(*c) < 0x20) *c = ' ';
}

// Nothing is thrown through a C interface.
template <typename Work>
int guarded(const char* before, Work work) noexcept {
  try {
    work();
    return CALOFORGE_OK;
  } catch (const std::bad_alloc&) {
    keep(before, "not enough memory");
  } catch (const std::exception& error) {
    keep(before, error.what());
  }
  return CALOFORGE_ERROR;
}

void require(bool there) {
  if (!there) throw caloforge::inside::Error("expected no null pointer");
}

}  // namespace

extern "C" {

int caloforge_version(void) { return CALOFORGE_VERSION; }

const char* caloforge_last_error(void) { return last_error; }

caloforge_model* caloforge_open(const char* path) {
  caloforge_model* model = nullptr;
  const std::string about = path == nullptr ? std::string() : std::string(path) + ": ";
  guarded(about.c_str(), [&] {
    require(path != nullptr);
    model = new caloforge_model(path);
  });
  return model;
}

void caloforge_close(caloforge_model* model) { delete model; }

int caloforge_describe(const caloforge_model* opened, caloforge_description* out) {
  return guarded("", [&] {
    require(opened != nullptr && out != nullptr);
    const caloforge::inside::Model& m = opened->model;
    const caloforge::inside::Domain& d = m.domain;
    *out = caloforge_description{m.tensors.text("name").c_str(), m.tensors.text("detector").c_str(),
                                 m.tensors.text("card").c_str(), caloforge::inside::kernels().name,
                                 {uint32_t(m.nx), uint32_t(m.ny), uint32_t(m.nz)},
                                 m.cylindrical, m.tilted, m.follows_impact, m.particles, m.has_positions,
                                 m.threshold_MeV,
                                 {d.energy_MeV.low, d.energy_MeV.high}, {d.theta_rad.low, d.theta_rad.high},
                                 {d.phi_rad.low, d.phi_rad.high}, {d.x_mm.low, d.x_mm.high},
                                 {d.y_mm.low, d.y_mm.high}, d.particles, d.pdg_ids, m.noise_size};
  });
}

int caloforge_position(const caloforge_model* opened, uint32_t cell, float xyz_mm[3]) {
  return guarded("", [&] {
    require(opened != nullptr && xyz_mm != nullptr);
    const caloforge::inside::Model& m = opened->model;
    if (!m.has_positions) throw caloforge::inside::Error("the detector does not know where its cells lie");
    if (cell >= m.across * m.nz) throw caloforge::inside::Error("cell " + std::to_string(cell) + ": there is none");
    xyz_mm[0] = m.x_mm[cell / m.nz];
    xyz_mm[1] = m.y_mm[cell / m.nz];
    xyz_mm[2] = m.z_mm[cell % m.nz];
  });
}

caloforge_sampler* caloforge_sampler_new(const caloforge_model* model) {
  caloforge_sampler* sampler = nullptr;
  guarded("", [&] {
    require(model != nullptr);
    sampler = new caloforge_sampler(model->model);
  });
  return sampler;
}

void caloforge_sampler_free(caloforge_sampler* sampler) { delete sampler; }

int caloforge_sample(caloforge_sampler* sampler, const caloforge_primary* primaries, size_t count, uint64_t seed,
                     uint64_t first, unsigned flags, caloforge_hits* out) {
  return guarded("", [&] {
    require(sampler != nullptr && (primaries != nullptr || count == 0) && out != nullptr);
    *out = sampler->sampler.of_seed(primaries, count, seed, first, (flags & CALOFORGE_EXTRAPOLATE) != 0);
  });
}

int caloforge_sample_engine(caloforge_sampler* sampler, const caloforge_primary* primaries, size_t count,
                            caloforge_engine engine, unsigned flags, caloforge_hits* out) {
  return guarded("", [&] {
    require(sampler != nullptr && (primaries != nullptr || count == 0) && engine.fill != nullptr && out != nullptr);
    *out = sampler->sampler.of_engine(primaries, count, engine, (flags & CALOFORGE_EXTRAPOLATE) != 0);
  });
}

int caloforge_sample_noise(caloforge_sampler* sampler, const caloforge_primary* primaries, size_t count,
                           const float* noise, unsigned flags, caloforge_hits* out) {
  return guarded("", [&] {
    require(sampler != nullptr && (count == 0 || (primaries != nullptr && noise != nullptr)) && out != nullptr);
    *out = sampler->sampler.of_noise(primaries, count, noise, (flags & CALOFORGE_EXTRAPOLATE) != 0);
  });
}

int caloforge_images(const caloforge_hits* hits, size_t cells, float* images) {
  return guarded("", [&] {
    require(hits != nullptr && images != nullptr);
    std::memset(images, 0, hits->showers * cells * sizeof *images);
    for (size_t shower = 0; shower < hits->showers; ++shower)
      for (size_t i = hits->first[shower]; i < hits->first[shower + 1]; ++i) {
        if (hits->cell[i] >= cells) throw caloforge::inside::Error("expected images of all cells");
        images[shower * cells + hits->cell[i]] = hits->energy_MeV[i];
      }
  });
}

int caloforge_check(const caloforge_model* model, char* report, size_t size) {
  int same = CALOFORGE_ERROR;
  const int done = guarded("", [&] {
    require(model != nullptr && (report != nullptr || size == 0));
    const caloforge::inside::Verdict verdict = caloforge::inside::check_golden(model->model, caloforge::inside::kernels());
    std::snprintf(report, size, "%s", verdict.line.c_str());
    if (!verdict.same) throw caloforge::inside::Error(verdict.line);
    same = CALOFORGE_OK;
  });
  if (done != CALOFORGE_OK && report != nullptr) std::snprintf(report, size, "%s", last_error);
  return same;
}

}  // extern "C"
