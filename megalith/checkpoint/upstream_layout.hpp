// How upstream cuts and orders the weights that tensor ranks share, and how they become one global
// tensor each.
//
// A spec says what a tensor of upstream's must look like; assemble() turns the ranks' parts into
// ours. Knows no files' folders and no arguments: upstream_checkpoint.hpp. Source of the orders:
// Megatron-LM, megatron/checkpointing.py (fix_query_key_value_ordering).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "megalith/checkpoint/model_source.hpp"
#include "megalith/checkpoint/torch_file.hpp"
#include "megalith/layers/model_config.hpp"

namespace megalith {

/// A weight under upstream's core name.
struct UpstreamTensor {
  enum class Cut { kNone, kRows, kColumns, kQueryKeyValue, kGateUp };
  std::string name;
  std::vector<int64_t> shape;  // of all ranks together
  Cut cut = Cut::kNone;
};

/// All weights of a model, with a vocabulary of `vocab_rows`.
std::vector<UpstreamTensor> upstream_tensors(const ModelConfig& config, int64_t vocab_rows);

/// One rank's part of a weight, in its file.
struct UpstreamPart {
  std::shared_ptr<const TorchFile> file;
  PickleTensor tensor;
};

/// What keeps the parts of all tensor ranks from being the weight, or nothing.
std::optional<std::string> part_mistake(const UpstreamTensor& spec,
                                        const std::vector<UpstreamPart>& parts);

/// The global tensors of ours that the parts make up: one, or three or two where upstream fuses.
/// `version` is checkpoint_version. Rows beyond config.vocab_size are left out.
std::vector<SourceTensor> assemble(const UpstreamTensor& spec, std::vector<UpstreamPart> parts,
                                   const ModelConfig& config, double version);

}  // namespace megalith
