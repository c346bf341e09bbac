// Which of upstream's checkpoints a folder stands for, and whether its ranks' files are all there.
//
// Names only; nothing is opened but latest_checkpointed_iteration.txt. Layout: legacy `torch`
// format, mp_rank_TT[_PPP]/model_optim_rng.pt. What is in a file: upstream_checkpoint.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {

struct UpstreamFolder {
  std::string path;
  int64_t tensor_size = 1, pipeline_size = 1;
  std::vector<std::string> files;  // by pipeline stage, then tensor rank

  const std::string& file(int64_t stage, int64_t tensor_rank) const {
    return files[static_cast<size_t>(stage * tensor_size + tensor_rank)];
  }
};

/// The folder with the ranks' folders in it: `folder` itself, else the named iteration of a save
/// folder, else the latest, "release" included. Nothing when there is none of upstream's. Throws
/// UsageError for a checkpoint of upstream's newer formats, saying what to do.
std::optional<std::string> find_upstream_checkpoint(const std::string& folder,
                                                    std::optional<int64_t> iteration);

/// Lists the files; adds what is missing or not read here to `problems`.
UpstreamFolder list_upstream_files(const std::string& path, Problems& problems);

}  // namespace megalith
