#include "megalith/tasks/token_stream.hpp"

#include <algorithm>
#include <filesystem>

#include "megalith/data/indexed_dataset.hpp"
#include "megalith/data/text_stream.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

constexpr int64_t kBlock = 1 << 16;

class TokensInMemory : public TokenStream {
 public:
  explicit TokensInMemory(std::vector<int32_t> ids) : ids_(std::move(ids)) {}
  int64_t size() const override { return static_cast<int64_t>(ids_.size()); }
  void read(int64_t first, std::span<int32_t> out) const override {
    std::copy_n(ids_.begin() + first, out.size(), out.begin());
  }

 private:
  std::vector<int32_t> ids_;
};

class IndexedTokens : public TokenStream {
 public:
  IndexedTokens(const std::string& prefix, int64_t vocab_size) : dataset_(prefix) {
    ends_.reserve(dataset_.sequence_lengths().size());
    for (const int32_t length : dataset_.sequence_lengths()) ends_.push_back(size() + length);
    check_ids(vocab_size);
  }

  int64_t size() const override { return ends_.empty() ? 0 : ends_.back(); }

  void read(int64_t first, std::span<int32_t> out) const override {
    int64_t sequence = std::upper_bound(ends_.begin(), ends_.end(), first) - ends_.begin();
    while (!out.empty()) {
      const int64_t begin = sequence == 0 ? 0 : ends_[sequence - 1];
      const int64_t count = std::min(static_cast<int64_t>(out.size()), ends_[sequence] - first);
      const std::vector<int64_t> ids = dataset_.read(sequence, first - begin, count);
      std::transform(ids.begin(), ids.end(), out.begin(),
                     [](int64_t id) { return static_cast<int32_t>(id); });
      out = out.subspan(static_cast<size_t>(count));
      first += count;
      ++sequence;
    }
  }

 private:
  void check_ids(int64_t vocab_size) const {
    std::vector<int64_t> ids;
    for (int64_t sequence = 0; sequence < dataset_.num_sequences(); ++sequence) {
      const int64_t length = dataset_.sequence_lengths()[sequence];
      for (int64_t offset = 0; offset < length; offset += kBlock) {
        ids = dataset_.read(sequence, offset, std::min(kBlock, length - offset));
        const auto bad = std::find_if(ids.begin(), ids.end(),
                                      [&](int64_t id) { return id < 0 || id >= vocab_size; });
        if (bad == ids.end()) continue;
        throw UsageError(
            "{}: document {}, token {} is {}, and the model knows the tokens 0 to {}; was the "
            "dataset made with another tokenizer?",
            dataset_.prefix(), dataset_.document_of_sequence(sequence),
            offset + (bad - ids.begin()), *bad, vocab_size - 1);
      }
    }
  }

  IndexedDataset dataset_;
  std::vector<int64_t> ends_;  // of each sequence in the stream
};

void check_text(const std::string& path, const std::string& text) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    throw UsageError("{}: holds no text", path);
  }
  std::string repaired;
  const std::string_view good = unicode::well_formed(text, repaired);
  size_t bad = text.find('\0');
  if (good.data() != text.data()) {
    bad =
        std::min(bad, static_cast<size_t>(
                          std::mismatch(text.begin(), text.end(), good.begin(), good.end()).first -
                          text.begin()));
  }
  if (bad == std::string::npos) return;
  throw UsageError(
      "{}: byte {} is no UTF-8 text; give a text file, or an indexed dataset by its prefix", path,
      bad);
}

}  // namespace

std::unique_ptr<TokenStream> make_token_stream(std::vector<int32_t> ids) {
  return std::make_unique<TokensInMemory>(std::move(ids));
}

std::unique_ptr<TokenStream> open_token_stream(const std::string& prefix, int64_t vocab_size) {
  return std::make_unique<IndexedTokens>(prefix, vocab_size);
}

bool is_dataset_prefix(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path + ".idx", error) ||
         std::filesystem::exists(path + ".bin", error);
}

std::string read_whole_text(const std::string& path) {
  const auto stream = open_text_stream(path);
  std::string text;
  std::vector<char> block(kBlock);
  while (const size_t count = stream->read(block)) text.append(block.data(), count);
  check_text(path, text);
  return text;
}

int64_t SlidingWindows::count(int64_t num_tokens) const {
  const int64_t later = std::max<int64_t>(0, num_tokens - 1 - window);
  return 1 + (later + stride - 1) / stride;
}

RowSource window_rows(const TokenStream& stream, const SlidingWindows& windows) {
  return {windows.count(stream.size()), [&stream, windows](int64_t index) {
            const int64_t first = index * windows.stride;
            const int64_t length = std::min(windows.window + 1, stream.size() - first);
            std::vector<int32_t> tokens(static_cast<size_t>(length));
            stream.read(first, tokens);
            return plain_row(std::move(tokens), index == 0 ? 0 : windows.window - windows.stride);
          }};
}

}  // namespace megalith
