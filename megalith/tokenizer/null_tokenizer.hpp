// Token ids written as text: "12 7 0" is {12, 7, 0}. For measurements, tests and data that was
// tokenized elsewhere.
//
// As upstream, ids below --vocab-size are text and the id --vocab-size itself ends a document, so
// there are --vocab-size + 1 ids. There is no padding id: upstream's newer code names the last text
// id, which would silently take that id out of the loss.
#pragma once

#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

class NullTokenizer : public Tokenizer {
 public:
  explicit NullTokenizer(int64_t text_ids);

  /// Words between ASCII spaces. Throws UsageError on a word that is no id.
  void append_ids(std::string_view text, std::vector<int32_t>& ids) const override;
  std::string decode_bytes(std::span<const int32_t> ids) const override;
  int64_t vocab_size() const override { return text_ids_ + 1; }
  std::optional<int32_t> eod() const override { return static_cast<int32_t>(text_ids_); }
  std::string name() const override { return "NullTokenizer"; }
  nlohmann::ordered_json description() const override;

 private:
  int64_t text_ids_;
};

}  // namespace megalith
