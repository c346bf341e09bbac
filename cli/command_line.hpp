// Flags and run files of one subcommand, made from the field listings of the config structs.
//
// Splits words here, reads TOML in run_file.hpp; conversion, ranges and messages come from
// core/fields. Every mistake is found and all are reported together. Semantics follow argparse,
// which upstream's scripts rely on: a flag given twice, the last wins; `--flag value` and
// `--flag=value`; the values of a list end at the next word that starts with two dashes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "megalith/core/fields.hpp"

namespace megalith::cli {

/// An upstream flag that exists here under another name, or not at all.
struct ForeignFlag {
  enum class Kind { kOldSpelling, kIgnored, kRefused };
  std::string name;
  Kind kind = Kind::kIgnored;
  std::string text;    // kOldSpelling: today's name; else why it is ignored or refused
  int64_t values = 0;  // how many values follow it (-1: any number)
  /// kRefused: a value that asks for nothing special and is let through. kOldSpelling of a switch:
  /// the value of today's flag that it stands for.
  std::string value = {};
};

class CommandLine {
 public:
  /// `name` as typed ("megalith tokenize"); `summary` opens --help.
  CommandLine(std::string name, std::string summary);
  ~CommandLine();

  /// A titled group of flags. The fields must outlive parse().
  void section(const std::string& title, const FieldList& fields);
  /// Words without dashes, at least `low` and at most `high` of them.
  void positional(const std::string& name, std::vector<std::string>& values,
                  const std::string& help, int low, int high);
  void foreign(const std::vector<ForeignFlag>& flags);
  /// Adds --config FILE.toml.
  void run_file();
  /// Text after the flags in --help: examples.
  void epilogue(const std::string& text);

  /// Sets the fields. Returns false when --help was asked for and printed.
  /// Throws UsageError listing every mistake. Notices (ignored flags) go to stderr when `notices`.
  bool parse(const std::vector<std::string>& words, bool notices = true);
  /// Adds mistakes found here to a list of the caller's, instead of throwing at once. A run file
  /// that cannot be read is thrown.
  bool parse(const std::vector<std::string>& words, Problems& problems, bool notices = true);

  /// True when the flag stood on the command line or in the run file.
  bool given(const std::string& name) const;
  std::string help() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Breaks text into lines of at most `width`, indenting all but the first by `indent`.
std::string wrap(const std::string& text, size_t width, size_t indent);

}  // namespace megalith::cli
