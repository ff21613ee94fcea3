// Plain assertions that stay in every build.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#define EXPECT(true_of_it)                                                          \
  do {                                                                              \
    if (!(true_of_it)) {                                                            \
      std::fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #true_of_it); \
      std::exit(1);                                                                 \
    }                                                                               \
  } while (false)

// What work throws, as one line, or nothing.
template <typename Work>
std::string error_of(Work work) {
  try {
    work();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}
