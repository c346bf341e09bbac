// Checks every byte of an indexed dataset, and joins datasets.
//
// IndexedDataset checks at opening what costs no pass over the ids; here is the rest. Both stream
// through the mapped files, so memory does not grow with them. The first violation is named with
// its file and byte offset.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "megalith/data/indexed_dataset.hpp"

namespace megalith {

/// What a whole pass over a sound dataset found.
struct DatasetSurvey {
  int64_t num_documents = 0, num_sequences = 0, num_tokens = 0;
  int64_t empty_documents = 0, empty_sequences = 0;
  int64_t longest_document = 0, longest_sequence = 0;
  int64_t largest_id = -1;  // -1 without tokens
  std::optional<int64_t>
      document_end;                // the id that ends every document that has one, if it is one
  int64_t documents_with_end = 0;  // documents that are not empty
};

/// Pointers follow from the lengths and document bounds never fall. Throws UsageError.
void check_index_arrays(const IndexedDataset& dataset);

/// Opens and checks everything; with `vocab_size`, also that every id is smaller.
/// Throws UsageError for the first violation.
DatasetSurvey verify_indexed_dataset(const std::string& prefix,
                                     std::optional<int64_t> vocab_size = std::nullopt);

/// Writes `output` as the datasets `inputs` one after another, byte for byte as upstream's merge
/// does. Throws UsageError when their types differ or an input is unsound.
void merge_indexed_datasets(const std::string& output, const std::vector<std::string>& inputs);

}  // namespace megalith
