// The names inside a save folder, and which checkpoint a folder stands for.
//
// SAVE/latest_checkpointed_iteration.txt and SAVE/iter_0000100/ as upstream; a checkpoint being
// written lies in SAVE/iter_0000100.tmp-TOKEN/ until it is complete. Knows nothing of what is
// inside a checkpoint: manifest.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace megalith {

/// "iter_0000100".
std::string iteration_name(int64_t iteration);

/// What latest_checkpointed_iteration.txt says, or nothing when there is no such file. Throws
/// UsageError when it says no iteration.
std::optional<int64_t> latest_iteration(const std::string& folder);

/// Replaces latest_checkpointed_iteration.txt, whole or not at all.
void write_latest_iteration(const std::string& folder, int64_t iteration);

/// The complete checkpoints of a save folder, ascending.
std::vector<int64_t> complete_iterations(const std::string& folder);

/// Folders that a save left behind when it was killed; names, sorted.
std::vector<std::string> unfinished_saves(const std::string& folder);

/// A checkpoint set aside for the moment in which another takes its name.
constexpr const char* kReplacedSuffix = "-replaced";

/// Deletes unfinished_saves() and what a killed write of the latest iteration or of the metrics
/// left, and gives a checkpoint that was set aside its name back if the save that did so was killed
/// before it gave the name to the new one. Only for who knows that no other run is saving there.
/// Returns the names of the unfinished saves.
std::vector<std::string> remove_unfinished_saves(const std::string& folder);

/// Makes the folder, with what parents are missing; their entries are on disk when it returns.
/// Returns the folders it made, the innermost first.
std::vector<std::string> create_save_folder(const std::string& folder);

/// True when nothing there was ever a checkpoint, whole or damaged, of this program or another: the
/// folder does not exist, or holds at most unfinished saves and files of a run. A run that may
/// start anew starts anew only then.
bool has_no_checkpoint(const std::string& folder);

/// Which older checkpoints of a save folder stay when a newer one is complete.
struct KeepRule {
  std::optional<int64_t> keep_last = {};  // the newest so many (1 when only the other is given)
  std::optional<int64_t> retain_interval = {};  // and those whose iteration it divides
  bool keeps_all() const { return !keep_last && !retain_interval; }
};

/// Those of `complete` that go away once `saved` is complete. `saved` itself stays, and so do later
/// iterations, which a run that was taken up again further back has not reached yet.
std::vector<int64_t> surplus_iterations(const std::vector<int64_t>& complete, int64_t saved,
                                        const KeepRule& rule);

/// Deletes a checkpoint: it loses its name first, so that none is ever there in part. Throws
/// RunError.
void remove_checkpoint(const std::string& folder, int64_t iteration);

/// The folder with the manifest: `folder` itself when it is one checkpoint, else the named
/// iteration of a save folder, else the latest. Where there is no latest_checkpointed_iteration.txt
/// (a first save that was killed just before it) the newest complete one is the latest. Throws
/// UsageError saying what is there instead.
std::string find_checkpoint(const std::string& folder, std::optional<int64_t> iteration);

}  // namespace megalith
