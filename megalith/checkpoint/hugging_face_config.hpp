// config.json of a Hugging Face model: read into a ModelConfig, and written from one.
//
// Both generations of its names are read: rope_parameters and dtype of today's transformers,
// rope_theta, rope_scaling and torch_dtype of folders published before. A field that may change the
// model and that is not understood is a mistake, never passed over. Weights are in
// hugging_face.hpp.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "megalith/checkpoint/hugging_face_names.hpp"

namespace megalith {

struct HuggingFaceConfig {
  HuggingFaceFamily family = HuggingFaceFamily::kLlama;
  ModelConfig model;
  nlohmann::json json;               // as the file has it
  std::vector<std::string> notices;  // what a reader should know about the file
};

struct HuggingFaceReadOptions {
  /// Lowers the model's positions, which a sliding window asks for; rotary positions only.
  std::optional<int64_t> max_position_embeddings = std::nullopt;
  std::vector<std::string> ignored_keys = {};  // of config.json, that the user vouches for
};

/// All mistakes go to `problems`; the result is of use only when there is none. Throws UsageError
/// when the file is no JSON object or its architecture is not supported.
HuggingFaceConfig read_hugging_face_config(const std::string& path,
                                           const HuggingFaceReadOptions& options,
                                           Problems& problems);

/// What keeps `config` from being a model of the family; empty when nothing does.
std::vector<std::string> hugging_face_misfits(HuggingFaceFamily family, const ModelConfig& config);

/// config.json for the model, in a form that transformers of both generations read. What `original`
/// (config.json of the import, or an empty object) says beside the model is kept: token ids and
/// the like. The model must fit the family.
nlohmann::ordered_json hugging_face_config_json(HuggingFaceFamily family, const ModelConfig& config,
                                                const std::string& dtype,
                                                const nlohmann::json& original);

}  // namespace megalith
