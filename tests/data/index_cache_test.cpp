#include "megalith/data/index_cache.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "megalith/core/error.hpp"
#include "megalith/data/indexed_dataset.hpp"
#include "megalith/data/split_dataset.hpp"
#include "tests/data/golden_json.hpp"

namespace megalith {
namespace {

using testing::golden;
using testing::Json;
using testing::MemoryFolder;

const std::vector<std::string> kGptParts = {"document_index", "sample_index", "shuffle_index"};

DatasetDescription description_of(const Json& json) {
  DatasetDescription description{.dataset_path = json.at("dataset_path"),
                                 .num_samples = json.at("num_samples").get<int64_t>(),
                                 .split = testing::split_named(json.at("index_split")),
                                 .seed = json.at("random_seed"),
                                 .sequence_length = json.at("sequence_length"),
                                 .split_text = json.at("split").get<std::string>(),
                                 .matrix = {},
                                 .tokenizer_json = json.at("tokenizer").dump()};
  description.matrix = split_matrix(parse_split(*description.split_text));
  return description;
}

/// Every file of the row is there with its bytes; nothing else is, but our note.
void expect_files(const MemoryFolder& folder, const Json& row) {
  for (const auto& [name, facts] : row.at("files").items()) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(std::filesystem::exists(folder.path(name)));
    const std::string bytes = read_text_file(folder.path(name));
    EXPECT_EQ(bytes.size(), facts.at("bytes").get<size_t>());
    EXPECT_EQ(sha256_hex(bytes), facts.at("sha256"));
  }
  size_t files = 0;
  for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(folder.path())) {
    ++files;
  }
  EXPECT_EQ(files, row.at("files").size() + 1);
}

void expect_gpt_row(const Json& row) {
  const Json json = Json::parse(row.at("description").get<std::string>());
  const DatasetDescription description = description_of(json);
  const std::string text = description_text(description);
  EXPECT_EQ(text, row.at("description").get<std::string>());
  EXPECT_EQ(md5_hex(text), row.at("md5"));

  const auto lengths = testing::lcg_numbers(row.at("lengths_lcg"));
  const auto bounds = description.matrix.at(static_cast<size_t>(description.split)).value();
  const GptIndexRequest request{.sequence_length = description.sequence_length,
                                .num_samples = description.num_samples,
                                .seed = description.seed};
  const Interval interval = split_interval(bounds, static_cast<int64_t>(lengths.size()));
  const GptIndex index = build_gpt_index(lengths, interval, request);
  const MemoryFolder folder;
  const IndexCache cache(folder.path(), "GPTDataset", description.split, text,
                         gpt_fingerprint(lengths, interval, request));
  cache.store(kGptParts, {index.documents, index.samples, index.shuffle});
  expect_files(folder, row);
}

void expect_blend_row(const Json& row) {
  const Json json = Json::parse(row.at("description").get<std::string>());
  std::vector<DatasetDescription> children;
  for (const auto& child : json.at("datasets")) children.push_back(description_of(child));
  const auto weights = json.at("weights").get<std::vector<double>>();
  const int64_t size = json.at("size");
  const std::string text = blend_description_text(children, Split::kTrain, weights, size);
  EXPECT_EQ(text, row.at("description").get<std::string>());
  EXPECT_EQ(md5_hex(text), row.at("md5"));
  const BlendIndex index = blend_by_weight(weights, size);
  const MemoryFolder folder;
  const IndexCache cache(folder.path(), "BlendedDataset", Split::kTrain, text, "{}");
  cache.store({"dataset_index", "dataset_sample_index"}, {index.dataset, index.sample});
  expect_files(folder, row);
}

/// The golden row names no data: its numbers are those of indexed/bert_docs.
void expect_bert_row(const Json& row) {
  const Json json = Json::parse(row.at("description").get<std::string>());
  const DataConfig config{.split = json.at("split").get<std::string>()};
  const DatasetRequest run{.kind = DatasetKind::kBert,
                           .sequence_length = json.at("sequence_length"),
                           .seed = json.at("random_seed"),
                           .tokenizer_json = json.at("tokenizer").dump()};
  DatasetDescription description = describe_dataset(config, run);
  description.dataset_path = json.at("dataset_path");
  description.num_samples = json.at("num_samples").get<int64_t>();
  description.split = testing::split_named(json.at("index_split"));
  const std::string text = description_text(description);
  EXPECT_EQ(text, row.at("description").get<std::string>());
  EXPECT_EQ(md5_hex(text), row.at("md5"));

  const IndexedDataset data(testing::golden_path("indexed/bert_docs"));
  const auto& share = description.matrix.at(static_cast<size_t>(description.split));
  const Interval interval = split_interval(share.value(), data.num_documents());
  const auto all = data.document_array().to_vector();
  const DocumentBounds bounds(all.data() + interval.first, all.data() + interval.second + 1);
  const BertIndexRequest request{.sequence_length = run.sequence_length,
                                 .num_samples = description.num_samples,
                                 .seed = run.seed};
  const MemoryFolder folder;
  const IndexCache cache(folder.path(), kBertClass, std::nullopt, text,
                         bert_fingerprint(data.sequence_lengths(), bounds, request));
  cache.store({"sample_index"}, {build_bert_mapping(data.sequence_lengths(), bounds, request)});
  expect_files(folder, row);
}

