// Run files: the flat part of TOML, one `flag = value` a line, read with line numbers.
//
// Knows no flag: command_line.cpp gives the settings their meaning. Read here are comments, bare
// and quoted keys, strings on one line, numbers, true and false, and lists of these, which may go
// over several lines; tables, dates and strings over several lines are refused, since no setting
// needs them. Every mistake is reported as FILE:LINE with the reason.
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

/// Throws UsageError when the file cannot be read; mistakes in its text are added to `problems`.
std::vector<RunFileSetting> read_run_file(const std::string& path, Problems& problems);

}  // namespace megalith::cli
