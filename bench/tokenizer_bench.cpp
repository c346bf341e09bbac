// Times encoding without start-up, by GPT-2's two files or a tokenizer.json: for each line on
// standard input, encodes the documents once and prints processor seconds and the number of ids.
//
// bench/tokenizers.py drives it, so that measurements alternate with those of other tokenizers in
// one run. Documents are cut at the first line end after every 10,000 bytes, there as here.
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "megalith/core/atomic_file.hpp"
#include "megalith/tokenizer/tokenizer.hpp"

namespace {

constexpr size_t kDocumentBytes = 10'000;

std::vector<std::string> cut_into_documents(const std::string& text) {
  std::vector<std::string> documents;
  for (size_t begin = 0; begin < text.size();) {
    const size_t line_end = text.find('\n', begin + kDocumentBytes);
    const size_t end = line_end == std::string::npos ? text.size() : line_end + 1;
    documents.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return documents;
}

megalith::TokenizerConfig config_of(const std::vector<std::string>& files) {
  megalith::TokenizerConfig config;
  if (files.size() == 1) {
    config.tokenizer_type = "HuggingFaceTokenizer";
    config.tokenizer_model = files[0];
  } else {
    config.tokenizer_type = "GPT2BPETokenizer";
    config.vocab_file = files[0];
    config.merge_file = files[1];
  }
  return config;
}

int run(const std::vector<std::string>& tokenizer_files, const std::string& file) {
  const auto tokenizer = megalith::make_tokenizer(config_of(tokenizer_files));
  const auto documents = cut_into_documents(megalith::read_text_file(file));
  std::vector<int32_t> ids;
  for (int c; (c = std::getchar()) != EOF;) {
    if (c != '\n') continue;
    size_t num_ids = 0;
    const std::clock_t start = std::clock();
    for (const auto& document : documents) {
      ids.clear();
      tokenizer->append_ids(document, ids);
      num_ids += ids.size();
    }
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    fmt::print("{} {}\n", seconds, num_ids);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    fmt::print(stderr,
               "usage: tokenizer_bench VOCAB_FILE MERGE_FILE TEXT_FILE\n"
               "       tokenizer_bench TOKENIZER_JSON TEXT_FILE\n");
    return 2;
  }
  try {
    return run({argv + 1, argv + argc - 1}, argv[argc - 1]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "tokenizer_bench: {}\n", error.what());
    return 1;
  }
}
