// Any bytes as a file of torch.save: refused with a UsageError or read, never worse. Seeds:
// tests/fuzz/seeds/pickle, cut from the files of tests/oracles/upstream_checkpoints.py.
#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "megalith/checkpoint/torch_file.hpp"
#include "megalith/core/error.hpp"

namespace {

/// The bytes as a file that only this process sees.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::write(fd_, data, size) != static_cast<ssize_t>(size)) std::abort();
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

/// Reads what a pickle says is there.
void read_all(const megalith::TorchFile& file) {
  const auto& pickle = file.pickle();
  for (const auto* key : {"args", "iteration", "model", "checkpoint_version"}) {
    pickle.find(pickle.root(), key);
  }
  for (const auto& tensor : pickle.tensors()) {
    if (!file.mistake(tensor)) file.tensor(tensor).to(at::kFloat).sum();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    // The pickle alone, which a container's checksum would keep most mutations from.
    const megalith::Pickle pickle("fuzz", std::as_bytes(std::span(data, size)));
    megalith::shown(pickle.root().text);
  } catch (const megalith::UsageError&) {
  }
  try {
    const MemoryFile memory(data, size);
    read_all(megalith::TorchFile(memory.path()));
  } catch (const megalith::UsageError&) {
  }
  return 0;
}
