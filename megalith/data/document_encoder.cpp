#include "megalith/data/document_encoder.hpp"

#include "megalith/core/error.hpp"

namespace megalith {

DocumentEncoder::DocumentEncoder(EncoderOptions options, const Tokenizer& tokenizer)
    : options_(std::move(options)),
      tokenizer_(tokenizer),
      parser_(options_.keys),
      splitter_(options_.language, options_.keep_newlines) {
  if (options_.append_eod) eod_ = tokenizer_.require_eod("--append-eod");
}

EncodedBatch DocumentEncoder::encode(const RawBatch& batch) {
  EncodedBatch out;
  out.keys.resize(options_.keys.size());
  for (const auto& document : batch.documents) {
    out.last_position = document.position;
    if (!parse(document, out)) continue;
    try {
      for (size_t k = 0; k < out.keys.size(); ++k) encode_texts(texts_[k], out.keys[k]);
    } catch (const UsageError& error) {  // a text that this tokenizer cannot express
      throw UsageError("{}: {}", place(document), error.what());
    }
    out.text_bytes.push_back(static_cast<int64_t>(document.text.size()));
    out.positions.push_back(document.position);
  }
  return out;
}

std::string DocumentEncoder::place(const RawDocument& document) const {
  const auto& name = options_.file_names[static_cast<size_t>(document.file_index)];
  return document.is_json ? fmt::format("{}:{}", name, document.line) : name;
}

/// Fills texts_. Returns false for a broken line that is to be skipped.
bool DocumentEncoder::parse(const RawDocument& document, EncodedBatch& out) {
  if (!document.is_json) {
    texts_.assign(1, {std::string_view(document.text)});
    return true;
  }
  try {
    texts_ = parser_.parse(document.text);
    return true;
  } catch (const UsageError& error) {
    std::string problem = fmt::format("{}: {}", place(document), error.what());
    if (!options_.skip_bad_lines) {
      throw UsageError(
          "{}; each line must be one JSON object (name plain text *.txt); --skip-bad-lines leaves "
          "such "
          "lines out",
          problem);
    }
    out.bad_lines.push_back(std::move(problem));
    return false;
  }
}

void DocumentEncoder::encode_texts(const std::vector<std::string_view>& texts, EncodedKey& out) {
  const size_t sequences_before = out.sequence_lengths.size();
  for (const auto text : texts) {
    if (!options_.split_sentences) {
      append_sequence(text, out);
      continue;
    }
    for (const auto& sentence : splitter_.split(text)) append_sequence(sentence, out);
  }
  const size_t added = out.sequence_lengths.size() - sequences_before;
  if (added > 0 && eod_) {
    out.ids.push_back(*eod_);
    ++out.sequence_lengths.back();
  }
  out.sequences_in_document.push_back(static_cast<int64_t>(added));
}

void DocumentEncoder::append_sequence(std::string_view text, EncodedKey& out) {
  const size_t before = out.ids.size();
  tokenizer_.append_ids(text, out.ids);
  if (out.ids.size() == before) return;
  out.sequence_lengths.push_back(static_cast<int64_t>(out.ids.size() - before));
}

}  // namespace megalith
