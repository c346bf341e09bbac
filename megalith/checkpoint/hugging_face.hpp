// Models of Hugging Face as checkpoints of ours, and the other way round; both ways are checked by
// going back before they count.
//
// One process, no process groups, one tensor in memory at a time. GPT-2, Llama-like decoders, BERT:
// hugging_face_names.hpp has the names, hugging_face_config.hpp the configuration. Weights keep
// their type and bits.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/checkpoint/hugging_face_config.hpp"
#include "megalith/checkpoint/hugging_face_folder.hpp"
#include "megalith/checkpoint/model_source.hpp"

namespace megalith {

struct HuggingFaceModel {
  HuggingFaceConfig config;
  std::shared_ptr<const HuggingFaceFolder> files;
  /// Of the table, each with the name that this model's file has for it.
  std::vector<std::pair<HuggingFaceTensor, std::string>> tensors;
  ModelSource source;                // iteration 0; config.json goes into its meta
  std::vector<std::string> notices;  // tensors that are no weights, and what the config has to say
};

/// The class of transformers whose heads the model has.
std::string architecture_of(const HuggingFaceConfig& config);

/// Opens and checks everything, reads no weights yet. `path`: a folder or a file in it. Throws
/// UsageError that lists every field and tensor that is missing, superfluous, of a wrong shape or
/// type, or not supported.
HuggingFaceModel open_hugging_face(const std::string& path,
                                   const HuggingFaceReadOptions& options = {});

/// Throws RunError naming the tensors of the model that the checkpoint does not give back bit for
/// bit.
void check_gives_back(const Checkpoint& checkpoint, const HuggingFaceModel& model);

struct HuggingFaceWriteOptions {
  std::optional<HuggingFaceFamily> family = std::nullopt;  // by the model without
  /// Of BERT's classes the one to write, without the heads it has not; by the model without.
  std::optional<std::string> architecture = std::nullopt;
  int64_t max_shard_bytes = 5'000'000'000;
};

/// The family that was imported if the model still fits it, else the first that it fits. Throws
/// UsageError that says, for each family, what does not fit.
HuggingFaceFamily choose_family(const Checkpoint& checkpoint,
                                std::optional<HuggingFaceFamily> wanted);

struct WrittenHuggingFace {
  HuggingFaceFamily family;
  std::string architecture;
  int64_t num_parameters = 0;
  ConversionTimes times;
};

/// Writes the folder `save`, which must not be there: config.json and the weights, sharded above
/// max_shard_bytes. It gets its name when it is complete and has been read back. Throws UsageError
/// or RunError; nothing is left behind then, and what a killed export to there left goes away.
WrittenHuggingFace write_hugging_face(const Checkpoint& checkpoint, const std::string& save,
                                      const HuggingFaceWriteOptions& options = {});

}  // namespace megalith
