// What a reader of examples found wrong: rows that it left out, and mistakes that end the run.
//
// Readers leave rows out only for the reasons that the public recipes do; each is counted and told
// with its places. Everything else is a mistake, and all mistakes of a file are told at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {

/// Rows of one file that were left out, by reason.
class ReadReport {
 public:
  ReadReport() = default;
  explicit ReadReport(std::string path) : path_(std::move(path)) {}

  /// A row that was left out: "has an empty question1", "line 7".
  void leave_out(const std::string& reason, const std::string& place);
  void add_read(int64_t count = 1) { num_read_ += count; }
  int64_t num_read() const { return num_read_; }
  int64_t num_left_out() const;
  int64_t num_left_out(const std::string& reason) const;
  /// One line for each reason: the file, how many of how many rows, the first places.
  std::vector<std::string> texts() const;

 private:
  struct Reason {
    std::string text;
    int64_t count = 0;
    std::vector<std::string> places = {};  // the first ones
  };
  std::string path_;
  int64_t num_read_ = 0;
  std::vector<Reason> reasons_;
};

/// Mistakes of one file, of which the first ten are told.
class FileMistakes {
 public:
  explicit FileMistakes(std::string path) : path_(std::move(path)) {}

  /// `place` and what is wrong there: "line 7", "the label is ...".
  void add(const std::string& place, const std::string& what);
  bool empty() const { return count_ == 0; }
  /// Hands them on, those beyond the first ten as a number.
  void add_to(Problems& problems) const;
  /// Throws one UsageError with all of them, or returns.
  void raise_if_any() const;

 private:
  std::string path_;
  std::vector<std::string> first_;
  int64_t count_ = 0;
};

/// "line 7".
std::string line_place(int64_t line);

/// `text` in quotes, cut to 60 bytes at a character's end: for messages.
std::string shortened(const std::string& text);

}  // namespace megalith
