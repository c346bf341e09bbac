// The folder a run saves to, held by this run alone for as long as it lives.
//
// Rank 0 holds a lock on SAVE/run.lock that the kernel frees when the process ends in whatever way,
// so that a killed run never keeps its successor out; what the file says (host, process, since
// when) is only for the message to a second run. Who holds the folder also cleans up what killed
// saves left there. What is inside a checkpoint: checkpoint.hpp.
#pragma once

#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "megalith/checkpoint/checkpoint_folder.hpp"
#include "megalith/parallel/process_groups.hpp"

namespace megalith {

constexpr const char* kLockName = "run.lock";

/// The lock of a save folder, and what has to go when the run that made the folder ends before it
/// put anything there (its data were refused, say).
class SaveFolderHold {
 public:
  SaveFolderHold() = default;
  ~SaveFolderHold();
  SaveFolderHold(const SaveFolderHold&) = delete;
  SaveFolderHold& operator=(const SaveFolderHold&) = delete;

  /// Makes the folder if need be and locks it. Returns what there is to say about the lock.
  /// Throws UsageError when another run holds it.
  std::vector<std::string> take(const std::string& folder, const std::string& token);

 private:
  std::vector<std::string> made_;  // the innermost folder first
  std::string lock_path_;
  int fd_ = -1;
};

class SaveFolder {
 public:
  /// Makes the folder if need be, locks it, deletes unfinished saves, and checks that every rank
  /// sees it and may write there. Communicates: world, every rank must construct. Throws UsageError
  /// on every rank when another run holds it, when ranks see different folders, or when it cannot
  /// be written.
  SaveFolder(std::string path, const ProcessGroups& groups, at::Device device);

  const std::string& path() const { return path_; }
  /// What rank 0 has to say about the folder: leftovers it deleted, locks that do not work there.
  const std::vector<std::string>& notices() const { return notices_; }

  /// Rank 0, after `saved` is complete and marked as the latest: deletes what the rule does not
  /// keep. Throws RunError when a checkpoint cannot be deleted.
  void remove_surplus(int64_t saved, const KeepRule& rule) const;

 private:
  void check_is_shared(const std::string& token, int64_t rank) const;

  std::string path_;
  SaveFolderHold hold_;
  std::vector<std::string> notices_;
};

}  // namespace megalith
