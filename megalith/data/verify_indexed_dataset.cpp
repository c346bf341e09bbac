#include "megalith/data/verify_indexed_dataset.hpp"

#include <algorithm>
#include <filesystem>

#include "megalith/core/error.hpp"
#include "megalith/data/indexed_dataset_writer.hpp"

namespace megalith {
namespace {

constexpr int64_t kChunkIds = 1 << 16;

/// Checks the ids of one sequence and returns its last id; -1 when it is empty.
int64_t check_ids(const IndexedDataset& dataset, int64_t document, int64_t sequence,
                  std::optional<int64_t> vocab_size, DatasetSurvey& survey) {
  const int64_t length = dataset.sequence_lengths()[static_cast<size_t>(sequence)];
  std::vector<int64_t> ids(static_cast<size_t>(std::min(length, kChunkIds)));
  int64_t last = -1;
  for (int64_t offset = 0; offset < length; offset += kChunkIds) {
    const auto part =
        std::span(ids).first(static_cast<size_t>(std::min(kChunkIds, length - offset)));
    dataset.read(sequence, offset, part);
    const auto bad = std::find_if(part.begin(), part.end(), [&](int64_t id) {
      return id < 0 || (vocab_size && id >= *vocab_size);
    });
    if (bad != part.end()) {
      const int64_t place = offset + (bad - part.begin());
      throw UsageError(
          "{}: id {} at byte {} (document {}, sequence {}, offset {}); expected {}",
          dataset.token_path(), *bad,
          dataset.sequence_pointers()[sequence] + place * token_size(dataset.token_type()),
          document, sequence, place,
          vocab_size
              ? fmt::format("0 to {}, the vocabulary; was the data made with another tokenizer?",
                            *vocab_size - 1)
              : "0 or more");
    }
    survey.largest_id = std::max(survey.largest_id, *std::max_element(part.begin(), part.end()));
    last = part.back();
  }
  survey.longest_sequence = std::max(survey.longest_sequence, length);
  survey.empty_sequences += length == 0;
  return last;
}

/// Remembers the id that ends the documents as long as it is the same one.
void note_document_end(int64_t id, DatasetSurvey& survey) {
  if (survey.documents_with_end++ == 0) survey.document_end = id;
  if (survey.document_end != id) survey.document_end.reset();
}

}  // namespace

void check_index_arrays(const IndexedDataset& dataset) {
  const IndexLayout layout{dataset.num_sequences(), dataset.document_array().size()};
  const int64_t size = token_size(dataset.token_type());
  int64_t pointer = 0;
  for (int64_t i = 0; i < dataset.num_sequences(); ++i) {
    if (dataset.sequence_pointers()[i] != pointer) {
      throw UsageError(
          "{}: sequence {} is said to start at byte {} (offset {}); the lengths before it give {}",
          dataset.index_path(), i, dataset.sequence_pointers()[i], layout.pointers_offset() + 8 * i,
          pointer);
    }
    pointer += dataset.sequence_lengths()[static_cast<size_t>(i)] * size;
  }
  const auto& bounds = dataset.document_array();
  for (int64_t i = 1; i < bounds.size(); ++i) {
    if (bounds[i] < bounds[i - 1] || bounds[i] > dataset.num_sequences()) {
      throw UsageError(
          "{}: document {} is said to end at sequence {} (offset {}); expected {} to {}",
          dataset.index_path(), i - 1, bounds[i], layout.documents_offset() + 8 * i, bounds[i - 1],
          dataset.num_sequences());
    }
  }
}

DatasetSurvey verify_indexed_dataset(const std::string& prefix, std::optional<int64_t> vocab_size) {
  const IndexedDataset dataset(prefix);
  check_index_arrays(dataset);
  DatasetSurvey survey;
  survey.num_documents = dataset.num_documents();
  survey.num_sequences = dataset.num_sequences();
  survey.num_tokens = dataset.num_tokens();
  for (int64_t document = 0; document < dataset.num_documents(); ++document) {
    int64_t tokens = 0, last = -1;
    for (int64_t sequence = dataset.document_array()[document];
         sequence < dataset.document_array()[document + 1]; ++sequence) {
      const int64_t length = dataset.sequence_lengths()[static_cast<size_t>(sequence)];
      const int64_t end = check_ids(dataset, document, sequence, vocab_size, survey);
      if (length > 0) last = end;
      tokens += length;
    }
    survey.longest_document = std::max(survey.longest_document, tokens);
    survey.empty_documents += tokens == 0;
    if (tokens > 0) note_document_end(last, survey);
  }
  return survey;
}

void merge_indexed_datasets(const std::string& output, const std::vector<std::string>& inputs) {
  if (inputs.empty()) throw UsageError("{}: nothing to merge; name at least one dataset", output);
  Problems problems;
  std::optional<TokenType> type;
  for (const auto& input : inputs) {
    std::error_code error;
    if (std::filesystem::equivalent(input + ".bin", output + ".bin", error)) {
      problems.add("{}: is both an input and the output; choose another output", input);
      continue;
    }
    const IndexedDataset dataset(input);
    check_index_arrays(dataset);
    if (!type) type = dataset.token_type();
    if (dataset.token_type() != *type) {
      problems.add("{}: holds {}, but {} holds {}; only datasets of one type can be joined", input,
                   token_type_name(dataset.token_type()), inputs.front(), token_type_name(*type));
    }
  }
  problems.raise_if_any();
  IndexedDatasetWriter writer(output, *type);
  for (const auto& input : inputs) writer.append_dataset(IndexedDataset(input));
  writer.commit();
}

}  // namespace megalith
