// Run files: a TOML document of settings under the flags' names, with the line of each.
//
// Knows no flag: command_line.cpp gives the settings their meaning. A value is text, a number, true
// or false, or a list of these; tables and dates are refused, since no setting takes them. Mistakes
// are reported as FILE:LINE with the reason; what is no TOML ends the reading at its first mistake.
#pragma once

#include <string>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith::cli {

struct RunFileSetting {
  std::string name;
  std::vector<std::string> words;  // one word for each value
  bool is_list = false;
  std::string place;  // "configs/quickstart.toml:3"
};

/// In the order of the file. Throws UsageError when the file cannot be read; mistakes in its text
/// are added to `problems`.
std::vector<RunFileSetting> read_run_file(const std::string& path, Problems& problems);

}  // namespace megalith::cli
