// A text as one stream of token ids, and the windows it is evaluated in.
//
// A stream is a tokenised text in memory, or an indexed dataset on disk, all its sequences one
// after another. Sliding windows (the paper, appendix E): the window moves on by `stride` and only
// the targets that are new are scored, so each token after the first is scored exactly once,
// whatever the stride.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "megalith/tasks/scoring.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace megalith {

class TokenStream {
 public:
  virtual ~TokenStream() = default;
  virtual int64_t size() const = 0;
  /// Copies out.size() ids from number `first` on.
  virtual void read(int64_t first, std::span<int32_t> out) const = 0;
};

std::unique_ptr<TokenStream> make_token_stream(std::vector<int32_t> ids);

/// Opens PREFIX.bin and PREFIX.idx and reads every id once. Throws UsageError naming what is wrong
/// with the files, or the first id that is not below `vocab_size` and where it stands.
std::unique_ptr<TokenStream> open_token_stream(const std::string& prefix, int64_t vocab_size);

/// Whether PREFIX.idx or PREFIX.bin is there.
bool is_dataset_prefix(const std::string& path);

/// The whole of a text file, unpacked when it is packed by gzip or zstd. Throws UsageError when it
/// cannot be read, is empty, or is no UTF-8 text, with the place.
std::string read_whole_text(const std::string& path);

struct SlidingWindows {
  int64_t window = 0;  // inputs, each of which predicts its next token
  int64_t stride = 0;  // 1 to window: new targets of each window but the first

  /// Windows of a stream of `num_tokens`, of which there must be two.
  int64_t count(int64_t num_tokens) const;
};

/// The windows as rows; the stream must outlive them.
RowSource window_rows(const TokenStream& stream, const SlidingWindows& windows);

}  // namespace megalith
