// Small files of examples for the tests of fine-tuning's readers.
#pragma once

#include <string>

#include "megalith/core/error.hpp"
#include "tests/tokenizer/golden_files.hpp"

namespace megalith::testing {

/// What a UsageError says that `body` throws; "" when it throws none.
template <class Body>
std::string usage_error(const Body& body) {
  try {
    body();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

/// GLUE's MNLI: the header of its dev files, and rows made from a few cells.
inline std::string mnli_header() {
  return "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
         "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n";
}
inline std::string mnli_row(const std::string& index, const std::string& premise,
                            const std::string& hypothesis, const std::string& label) {
  return index + "\t31193\t31193n\tgovernment\t( x )\t( y )\t(ROOT x)\t(ROOT y)\t" + premise +
         "\t" + hypothesis + "\tneutral\t" + label + "\n";
}

}  // namespace megalith::testing
