#include "megalith/data/token_source.hpp"

#include <vector>

#include "megalith/core/error.hpp"
#include "megalith/data/indexed_dataset.hpp"
#include "megalith/data/numpy_random.hpp"
#include "megalith/data/word_pieces.hpp"

namespace megalith {
namespace {

class IndexedTokens final : public TokenSource {
 public:
  explicit IndexedTokens(const std::string& prefix) : dataset_(prefix) {}
  const std::string& name() const override { return dataset_.prefix(); }
  std::span<const int32_t> sequence_lengths() const override { return dataset_.sequence_lengths(); }
  int64_t num_documents() const override { return dataset_.num_documents(); }
  int64_t first_sequence(int64_t document) const override {
    return dataset_.document_array()[document];
  }
  void read(int64_t sequence, int64_t offset, std::span<int64_t> out) const override {
    dataset_.read(sequence, offset, out);
  }
  std::string place(int64_t sequence, int64_t offset) const override {
    const int64_t document = dataset_.document_of_sequence(sequence);
    const bool first = dataset_.document_array()[document] == sequence;
    return fmt::format("{}: document {}, {}token {}", name(), document,
                       first ? "" : fmt::format("sequence {}, ", sequence), offset);
  }

 private:
  IndexedDataset dataset_;
};

class MockTokens final : public TokenSource {
 public:
  MockTokens(int64_t vocab_size, int64_t eod) : vocab_size_(vocab_size), eod_(eod) {
    constexpr int64_t kDocuments = 100'000;
    constexpr int64_t kLongest = 4095;
    RandomState random(0);
    lengths_.reserve(kDocuments);
    for (int64_t i = 0; i < kDocuments; ++i) {
      lengths_.push_back(static_cast<int32_t>(random.randint(1, kLongest + 1)));
    }
  }
  const std::string& name() const override { return name_; }
  std::span<const int32_t> sequence_lengths() const override { return lengths_; }
  void read(int64_t sequence, int64_t offset, std::span<int64_t> out) const override {
    const int64_t last = lengths_.at(static_cast<size_t>(sequence)) - 1;
    for (int64_t& id : out) {
      id = offset == last ? eod_ : (offset + 1) % vocab_size_;
      ++offset;
    }
  }
  std::string place(int64_t sequence, int64_t offset) const override {
    return fmt::format("{}: document {}, token {}", name_, sequence, offset);
  }

 private:
  std::string name_ = "mock data";
  int64_t vocab_size_, eod_;
  std::vector<int32_t> lengths_;
};

class MockSentences final : public TokenSource {
 public:
  explicit MockSentences(std::shared_ptr<const WordPieces> pieces) : pieces_(std::move(pieces)) {
    constexpr int64_t kDocuments = 10'000;
    constexpr int64_t kMostSentences = 40;
    constexpr int64_t kLongest = 60;
    RandomState random(0);
    for (int64_t document = 0; document < kDocuments; ++document) {
      const int64_t sentences = random.randint(1, kMostSentences + 1);
      for (int64_t i = 0; i < sentences; ++i) {
        lengths_.push_back(static_cast<int32_t>(random.randint(1, kLongest + 1)));
      }
      bounds_.push_back(static_cast<int64_t>(lengths_.size()));
    }
  }
  const std::string& name() const override { return name_; }
  std::span<const int32_t> sequence_lengths() const override { return lengths_; }
  int64_t num_documents() const override { return static_cast<int64_t>(bounds_.size()) - 1; }
  int64_t first_sequence(int64_t document) const override {
    return bounds_.at(static_cast<size_t>(document));
  }
  void read(int64_t sequence, int64_t offset, std::span<int64_t> out) const override {
    // Neighbours start near each other, so that their order can be learnt.
    for (int64_t& id : out) {
      id =
          pieces_->ordinary.at(static_cast<size_t>(sequence + offset++) % pieces_->ordinary.size());
    }
  }
  std::string place(int64_t sequence, int64_t offset) const override {
    return fmt::format("{}: sentence {}, token {}", name_, sequence, offset);
  }

 private:
  std::string name_ = "mock data";
  std::shared_ptr<const WordPieces> pieces_;
  std::vector<int32_t> lengths_;
  std::vector<int64_t> bounds_ = {0};
};

}  // namespace

int64_t TokenSource::num_documents() const {
  return static_cast<int64_t>(sequence_lengths().size());
}

std::shared_ptr<const TokenSource> open_indexed_tokens(const std::string& prefix) {
  return std::make_shared<IndexedTokens>(prefix);
}

std::shared_ptr<const TokenSource> make_mock_tokens(int64_t vocab_size,
                                                    std::optional<int64_t> eod) {
  if (vocab_size < 1)
    throw UsageError(
        "--mock-data needs the size of the vocabulary; give --vocab-size, or a tokenizer");
  return std::make_shared<MockTokens>(vocab_size, eod.value_or(vocab_size - 1));
}

std::shared_ptr<const TokenSource> make_mock_sentences(std::shared_ptr<const WordPieces> pieces) {
  if (!pieces) throw UsageError("--mock-data needs a vocabulary; give a tokenizer or --vocab-size");
  return std::make_shared<MockSentences>(std::move(pieces));
}

}  // namespace megalith
