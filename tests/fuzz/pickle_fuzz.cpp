// Any bytes as a file of torch.save: refused with a UsageError or read, never worse. The seeds with
// a name that ends in .pt or .pkl are cut from files of tests/oracles/upstream_checkpoints.py.
#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "fuzz/input_file.hpp"
#include "megalith/checkpoint/torch_file.hpp"
#include "megalith/core/error.hpp"

namespace {

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
    read_all(megalith::TorchFile(megalith::testing::input_file("model.pt", {data, size})));
  } catch (const megalith::UsageError&) {
  }
  return 0;
}
