#include "megalith/tokenizer/token_decoder.hpp"

#include <charconv>

#include "megalith/tokenizer/byte_alphabet.hpp"
#include "megalith/tokenizer/text_normalizer.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

const std::vector<std::string> kSupported{"ByteFallback", "ByteLevel", "Fuse",  "Metaspace",
                                          "Replace",      "Sequence",  "Strip", "WordPiece"};

using Tokens = std::vector<std::string>;

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

void join(Tokens& tokens) {
  std::string text;
  for (const auto& token : tokens) text += token;
  tokens.assign(1, std::move(text));
}

class ByteLevel : public TokenDecoderStep {
 public:
  void apply(Tokens& tokens, bool repair) const override {
    for (auto& token : tokens) {
      if (auto bytes = alphabet_.bytes(token)) token = std::move(*bytes);
    }
    join(tokens);
    std::string repaired;
    if (repair) tokens[0] = std::string(unicode::well_formed(tokens[0], repaired));
  }

 private:
  ByteAlphabet alphabet_;
};

/// Runs of <0x41> become bytes; one that is no UTF-8 becomes as many U+FFFD as it has bytes.
class ByteFallback : public TokenDecoderStep {
 public:
  void apply(Tokens& tokens, bool repair) const override {
    Tokens decoded;
    std::string run;
    const auto end_run = [&] {
      if (run.empty()) return;
      std::string repaired;
      const bool broken = unicode::well_formed(run, repaired).data() != run.data();
      if (broken && repair) {
        decoded.insert(decoded.end(), run.size(), "\uFFFD");
      } else {
        decoded.push_back(run);
      }
      run.clear();
    };
    for (auto& token : tokens) {
      if (const auto byte = byte_of(token)) {
        run += static_cast<char>(*byte);
      } else {
        end_run();
        decoded.push_back(std::move(token));
      }
    }
    end_run();
    tokens = std::move(decoded);
  }

 private:
  static std::optional<uint8_t> byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
    uint8_t byte = 0;
    const auto [stop, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
    if (error != std::errc() || stop != token.data() + 5) return std::nullopt;
    return byte;
  }
};

class Fuse : public TokenDecoderStep {
 public:
  void apply(Tokens& tokens, bool) const override { join(tokens); }
};

class Metaspace : public TokenDecoderStep {
 public:
  Metaspace(std::string mark, bool drops_first)
      : mark_(std::move(mark)), drops_first_(drops_first) {}
  void apply(Tokens& tokens, bool) const override {
    for (auto& token : tokens) {
      const bool drop = drops_first_ && &token == &tokens.front();
      replace_all(token, mark_, drop ? "" : " ");
    }
  }

 private:
  std::string mark_;
  bool drops_first_;
};

class Replace : public TokenDecoderStep {
 public:
  Replace(TextPattern pattern, std::string by) : pattern_(std::move(pattern)), by_(std::move(by)) {}
  void apply(Tokens& tokens, bool) const override {
    for (auto& token : tokens) token = pattern_.replaced(token, by_);
  }

 private:
  TextPattern pattern_;
  std::string by_;
};

/// Takes up to `start` and `stop` characters of one kind off the ends.
class Strip : public TokenDecoderStep {
 public:
  Strip(std::string what, int64_t start, int64_t stop)
      : what_(std::move(what)), start_(start), stop_(stop) {}
  void apply(Tokens& tokens, bool) const override {
    for (auto& token : tokens) {
      for (int64_t i = 0; i < start_ && token.starts_with(what_); ++i) token.erase(0, what_.size());
      for (int64_t i = 0; i < stop_ && token.ends_with(what_); ++i) {
        token.resize(token.size() - what_.size());
      }
    }
  }

 private:
  std::string what_;
  int64_t start_, stop_;
};

/// Words joined by spaces, continuations glued to what precedes them.
class WordPiece : public TokenDecoderStep {
 public:
  WordPiece(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void apply(Tokens& tokens, bool) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i > 0) {
        if (token.starts_with(prefix_)) {
          token.erase(0, prefix_.size());
        } else {
          token.insert(token.begin(), ' ');
        }
      }
      if (cleanup_) clean_up(token);
    }
  }

 private:
  static void clean_up(std::string& token) {
    static constexpr std::pair<std::string_view, std::string_view> kReplacements[] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (const auto& [from, to] : kReplacements) replace_all(token, from, to);
  }

  std::string prefix_;
  bool cleanup_;
};

std::unique_ptr<TokenDecoderStep> read_step(const std::string& type, const JsonPlace& place) {
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Metaspace") {
    const bool never = place.find("prepend_scheme") && place.text("prepend_scheme") == "never";
    const bool drops_first = !never && place.flag("add_prefix_space", true);
    return std::make_unique<Metaspace>(place.character("replacement"), drops_first);
  }
  if (type == "Replace") {
    return std::make_unique<Replace>(TextPattern(place), place.text("content"));
  }
  if (type == "Strip") {
    return std::make_unique<Strip>(place.character("content"), place.whole_number("start"),
                                   place.whole_number("stop"));
  }
  return std::make_unique<WordPiece>(place.text("prefix"), place.flag("cleanup"));
}

}  // namespace

TokenDecoder::TokenDecoder(const JsonPlace& place) : joins_by_spaces_(false) { add(place); }

void TokenDecoder::add(const JsonPlace& place) {
  const std::string type = place.type("decoder", kSupported);
  if (type == "Sequence") {
    for (const JsonPlace& step : place.list("decoders")) add(step);
  } else if (!type.empty()) {
    steps_.push_back(read_step(type, place));
  }
}

std::string TokenDecoder::decode(std::vector<std::string> tokens, bool repair) const {
  for (const auto& step : steps_) step->apply(tokens, repair);
  std::string text;
  for (const auto& token : tokens) {
    if (joins_by_spaces_ && &token != &tokens.front()) text += ' ';
    text += token;
  }
  return text;
}

}  // namespace megalith
