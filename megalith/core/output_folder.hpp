// Folders that appear whole or not at all: filled under a temporary name beside their place, then
// renamed. Destroyed without commit(), the temporary is removed.
//
// A process holds a lock on its temporary folder that the kernel frees when it ends in whatever
// way: what a killed one left is told from what another is filling, and goes away at the next
// attempt. atomic_file.hpp does the same for one file.
#pragma once

#include <string>

namespace megalith {

class OutputFolder {
 public:
  /// Throws UsageError when something is at `path`.
  static void check(const std::string& path);

  /// Makes `path` + ".tmp-<pid>", with the parents that are missing, and deletes such folders of
  /// processes that have ended. Throws UsageError when something is at `path`, or nothing can be
  /// made there.
  explicit OutputFolder(const std::string& path);
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  ~OutputFolder();

  const std::string& temporary_path() const { return temporary_; }
  /// Syncs the folder's entries and gives it its name. Throws RunError.
  void commit();

 private:
  void remove_leftovers() const;

  std::string target_, temporary_;
  int fd_ = -1;  // of the temporary folder, locked
  bool committed_ = false;
};

}  // namespace megalith
