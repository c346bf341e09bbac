// Any bytes as the index of a dataset: they are refused, or everything it points to can be read.
// The first two bytes of an input are the size of the .bin file, the rest is the .idx file.
#include <cstdint>
#include <vector>

#include "fuzz/input_file.hpp"
#include "megalith/core/error.hpp"
#include "megalith/data/verify_indexed_dataset.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace megalith;
  if (size < 2) return 0;
  const std::vector<uint8_t> tokens(data[0] | data[1] << 8, 7);
  const std::string index = testing::input_file("data.idx", {data + 2, size - 2});
  testing::input_file("data.bin", tokens);
  const std::string prefix = index.substr(0, index.size() - 4);
  try {
    const IndexedDataset dataset(prefix);
    for (int64_t i = 0; i < dataset.num_sequences(); ++i) {
      try {
        dataset.read(i);
        dataset.document_of_sequence(i);
      } catch (const UsageError&) {  // points outside the .bin file
      }
    }
    verify_indexed_dataset(prefix);
  } catch (const UsageError&) {  // refused, which is the point
  }
  return 0;
}
