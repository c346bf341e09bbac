// A trained model as the flags name it: checkpoint, tokenizer, the type to compute in. For every
// subcommand that uses one (generate, evaluate).
//
// The checkpoint says what the model is; flags of its shape are refused. Never random weights.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
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
  /// The type to compute in, for weights that are stored in `stored`.
  at::ScalarType compute_type(at::ScalarType stored) const;
};

/// What `meta` of a checkpoint recorded, where the flags say nothing else. Throws UsageError when a
/// file is no longer there; `origin` names the checkpoint in messages.
TokenizerConfig recorded_tokenizer(const TokenizerConfig& given, const nlohmann::json& meta,
                                   const std::string& origin);

/// Flags that pretrain has and that the checkpoint answers here.
std::vector<ForeignFlag> model_shape_flags();

struct TrainedModel {
  Checkpoint checkpoint;
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;
  at::ScalarType dtype;

  /// What must be the same on every rank.
  std::string comparable() const;
  /// The model with its weights: GptModel, or BertModel where the checkpoint was asked for one.
  /// Every rank of a tensor group must call.
  template <class ModelType = GptModel>
  ModelType load(const Distributed& distributed) const {
    ModelType model(config, distributed.groups(), dtype, distributed.device(),
                    /*seed=*/std::nullopt);
    load_weights(checkpoint, model);
    return model;
  }
};

/// Opens the checkpoint and makes the tokenizer it recorded, where the flags say nothing else. What
/// does not fit is added to `problems`; throws UsageError when something cannot be opened at all,
/// or `config_of` refuses the model.
TrainedModel open_trained_model(const TrainedModelFlags& flags, const TokenizerConfig& tokenizer,
                                int64_t tensor_size, Problems& problems,
                                ModelConfig (*config_of)(const Checkpoint&) = gpt_config_from);

}  // namespace megalith::cli
