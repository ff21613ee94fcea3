#include "conditions.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "error.h"

namespace caloforge::inside {
namespace {

constexpr float kBend = 3.0F;        // powers of a variable stay what they are beyond
constexpr double kRoom = 0.05;       // so far (relative) outside is still taken for inside
constexpr double kDegree = 0.017453292519943295, kPi = 3.141592653589793;
constexpr int32_t kPhoton = 22;
constexpr size_t kMostVariables = 16;

std::string span(Range range, const char* unit) {
  char text[80];
  std::snprintf(text, sizeof text, "%.5g to %.5g %s", range.low, range.high, unit);
  return text;
}

[[noreturn]] void refuse(size_t number, const char* what, double found, const std::string& expected) {
  char text[60];
  std::snprintf(text, sizeof text, ": %s: got %.6g, expected ", what, found);
  throw Error("shower " + std::to_string(number) + text + expected);
}

bool within(double x, Range range, double room) { return x >= range.low - room && x <= range.high + room; }

// An azimuth is the same after whole turns.
bool within_turns(double phi, Range range, double room) {
  if (range.high - range.low > 2 * kPi - 10 * kDegree) return true;
  const double turn = 2 * kPi, turned = phi + std::ceil((range.low - room - phi) / turn) * turn;
  return within(turned, range, room);
}

// The sector of a cylinder in which a shower begins, each as likely as the others.
int32_t drawn_sector(const Model& model, float normal) {
  const double share = 0.5 * std::erfc(-double(normal) / std::sqrt(2.0));
  return static_cast<int32_t>(std::min(share * double(model.ny), double(model.ny - 1)));
}

}  // namespace

bool check_primary(const Model& model, const caloforge_primary& primary, size_t number, bool extrapolate) {
  const Domain& known = model.domain;
  const Range angles{0, kPi};
  if (!within(primary.energy_MeV, known.possible_energy_MeV, 0))
    refuse(number, "energy", primary.energy_MeV, span(known.possible_energy_MeV, "MeV"));
  if (!(primary.theta_rad > 0 && primary.theta_rad < kPi)) refuse(number, "theta", primary.theta_rad, span(angles, "rad"));
  for (float value : {primary.phi_rad, primary.x_mm, primary.y_mm})
    if (!(std::fabs(value) < 1e6F)) refuse(number, "phi or impact point", value, "a number below 1e6");
  if (std::find(known.pdg_ids, known.pdg_ids + known.particles, primary.pdg_id) == known.pdg_ids + known.particles)
    refuse(number, "particle", primary.pdg_id, "one of the training");
  const bool normal = std::fabs(primary.theta_rad - kPi / 2) < kDegree / 2;
  const bool energy = primary.energy_MeV >= known.energy_MeV.low * (1 - kRoom) &&
                      primary.energy_MeV <= known.energy_MeV.high * (1 + kRoom);
  const bool theta = within(primary.theta_rad, known.theta_rad, kDegree);
  const bool phi = normal || within_turns(primary.phi_rad, known.phi_rad, kDegree);
  const auto near = [](float at, Range range) { return within(at, range, kRoom * (range.high - range.low)); };
  const bool impact =
      !model.follows_impact || !known.has_impact || (near(primary.x_mm, known.x_mm) && near(primary.y_mm, known.y_mm));
  if (!theta && !(extrapolate && model.tilted)) refuse(number, "theta", primary.theta_rad, span(known.theta_rad, "rad"));
  if (!phi && !(extrapolate && model.tilted)) refuse(number, "phi", primary.phi_rad, span(known.phi_rad, "rad"));
  if (!extrapolate && !energy) refuse(number, "energy", primary.energy_MeV, span(known.energy_MeV, "MeV"));
  if (!extrapolate && !impact)
    refuse(number, "impact point", near(primary.x_mm, known.x_mm) ? primary.y_mm : primary.x_mm,
           span(near(primary.x_mm, known.x_mm) ? known.y_mm : known.x_mm, "mm"));
  return energy && theta && phi && impact;
}

void work_out(const Model& model, const caloforge_primary& primary, const float* noise, Conditions& out) {
  const float depth = noise[model.factors + model.sums];
  const float energy = (std::log(primary.energy_MeV) - model.log_energy[0]) / model.log_energy[1];
  const float photon = primary.pdg_id == kPhoton ? 1.0F : -1.0F;
  float slope[2] = {0, 0};
  if (model.tilted) {
    const float steep = std::tan(primary.theta_rad);
    slope[0] = std::cos(primary.phi_rad) / steep;
    slope[1] = std::sin(primary.phi_rad) / steep;
  }
  const float slopes[2] = {slope[0] / model.slope_spread, slope[1] / model.slope_spread};

  // In the order of the monomials' pairs: energy, offsets, depth, slopes, particle.
  float variables[kMostVariables] = {energy, 0, 0, depth};
  size_t count = 4;
  if (model.tilted) {
    variables[count++] = slopes[0];
    variables[count++] = slopes[1];
  }
  if (model.particles) variables[count++] = photon;

  const bool aimed = model.follows_impact;
  const float impact[2] = {aimed ? primary.x_mm : 0, aimed ? primary.y_mm : 0};
  const int32_t sector = model.turned ? drawn_sector(model, noise[model.factors + model.sums + 1]) : 0;
  for (size_t z = 0; z < model.nz; ++z) {
    int32_t* moved[2] = {out.cell_x + z, out.cell_y + z};
    for (int axis = 0; axis < 2; ++axis) {
      float at = 0;
      if (model.has_sizes) at = (impact[axis] + slope[axis] * model.depth_mm[z]) / model.cell_size_mm[axis];
      // Farther than any grid it is all the same.
      const float cell = model.moves ? std::nearbyint(std::min(std::max(at, -1e8F), 1e8F)) : 0.0F;
      *moved[axis] = static_cast<int32_t>(cell);
      variables[1 + axis] = (at - cell) / model.offset_spread;
    }
    if (model.turned) out.cell_y[z] = sector;
    if (z > 0 && !model.tilted) continue;  // the same in every layer
    float polynomials[1 + 3 * kMostVariables];
    polynomials[0] = 1;
    for (size_t v = 0; v < count; ++v) {
      const float bent = std::min(std::max(variables[v], -kBend), kBend), second = bent * bent - 1;
      polynomials[1 + v] = variables[v];
      polynomials[1 + count + v] = second;
      polynomials[1 + 2 * count + v] = bent * (second - 0.8F);
    }
    float* monomials = out.monomials + z * model.monomials;
    for (size_t f = 0; f < model.monomials; ++f)
      monomials[f] = polynomials[model.products[f]] * polynomials[model.products[model.monomials + f]];
  }

  const float bent = std::min(std::max(energy, -kBend), kBend);
  float* of_shower = out.of_shower;
  *of_shower++ = 1;
  *of_shower++ = energy;
  *of_shower++ = bent * bent - 1;
  if (model.tilted) *of_shower++ = 0.5F * (slopes[0] * slopes[0] + slopes[1] * slopes[1]) - 1;
  if (model.particles) *of_shower++ = photon;

  const float last = float(model.energies - 1), step = model.energies_at[1] - model.energies_at[0];
  const float place = std::min(std::max((energy - model.energies_at[0]) / step, 0.0F), last);
  out.energy = std::min(static_cast<size_t>(place), model.energies - 2);
  out.upper = place - float(out.energy);
  out.lower = 1 - out.upper;
}

}  // namespace caloforge::inside
