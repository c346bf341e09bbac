// megalith generate from outside: a saved model, real processes, and the same text from every
// layout. The model is a random one in double that this test saves; ids are text (NullTokenizer).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "megalith/checkpoint/model_io.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/models/gpt.hpp"
#include "megalith/tokenizer/tokenizer.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;

class Generate : public ::testing::Test {
 protected:
  /// 2 layers with wide initial weights over the ids 0 to 50, which the last one ends.
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    ModelConfig config;
    config.num_layers = 2;
    config.hidden_size = 32;
    config.num_attention_heads = 4;
    config.max_position_embeddings = 40;
    config.init_method_std = 0.4;
    config.vocab_size = 51;
    TokenizerConfig tokenizer;
    tokenizer.tokenizer_type = "NullTokenizer";
    tokenizer.vocab_size = 50;
    const ProcessGroups groups;
    const GptModel model(config, groups, at::kDouble, at::kCPU, 5);
    const nlohmann::json meta{{"model", fields_to_json(config.shape_fields())},
                              {"tokenizer", fields_to_json(tokenizer.fields())},
                              {"iteration", 7}};
    save_checkpoint(save(), 7, weights_of(model), meta, groups);
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string save() { return folder_->path("save"); }
  static std::string file(const std::string& name) { return folder_->path(name); }

  static ProcessResult generate(Words flags, int num_ranks = 1, const std::string& input = "") {
    Words words{MEGALITH_BINARY};
    if (num_ranks > 1) {
      words.insert(words.end(), {"launch", "--nproc-per-node", fmt::format("{}", num_ranks)});
    }
    words.insert(words.end(), {"generate", "--load", save(), "--num-threads", "1"});
    words.insert(words.end(), flags.begin(), flags.end());
    return run_process(words, {.input = input}, 120);
  }

 private:
  static inline std::unique_ptr<TemporaryFolder> folder_;
};

const Words kPromptFlags{"--prompt", "5 1 44 2 17", "3", "", "20 21", "--max-new-tokens", "16"};

TEST_F(Generate, EveryLayoutWritesTheSame) {
  for (const Words& how : {Words{"--greedy"}, Words{"--num-samples", "2", "--top-p", "0.9"}}) {
    std::vector<std::string> texts;
    const std::vector<std::pair<int, Words>> runs{
        {1, {}},
        {1, {"--no-cache", "--micro-batch-size", "1"}},
        {2, {"--tensor-model-parallel-size", "2"}},
        {2, {}},
        {4, {"--tensor-model-parallel-size", "2", "--micro-batch-size", "3"}}};
    for (const auto& [ranks, flags] : runs) {
      const std::string output = file("out.jsonl");
      const auto result = generate(kPromptFlags + how + flags + Words{"--output", output}, ranks);
      ASSERT_EQ(result.status, 0) << result.err;
      texts.push_back(read_text_file(output));
    }
    EXPECT_THAT(texts, ::testing::Each(texts[0]));
    EXPECT_THAT(texts[0], HasSubstr("{\"prompt\":\"5 1 44 2 17\",\"sample\":0,\"text\":\""));
  }
}

TEST_F(Generate, PromptsComeFromFlagsFilesAndStandardInput) {
  std::ofstream(file("prompts.txt")) << "3\n\n5 6";  // the last line has no end
  const Words greedy{"--greedy", "--max-new-tokens", "8"};
  const auto from_file = generate(greedy + Words{"--prompts-file", file("prompts.txt")});
  const auto from_flags = generate(greedy + Words{"--prompt", "3", "", "5 6"});
  ASSERT_EQ(from_file.status, 0) << from_file.err;
  EXPECT_EQ(from_file.out, from_flags.out);
  EXPECT_THAT(from_file.out, HasSubstr("--- prompt 3 of 3, sample 1 of 1 ---\n5 6 "));

  // A line that cannot be continued gets a message, and the next one its turn.
  const auto talk = generate(greedy + Words{"--interactive"}, 1, "3\n77\n5 6");
  EXPECT_EQ(talk.status, 0) << talk.err;
  EXPECT_THAT(talk.err, HasSubstr("'77' is not a token id"));
  const auto fine = generate(greedy + Words{"--interactive"}, 2, "3\n5 6");
  ASSERT_EQ(fine.status, 0) << fine.err;
  std::istringstream lines(fine.out);
  std::string first, second;
  std::getline(lines, first);
  std::getline(lines, second);
  first.erase(0, first.find(']') == std::string::npos ? 0 : first.find(']') + 2);
  EXPECT_THAT(from_file.out, HasSubstr("3 " + first + "\n")) << fine.out;
}

TEST_F(Generate, MistakesAreUsageErrorsThatSayWhatToDo) {
  const auto refused = [](const ProcessResult& result, const std::string& text) {
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_EQ(result.out, "");
  };
  refused(generate({}), "no prompt");
  refused(generate({"--prompt", "3", "--load", file("nowhere")}), "nowhere");
  refused(generate({"--prompt", "1 2 3", "--max-new-tokens", "38"}), "at most 37 new tokens");
  refused(generate({"--prompt", "3", "--greedy", "--top-k", "5"}), "--top-k 5");
  refused(generate({"--prompt", "3", "--num-layers", "2"}), "the checkpoint says");
  refused(generate({"--prompt", "3", "--vocab-size", "60"}), "61 entries");
  refused(generate({"--prompt", "3", "--prompts-file", file("prompts.txt")}), "give one");
  refused(generate({"--prompts-file", file("missing.txt")}), "missing.txt");
}

}  // namespace
}  // namespace megalith::testing
