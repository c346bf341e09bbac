// Any bytes as a safetensors file: they are refused, or every byte of every tensor can be read.
#include <cstdint>

#include "fuzz/input_file.hpp"
#include "megalith/checkpoint/safetensors.hpp"
#include "megalith/core/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace megalith;
  const std::string path = testing::input_file("model.safetensors", {data, size});
  try {
    const SafetensorsFile file(path);
    unsigned sum = 0;
    for (const auto& entry : file.entries()) {
      for (const std::byte byte : file.bytes(entry)) sum += std::to_integer<unsigned>(byte);
      const at::Tensor tensor = file.tensor(entry.name);
      if (static_cast<size_t>(tensor.nbytes()) != file.bytes(entry).size()) __builtin_trap();
    }
    [[maybe_unused]] const volatile unsigned read = sum;
  } catch (const UsageError&) {  // refused, which is the point
  }
  return 0;
}