TEST(IndexCache, NamesDescriptionsAndBytesAreUpstreams) {
  const Json file = golden("cache_names.json");
  size_t compared = 0;
  for (const auto& row : file.at("cases")) {
    SCOPED_TRACE(row.at("name").get<std::string>());
    if (row.at("class") == "GPTDataset") expect_gpt_row(row);
    if (row.at("class") == "BlendedDataset") expect_blend_row(row);
    if (row.at("class") == kBertClass) expect_bert_row(row);
    ++compared;
  }
  EXPECT_EQ(compared, 5U);
}

TEST(IndexCache, PathsAreWrittenAsPythonWritesThem) {
  DatasetDescription description{.dataset_path = "d\xc3\xa9j\xc3\xa0/\"vu\"\t\xf0\x9f\x98\x80",
                                 .sequence_length = 8};
  // json.dumps("déjà/\"vu\"\t😀")
  EXPECT_NE(description_text(description)
                .find(R"("dataset_path": "d\u00e9j\u00e0/\"vu\"\t\ud83d\ude00",)"),
            std::string::npos);
  EXPECT_NE(description_text(description).find("\"split\": null,\n    \"split_matrix\": null,"),
            std::string::npos);
  description.dataset_path = "\xff";
  EXPECT_THROW(description_text(description), UsageError);
}

class CacheOfTwo : public ::testing::Test {
 protected:
  IndexCache cache(const std::string& source = R"({"a": 1})") const {
    return {folder_.path("made/on/the/way"), "GPTDataset", Split::kTrain, "{}", source};
  }
  std::vector<IntegerArray> arrays() const {
    return {IntegerArray(std::vector<int32_t>{1, 2, 3, 4}, 2),
            IntegerArray(std::vector<uint32_t>{5, 6})};
  }
  /// Loads or builds; true when it built.
  bool builds(const IndexCache& from, IndexRole role = IndexRole::kBuild) {
    bool built = false;
    notice_.clear();
    const auto result = load_or_build(
        &from, role, parts_, [&] { return built = true, arrays(); },
        [&](const std::string& line) { notice_ = line; });
    EXPECT_EQ(result.size(), 2U);
    EXPECT_EQ(result[0][3], 4);
    EXPECT_EQ(result[1][1], 6);
    return built;
  }
  void change(const std::string& path, size_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put('\x7f');
  }

  MemoryFolder folder_;
  std::vector<std::string> parts_ = {"first", "second"};
  std::string notice_;
};

TEST_F(CacheOfTwo, IsBuiltOnce) {
  EXPECT_TRUE(builds(cache()));
  EXPECT_EQ(notice_, "");
  EXPECT_FALSE(builds(cache()));
  EXPECT_FALSE(builds(cache(), IndexRole::kLoadOrBuildPrivately));
}

TEST_F(CacheOfTwo, IsNotWrittenByThoseWhoOnlyRead) {
  EXPECT_TRUE(builds(cache(), IndexRole::kLoadOrBuildPrivately));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(CacheOfTwo, IsBuiltAgainWhenTheDataHaveChanged) {
  EXPECT_TRUE(builds(cache()));
  EXPECT_TRUE(builds(cache(R"({"a": 2})")));
  EXPECT_NE(notice_.find("has changed"), std::string::npos);
  EXPECT_FALSE(builds(cache(R"({"a": 2})")));
}

TEST_F(CacheOfTwo, IsBuiltAgainWhenAFileIsForeignChangedOrCut) {
  const auto spoils = [this](const std::function<void()>& spoil) {
    builds(cache());
    spoil();
    EXPECT_TRUE(builds(cache()));
    EXPECT_NE(notice_, "");
    EXPECT_FALSE(builds(cache()));
  };
  spoils([&] { std::filesystem::remove(cache().path("megalith.json")); });
  spoils([&] { change(cache().path("megalith.json"), 3); });
  spoils([&] { std::filesystem::remove(cache().path("second.npy")); });
  spoils([&] { change(cache().path("first.npy"), 128); });
  spoils([&] { change(cache().path("first.npy"), 20); });
  spoils([&] { std::filesystem::resize_file(cache().path("second.npy"), 130); });
  spoils([&] { std::filesystem::resize_file(cache().path("megalith.json"), 0); });
}

TEST_F(CacheOfTwo, MayBeBuiltByManyAtOnce) {
  std::vector<std::thread> builders;
  for (int i = 0; i < 8; ++i) {
    builders.emplace_back([this] {
      for (int round = 0; round < 5; ++round) {
        const auto result = load_or_build(std::make_unique<IndexCache>(cache()).get(),
                                          IndexRole::kBuild, parts_, [&] { return arrays(); }, {});
        EXPECT_EQ(result[0][3], 4);
      }
    });
  }
  for (auto& builder : builders) builder.join();
  EXPECT_FALSE(builds(cache()));
}

TEST_F(CacheOfTwo, SaysWhereItCannotWrite) {
  std::ofstream(folder_.path("made")) << "a file where a folder should be";
  try {
    builds(cache());
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("--data-cache-path"), std::string::npos);
  }
}

}  // namespace
}  // namespace megalith
