// A model that lies in somebody's files, seen as this project's global tensors: what every reader
// of foreign weights (Hugging Face folders, upstream's checkpoints) produces and every writer
// takes.
//
// Tensors are read one at a time, when they are asked for, so that a conversion holds no more than
// the largest of them. Knows no ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "megalith/layers/model_config.hpp"

namespace megalith {

struct SourceTensor {
  std::string name;  // the global name, as in checkpoints: "embedding.word_embeddings.weight"
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  /// The whole tensor on the CPU, of any strides; may lie over a mapped file: not to be written.
  std::function<at::Tensor()> read;
  /// SHA-256 of its bytes where the source knows it: compared with what is written, so that damage
  /// is not copied under a new checksum.
  std::string sha256 = {};
};

struct ModelSource {
  std::string origin;  // the folder or file, for messages
  ModelConfig config;  // vocab_size included
  int64_t iteration = 0;
  nlohmann::json meta = nlohmann::json::object();  // more for the checkpoint's meta than the model
  std::vector<SourceTensor> tensors;
};

/// How long a conversion took: until the files were complete and on disk, and the check of them.
struct ConversionTimes {
  double written_s = 0, verified_s = 0;
  /// "written in 1.92 s, verified in 1.21 s".
  std::string text() const {
    return fmt::format("written in {:.2f} s, verified in {:.2f} s", written_s, verified_s);
  }
};

}  // namespace megalith
