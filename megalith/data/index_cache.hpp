// Index arrays kept on disk, under the names that upstream gives them, so that either program finds
// the other's work; and a note of our own beside them, so that nothing stale is ever used.
//
// Upstream's names are the MD5 of a description, which leaves out what the data hold and two
// switches. The note (…-megalith.json) records those and a SHA-256 of every array. Arrays without
// a note that fits, or with other bytes than it says, are not used but built and written again.
// Promise: files appear whole (temporary name, then rename), so builders may run side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "megalith/data/bert_index.hpp"
#include "megalith/data/blending.hpp"
#include "megalith/data/gpt_index.hpp"
#include "megalith/data/split.hpp"

namespace megalith {

inline constexpr const char* kGptClass = "GPTDataset";
inline constexpr const char* kBertClass = "BERTMaskedWordPieceDataset";
inline constexpr const char* kBlendClass = "BlendedDataset";

/// What upstream's description of a dataset holds.
struct DatasetDescription {
  std::string class_name = kGptClass;  // upstream's
  std::string dataset_path = {};       // the prefix as the user wrote it
  std::optional<int64_t> num_samples = {};
  Split split = Split::kTrain;
  int64_t seed = 1234;
  int64_t sequence_length = 0;
  std::optional<std::string> split_text = {};  // nothing where each split has files of its own
  SplitMatrix matrix = {};
  std::string tokenizer_json = "null";  // the tokenizer's block, a JSON object
  std::string more_json = "{}";         // what the class adds at the end, a JSON object
};

/// The text whose MD5 names the files of a dataset: JSON as Python's json.dumps(indent=4).
std::string description_text(const DatasetDescription& description);

/// The same for a blend. `weights` are printed as whole numbers when `size` is nothing.
std::string blend_description_text(const std::vector<DatasetDescription>& children, Split split,
                                   const std::vector<double>& weights, std::optional<int64_t> size);

/// What an array is made from and upstream's key does not say, as a JSON object.
std::string gpt_fingerprint(std::span<const int32_t> lengths, Interval interval,
                            const GptIndexRequest& request);

/// The same for BERT's mapping of a split's documents.
std::string bert_fingerprint(std::span<const int32_t> lengths, DocumentBounds bounds,
                             const BertIndexRequest& request);

class IndexCache {
 public:
  /// `class_name` is upstream's; it leaves the split out of BERT's names.
  IndexCache(std::string folder, const std::string& class_name, std::optional<Split> split,
             std::string description, std::string fingerprint);

  /// FOLDER/MD5-CLASS-SPLIT, to which "-" and the part's name are added.
  const std::string& stem() const { return stem_; }
  std::string path(const std::string& part) const { return stem_ + "-" + part; }

  /// The arrays, mapped, in the order of `parts` ("document_index", …), or nothing; `reason` then
  /// says why for a person, and is empty where there simply is no cache yet.
  std::optional<std::vector<IntegerArray>> load(const std::vector<std::string>& parts,
                                                std::string& reason) const;

  /// Writes description, arrays and, last, the note. Throws UsageError when the folder cannot be
  /// made, RunError when writing fails.
  void store(const std::vector<std::string>& parts, const std::vector<IntegerArray>& arrays) const;

 private:
  std::string stem_, description_, fingerprint_;
};

/// Who does what when several ranks need the same index.
enum class IndexRole {
  kBuild,                // uses the cache; builds and writes what is missing
  kLoadOrBuildPrivately  // uses the cache; builds what is missing in memory and writes nothing
};

/// The arrays from the cache, or made by `build`. No cache: always built, never written.
std::vector<IntegerArray> load_or_build(const IndexCache* cache, IndexRole role,
                                        const std::vector<std::string>& parts,
                                        const std::function<std::vector<IntegerArray>()>& build,
                                        const std::function<void(const std::string&)>& notice);

}  // namespace megalith
