// A trained model as the flags name it: checkpoint, tokenizer, the type to compute in. For every
// subcommand that uses one (generate, evaluate).
//
// The checkpoint says what the model is; flags of its shape are refused. Never random weights.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/command_line.hpp"
#include "megalith/checkpoint/model_io.hpp"
#include "megalith/models/gpt.hpp"
#include "megalith/parallel/distributed.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith::cli {

struct TrainedModelFlags {
  std::optional<std::string> load;
  std::optional<int64_t> ckpt_step;
  bool fp32 = false, bf16 = false, fp16 = false;

  FieldList fields();
  void check(Problems& problems) const;
};

/// Flags that pretrain has and that the checkpoint answers here.
std::vector<ForeignFlag> model_shape_flags();

struct TrainedModel {
  Checkpoint checkpoint;
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;
  at::ScalarType dtype;

  /// What must be the same on every rank.
  std::string comparable() const;
  /// The model with its weights. Every rank of a tensor group must call.
  GptModel load(const Distributed& distributed) const;
};

/// Opens the checkpoint and makes the tokenizer it recorded, where the flags say nothing else. What
/// does not fit is added to `problems`; throws UsageError when something cannot be opened at all.
TrainedModel open_trained_model(const TrainedModelFlags& flags, const TokenizerConfig& tokenizer,
                                int64_t tensor_size, Problems& problems);

}  // namespace megalith::cli
