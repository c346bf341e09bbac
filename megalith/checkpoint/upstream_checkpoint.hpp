// Checkpoints that Megatron-LM wrote in its legacy `torch` format, read as a model of ours.
//
// Joins what tensor ranks and pipeline stages hold, undoes the three orders of query, key and value
// rows that checkpoint_version tells apart, and takes the padding off the vocabulary. Weights, the
// iteration and consumed samples are read; optimizer and generators are not. Runs nothing that a
// file says (torch_file.hpp). Format: Megatron-LM, megatron/checkpointing.py, v1.0 to core.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "megalith/checkpoint/model_source.hpp"
#include "megalith/checkpoint/upstream_arguments.hpp"

namespace megalith {

/// `path` holds the ranks' folders (find_upstream_checkpoint). Checks names, shapes and types of
/// all tensors at once, and that all ranks are of one save; their bytes are read with the tensors.
/// Throws UsageError with all mistakes.
ModelSource read_upstream_checkpoint(const std::string& path, const UpstreamOverrides& overrides);

}  // namespace megalith
