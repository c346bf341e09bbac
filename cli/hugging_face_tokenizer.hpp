// The tokenizer that lies beside the weights of a Hugging Face model, as the flags of ours.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "megalith/checkpoint/hugging_face_names.hpp"

namespace megalith::cli {

/// What the folder's tokenizer files say to the other subcommands, as a checkpoint records it; null
/// when there are none that this program reads.
nlohmann::json tokenizer_beside(const std::string& folder, HuggingFaceFamily family);

}  // namespace megalith::cli
