#include "mapped_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

namespace caloforge::inside {

MappedFile::MappedFile(const std::string& path) {
  // A pipe would block; nothing is read from what is no file.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) throw Error(std::strerror(errno));
  struct stat found;
  const bool told = fstat(file, &found) == 0 && S_ISREG(found.st_mode);
  void* data = MAP_FAILED;
  if (told && found.st_size > 0) {
    size_ = static_cast<size_t>(found.st_size);
    data = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
  }
  close(file);
  if (!told) throw Error("expected a regular file");
  if (found.st_size == 0) throw Error("the file is empty");
  if (data == MAP_FAILED) throw Error("cannot be mapped into memory");
  data_ = static_cast<const uint8_t*>(data);
}

MappedFile::~MappedFile() { munmap(const_cast<uint8_t*>(data_), size_); }

}  // namespace caloforge::inside
