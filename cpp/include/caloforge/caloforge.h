/* libcaloforge: showers of a model that `caloforge export --target native` wrote.
 *
 * Units: MeV, mm, rad. The frame is the calorimeter's: z into it, the origin on its face in the middle of the
 * central cell; on a cylinder on its axis. A model may be shared by threads once it is open; a sampler is one
 * thread's. A function that fails returns NULL or CALOFORGE_ERROR, and says why in one line: caloforge_last_error().
 */
#ifndef CALOFORGE_H
#define CALOFORGE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CALOFORGE_API __attribute__((visibility("default")))
#else
#define CALOFORGE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define CALOFORGE_VERSION 1

enum { CALOFORGE_OK = 0, CALOFORGE_ERROR = 1 };

/* Without it conditions outside of the model's training are refused; with it they are counted. */
enum { CALOFORGE_EXTRAPOLATE = 1 };

typedef struct caloforge_model caloforge_model;
typedef struct caloforge_sampler caloforge_sampler;

/* What a shower is given. theta is the angle to the face, pi/2 at normal incidence; phi the azimuth of the
 * direction; x and y the impact point, from the middle of the central cell. What a model does not follow must be
 * as in its training, but an impact point, which changes nothing then. */
typedef struct {
  float energy_MeV, theta_rad, phi_rad, x_mm, y_mm;
  int32_t pdg_id;
} caloforge_primary;

typedef struct {
  const char *name, *detector, *card; /* card: JSON, as model.json */
  const char* kernels;                /* what computes here: baseline, avx2 or avx512 */
  uint32_t shape[3];                  /* cells; the last axis is the depth */
  int cylindrical, follows_angle, follows_impact, follows_particle, has_positions;
  float threshold_MeV; /* a deposit up to it is not read out */
  double energy_MeV[2], theta_rad[2], phi_rad[2], x_mm[2], y_mm[2]; /* of the training */
  size_t particles;
  const int64_t* pdg_ids;
  size_t noise_size; /* standard normal numbers of a shower */
} caloforge_description;

/* Hits of N showers: those of shower i are first[i] to first[i + 1] - 1. A cell is counted as in an array of the
 * model's shape, the last axis fastest. Valid until the sampler is used again or freed. */
typedef struct {
  size_t showers;
  const size_t* first;
  const uint32_t* cell;
  const float* energy_MeV;
  size_t outside; /* showers whose conditions lie outside of the training */
} caloforge_hits;

/* A caller's random numbers: fills so many words with independent, uniform bits. */
typedef struct {
  void (*fill)(void* state, uint64_t* words, size_t count);
  void* state;
} caloforge_engine;

CALOFORGE_API int caloforge_version(void); /* CALOFORGE_VERSION of the library */
CALOFORGE_API caloforge_model* caloforge_open(const char* path);
CALOFORGE_API void caloforge_close(caloforge_model* model); /* after its samplers are freed */
CALOFORGE_API int caloforge_describe(const caloforge_model* model, caloforge_description* out);
CALOFORGE_API int caloforge_position(const caloforge_model* model, uint32_t cell, float xyz_mm[3]);

CALOFORGE_API caloforge_sampler* caloforge_sampler_new(const caloforge_model* model);
CALOFORGE_API void caloforge_sampler_free(caloforge_sampler* sampler);

/* Showers first, first + 1, ... of a seed: the same ones that caloforge in Python makes of it, whatever the count. */
CALOFORGE_API int caloforge_sample(caloforge_sampler* sampler, const caloforge_primary* primaries, size_t count,
                                   uint64_t seed, uint64_t first, unsigned flags, caloforge_hits* out);
CALOFORGE_API int caloforge_sample_engine(caloforge_sampler* sampler, const caloforge_primary* primaries,
                                          size_t count, caloforge_engine engine, unsigned flags,
                                          caloforge_hits* out);
/* From standard normal numbers, noise_size for each shower. */
CALOFORGE_API int caloforge_sample_noise(caloforge_sampler* sampler, const caloforge_primary* primaries,
                                         size_t count, const float* noise, unsigned flags, caloforge_hits* out);

/* Write hits as images of so many cells each, zero where nothing is hit. */
CALOFORGE_API int caloforge_images(const caloforge_hits* hits, size_t cells, float* images);

/* Make the showers that the file says how they must be. Returns CALOFORGE_ERROR where one is another; `report`,
 * of so many bytes, is then or otherwise a line that says what was found. */
CALOFORGE_API int caloforge_check(const caloforge_model* model, char* report, size_t size);

/* Why the last call of this thread failed. */
CALOFORGE_API const char* caloforge_last_error(void);

#ifdef __cplusplus
}
#endif
#endif
