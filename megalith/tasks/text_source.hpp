// The texts of a file, whatever it is: plain text, JSON lines, an indexed dataset decoded.
//
// Everything streams: of plain text a block is in memory, of JSON a line, of a dataset a block of
// ids.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "megalith/core/error.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

enum class SourceKind { kText, kJsonLines, kDataset };

struct TextSource {
  std::string path;  // for a dataset its prefix
  SourceKind kind = SourceKind::kText;
  int64_t size_bytes = 0;  // on disk, for progress
};

/// What lies at a path: a dataset when PATH.idx is there, else a file, whose name tells JSON lines
/// (.jsonl, .json, .ndjson, also with .gz and .zst) from plain text.
TextSource describe_source(const std::string& path, const std::string& flag, Problems& problems);

struct TextReading {
  std::vector<std::string> json_keys{"text"};
  const Tokenizer* tokenizer = nullptr;  // for datasets
  std::function<void(std::string_view)> on_piece = {};
  std::function<void()> on_end = {};                    // of each text
  std::function<void(int64_t bytes)> on_progress = {};  // bytes of the source that are read
};

/// Hands out the texts piece by piece. A document ends at its end and at end-of-text tokens, which
/// are no text. Throws UsageError naming the file and the place of what cannot be read.
void read_texts(const TextSource& source, const TextReading& reading);

}  // namespace megalith
