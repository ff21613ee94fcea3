// caloforge-check FILE...: are the showers that are made here those that the files say?
#include <caloforge/caloforge.h>

#include <cstdio>
#include <cstring>

int main(int count, char** arguments) {
  if (count < 2 || std::strcmp(arguments[1], "--help") == 0) {
    std::fprintf(count < 2 ? stderr : stdout, "usage: caloforge-check FILE...\n");
    return count < 2 ? 2 : 0;
  }
  int status = 0;
  for (int i = 1; i < count; ++i) {
    caloforge_model* model = caloforge_open(arguments[i]);
    char report[400];
    if (model == nullptr) {
      std::fprintf(stderr, "%s\n", caloforge_last_error());
      status = 1;
    } else if (caloforge_check(model, report, sizeof report) != CALOFORGE_OK) {
      std::fprintf(stderr, "%s: %s\n", arguments[i], report);
      status = 1;
    } else {
      std::printf("%s: %s\n", arguments[i], report);
    }
    caloforge_close(model);
  }
  return status;
}
