// checkpoint import-hf and export-hf of BERT from outside: the numbers that transformers computes,
// folders that its classes read, and what it cannot represent.
//
// Models and numbers: tests/oracles/hugging_face_bert.py. What needs Python is skipped where .venv
// has no transformers. Training from an import: tests/e2e/bert_test.cpp.
#include <gmock/gmock.h>

#include <regex>

#include "e2e/imported_models.hpp"

namespace megalith::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

const std::string kBertGolden =
    std::string(MEGALITH_SOURCE_DIR) + "/tests/golden/hugging_face_bert/";

class HuggingFaceBertRun : public ImportedModels {
 protected:
  static void SetUpTestSuite() {
    TinyRun::SetUpTestSuite();
    import_models(kBertGolden);
  }

  /// The loss, or the mean absolute state, that a command printed; NaN when it printed none.
  static double number_in(const std::string& text) {
    std::smatch found;
    const bool has = std::regex_search(text, found, std::regex("(loss|states) +([0-9.]+) in fp32"));
    return has ? std::stod(found[2]) : std::numeric_limits<double>::quiet_NaN();
  }
  static Json oracle(const Words& words) {
    const auto result = run_oracle("hugging_face_bert.py", words);
    EXPECT_EQ(result.status, 0) << result.err;
    return result.status == 0 ? Json::parse(result.out) : Json();
  }
};

TEST_F(HuggingFaceBertRun, ImportPrintsTheNumberThatTransformersComputes) {
  for (const auto& [name, numbers] : fixed().items()) {
    const std::string& text = report(name);
    const double expected = numbers.value("loss", numbers.at("states").get<double>());
    EXPECT_NEAR(number_in(text), expected, 2e-5) << name;
    EXPECT_THAT(text, AllOf(HasSubstr(numbers.at("class").get<std::string>()),
                            HasSubstr("each given back bit for bit")));
    EXPECT_THAT(checkpoint({"inspect", "--verify", imported(name)}),
                HasSubstr("every byte is as it was written"));
  }
}

TEST_F(HuggingFaceBertRun, WhatIsExportedIsTheSourceForTransformers) {
  if (!has_transformers()) GTEST_SKIP() << "no Python with transformers in .venv";
  Words pairs{"--compare"}, folders{"--describe"};
  for (const auto& [name, numbers] : fixed().items()) {
    const std::string out = file("out_" + name);
    const std::string text = checkpoint({"export-hf", "--load", imported(name), "--save", out});
    EXPECT_THAT(text, HasSubstr(numbers.at("class").get<std::string>()));
    pairs = pairs + Words{kBertGolden + name, out};
    folders = folders + Words{out};
  }
  const Json differences = oracle(pairs), described = oracle(folders);
  ASSERT_EQ(differences.size(), fixed().size());
  size_t i = 0;
  for (const auto& [name, numbers] : fixed().items()) {
    EXPECT_EQ(differences[i], 0.0) << name;
    EXPECT_EQ(described[i].at("class"), numbers.at("class"));
    EXPECT_EQ(described[i].at("unmatched"), Json::array()) << name;
    ++i;
  }
}

TEST_F(HuggingFaceBertRun, AClassOfFewerHeadsIsReadByTransformers) {
  const std::string out = file("encoder");
  const std::string text = checkpoint({"export-hf", "--load", imported("pretraining"), "--save",
                                       out, "--architecture", "BertModel"});
  EXPECT_THAT(text, HasSubstr("BertModel"));
  if (!has_transformers()) GTEST_SKIP() << "no Python with transformers in .venv";
  const Json seen = oracle({"--describe", out})[0];
  EXPECT_EQ(seen.at("unmatched"), Json::array());
  EXPECT_NEAR(seen.at("states").get<double>(), fixed().at("pretraining").at("states").get<double>(),
              1e-6);
}

TEST_F(HuggingFaceBertRun, MistakesAreUsageErrorsAndLeaveNothing) {
  const std::string target = file("never");
  const auto refused = [&](const Words& words, const std::string& text) {
    const auto result =
        run_process(Words{MEGALITH_BINARY, "checkpoint"} + words + Words{"--save", target});
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_FALSE(std::filesystem::exists(target));
  };
  const Words load{"export-hf", "--load", imported("masked_lm")};
  refused(load + Words{"--architecture", "BertForPreTraining"}, "has no pooler, binary_head");
  refused(load + Words{"--architecture", "RobertaModel"}, "supported are BertForPreTraining");
  refused(load + Words{"--model-type", "llama"}, "it must be a decoder");
  refused({"import-hf", kBertGolden + "model", "--max-position-embeddings", "6"},
          "the positions of BERT are weights");
}

}  // namespace
}  // namespace megalith::testing
