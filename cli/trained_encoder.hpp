// A BERT as --load names it, for what needs only its encoder: our checkpoint, or the folder or file
// of a Hugging Face model, which is read as it is.
//
// Beside trained_model.hpp, which opens decoders. Never random weights.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cli/trained_model.hpp"
#include "megalith/models/bert.hpp"

namespace megalith::cli {

struct TrainedEncoder {
  std::string origin;    // the checkpoint's folder, or what was given
  std::string identity;  // what must be the same on every rank
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;
  at::ScalarType dtype = at::kFloat;
  std::function<void(Model&)> load_weights;

  /// The model with its weights. Every rank of a tensor group must call.
  BertModel load(const Distributed& distributed) const;
};

/// As open_trained_model. Throws UsageError when it is no BERT.
TrainedEncoder open_trained_encoder(const TrainedModelFlags& flags,
                                    const TokenizerConfig& tokenizer, int64_t tensor_size,
                                    Problems& problems);

}  // namespace megalith::cli
