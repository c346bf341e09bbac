// Indexed datasets against upstream's own files, and against every way in which a file can be
// broken.
#include "megalith/core/atomic_file.hpp"
#include "megalith/data/indexed_dataset.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "megalith/core/error.hpp"
#include "megalith/data/indexed_dataset_writer.hpp"
#include "megalith/data/verify_indexed_dataset.hpp"
#include "tests/data/test_folder.hpp"

namespace megalith {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::TestFolder;
using Json = nlohmann::json;
using Documents = std::vector<std::vector<std::vector<int64_t>>>;

const std::string kGolden = std::string(MEGALITH_SOURCE_DIR) + "/tests/golden/upstream/";

const Json& golden() {
  static const Json file = Json::parse(read_text_file(kGolden + "indexed.json"));
  return file;
}

std::vector<int64_t> to_vector(const PackedArray<int64_t>& array) { return array.to_vector(); }

Documents read_documents(const IndexedDataset& dataset) {
  Documents documents;
  for (int64_t d = 0; d < dataset.num_documents(); ++d) {
    auto& document = documents.emplace_back();
    for (int64_t s = dataset.document_array()[d]; s < dataset.document_array()[d + 1]; ++s) {
      document.push_back(dataset.read(s));
    }
  }
  return documents;
}

/// A pair of files copied into a folder, for tests that break them.
struct Copy {
  TestFolder folder;
  std::string index, tokens;

  explicit Copy(const std::string& name)
      : index(read_text_file(kGolden + "indexed/" + name + ".idx")),
        tokens(read_text_file(kGolden + "indexed/" + name + ".bin")) {}

  std::string prefix() const {
    folder.write("data.idx", index);
    folder.write("data.bin", tokens);
    return folder.path("data");
  }
  template <class T>
  void put(int64_t offset, T value) {
    std::memcpy(index.data() + offset, &value, sizeof(T));
  }
  std::string opening_error() const {
    const std::string where = prefix();
    return message_of<UsageError>([&] { const IndexedDataset dataset(where); });
  }
  std::string verify_error(std::optional<int64_t> vocab_size = std::nullopt) const {
    const std::string where = prefix();
    return message_of<UsageError>([&] { verify_indexed_dataset(where, vocab_size); });
  }
};

TEST(IndexedDataset, ReadsUpstreamsFilesExactly) {
  const Json& file = golden();
  ASSERT_EQ(file["cases"].size(), 10U);
  for (const auto& expected : file["cases"]) {
    SCOPED_TRACE(expected["name"].get<std::string>());
    const IndexedDataset dataset(kGolden + expected["prefix"].get<std::string>());
    EXPECT_EQ(token_type_name(dataset.token_type()), expected["dtype"].get<std::string>());
    EXPECT_EQ(static_cast<int>(dataset.token_type()), expected["dtype_code"].get<int>());
    EXPECT_EQ(dataset.num_sequences(), expected["sequence_count"].get<int64_t>());
    const auto lengths = dataset.sequence_lengths();
    EXPECT_EQ(std::vector<int32_t>(lengths.begin(), lengths.end()),
              expected["sequence_lengths"].get<std::vector<int32_t>>());
    EXPECT_EQ(to_vector(dataset.sequence_pointers()),
              expected["sequence_pointers"].get<std::vector<int64_t>>());
    EXPECT_EQ(to_vector(dataset.document_array()),
              expected["document_array"].get<std::vector<int64_t>>());
    EXPECT_EQ(read_documents(dataset), expected["documents"].get<Documents>());
    const auto modes = expected.value("sequence_modes", std::vector<int8_t>());
    EXPECT_EQ(dataset.sequence_modes().to_vector(), modes);
    verify_indexed_dataset(dataset.prefix());
  }
}

TEST(IndexedDataset, WritesUpstreamsBytes) {
  for (const auto& expected : golden()["cases"]) {
    SCOPED_TRACE(expected["name"].get<std::string>());
    const TestFolder folder;
    IndexedDatasetWriter writer(folder.path("out"),
                                static_cast<TokenType>(expected["dtype_code"].get<int>()));
    size_t sequence = 0;
    for (const auto& document : expected["documents"].get<Documents>()) {
      for (const auto& ids : document) {
        writer.append_sequence(ids);
        if (expected.contains("sequence_modes")) {
          writer.set_mode(expected["sequence_modes"][sequence++].get<int8_t>());
        }
      }
      writer.end_document();
    }
    writer.commit();
    EXPECT_EQ(folder.sha256("out.bin"), expected["bin_sha256"].get<std::string>());
    EXPECT_EQ(folder.sha256("out.idx"), expected["idx_sha256"].get<std::string>());
    EXPECT_THAT(folder.names(), ::testing::ElementsAre("out.bin", "out.idx"));
  }
}

TEST(IndexedDataset, MergesToUpstreamsBytes) {
  int64_t merged = 0;
  for (const auto& expected : golden()["cases"]) {
    if (!expected.contains("merged_from")) continue;
    ++merged;
    const TestFolder folder;
    std::vector<std::string> inputs;
    for (const auto& name : expected["merged_from"]) {
      inputs.push_back(kGolden + "indexed/" + name.get<std::string>());
    }
    merge_indexed_datasets(folder.path("out"), inputs);
    EXPECT_EQ(folder.sha256("out.bin"), expected["bin_sha256"].get<std::string>());
    EXPECT_EQ(folder.sha256("out.idx"), expected["idx_sha256"].get<std::string>());
  }
  EXPECT_EQ(merged, 2);
}

TEST(IndexedDataset, MergeKeepsModesOrRefuses) {
  const TestFolder folder;
  const std::string with = kGolden + "indexed/modes_i32", without = kGolden + "indexed/single_i32";
  merge_indexed_datasets(folder.path("twice"), {with, with});
  EXPECT_THAT(IndexedDataset(folder.path("twice")).sequence_modes().to_vector(),
              ::testing::ElementsAre(0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1));
  EXPECT_THAT(message_of<UsageError>([&] {
                merge_indexed_datasets(folder.path("mixed"), {with, without});
              }),
              HasSubstr("6 of "));
  EXPECT_THAT(folder.names(), ::testing::ElementsAre("twice.bin", "twice.idx"));
}

TEST(IndexedDataset, MergeRefusesDifferentTypesAndItsOwnOutput) {
  const TestFolder folder;
  const std::string u16 = kGolden + "indexed/single_u16", i32 = kGolden + "indexed/single_i32";
  EXPECT_THAT(message_of<UsageError>([&] {
                merge_indexed_datasets(folder.path("x"), {u16, i32});
              }),
              ::testing::AllOf(HasSubstr(i32 + ": holds int32"), HasSubstr("holds uint16")));
  const Copy copy("single_u16");
  const std::string prefix = copy.prefix();
  EXPECT_THAT(message_of<UsageError>([&] {
                merge_indexed_datasets(prefix, {prefix, u16});
              }),
              HasSubstr("both an input and the output"));
  EXPECT_EQ(copy.folder.read("data.bin"), copy.tokens);
}

TEST(IndexedDataset, ChoosesTheTypeByTheVocabulary) {
  for (const auto& row : golden()["dtype_choice"]) {
    std::optional<int64_t> size;
    if (!row["vocab_size"].is_null()) size = row["vocab_size"].get<int64_t>();
    EXPECT_EQ(token_type_name(token_type_for_vocabulary(size)), row["dtype"].get<std::string>());
  }
}

TEST(IndexedDataset, ReadsPartsOfASequence) {
  const IndexedDataset dataset(kGolden + "indexed/single_u16");
  EXPECT_THAT(dataset.read(2, 3, 4), ::testing::ElementsAre(54739, 30302, 25464, 53754));
  EXPECT_THAT(dataset.read(2, 8), ::testing::IsEmpty());
  EXPECT_THROW(dataset.read(2, 5, 4), std::out_of_range);
  EXPECT_THROW(dataset.read(2, 9), std::out_of_range);
  EXPECT_THROW(dataset.read(2, -1, 1), std::out_of_range);
  EXPECT_THROW(dataset.read(6), std::out_of_range);
  EXPECT_THROW(dataset.read(-1), std::out_of_range);
}

TEST(IndexedDataset, FindsTheDocumentOfASequence) {
  const IndexedDataset dataset(kGolden + "indexed/empty_parts_u16");  // bounds 0 1 1 2 4 6 8
  std::vector<int64_t> documents;
  for (int64_t s = 0; s < dataset.num_sequences(); ++s) {
    documents.push_back(dataset.document_of_sequence(s));
  }
  EXPECT_THAT(documents, ::testing::ElementsAre(0, 2, 3, 3, 4, 4, 5, 5));
}

TEST(IndexedDataset, WidensEveryIntegerType) {
  for (const auto type : {TokenType::kUint8, TokenType::kInt8, TokenType::kInt16,
                          TokenType::kUint16, TokenType::kInt32, TokenType::kInt64}) {
    const TestFolder folder;
    IndexedDatasetWriter writer(folder.path("out"), type);
    writer.append_sequence(std::vector<int64_t>{0, 1, 127});
    writer.end_document();
    EXPECT_EQ(writer.num_tokens(), 3);
    writer.commit();
    const IndexedDataset dataset(folder.path("out"));
    EXPECT_EQ(dataset.token_type(), type);
    EXPECT_THAT(dataset.read(0), ::testing::ElementsAre(0, 1, 127));
  }
}

TEST(IndexedDataset, RefusesEveryTruncation) {
  for (const char* name : {"multi_u16", "empty_parts_u16", "modes_i32"}) {
    const Copy whole(name);
    for (size_t size = 0; size < whole.index.size(); ++size) {
      Copy cut(name);
      cut.index.resize(size);
      const bool only_modes_are_gone =
          std::string(name) == "modes_i32" && size == whole.index.size() - 6;
      EXPECT_EQ(cut.opening_error().empty(), only_modes_are_gone) << name << " .idx " << size;
    }
    for (size_t size = 0; size < whole.tokens.size(); ++size) {
      Copy cut(name);
      cut.tokens.resize(size);
      EXPECT_THAT(cut.opening_error(),
                  ::testing::ContainsRegex("data.bin:? has " + std::to_string(size) + " bytes"))
          << name;
    }
    Copy longer(name);
    longer.tokens += "xx";
    EXPECT_THAT(longer.opening_error(), HasSubstr("data.bin: has "));
    longer.tokens = whole.tokens;
    longer.index += "x";
    EXPECT_THAT(longer.opening_error(), HasSubstr("data.idx: has "));
  }
}

TEST(IndexedDataset, NamesTheBrokenFieldOfTheHeader) {
  const auto broken = [](int64_t offset, auto value) {
    Copy copy("multi_u16");
    copy.put(offset, value);
    return copy.opening_error();
  };
  EXPECT_THAT(broken(0, 'X'), HasSubstr("is no index file: bytes 0 to 8 are 58 4d"));
  EXPECT_THAT(broken(8, '\1'), HasSubstr("is no index file"));
  EXPECT_THAT(broken(9, uint64_t{2}), HasSubstr("version 2 at offset 9"));
  EXPECT_THAT(broken(17, uint8_t{0}), HasSubstr("type code 0 at offset 17"));
  EXPECT_THAT(broken(17, uint8_t{9}), HasSubstr("type code 9 at offset 17"));
  EXPECT_THAT(broken(17, uint8_t{6}), HasSubstr("means float64"));
  EXPECT_THAT(broken(17, uint8_t{4}), HasSubstr("data.bin: has 56 bytes"));
  EXPECT_THAT(broken(18, uint64_t{10}), HasSubstr("data.idx: has 190 bytes, expected"));
  EXPECT_THAT(broken(18, ~uint64_t{0}), HasSubstr("sequences at offset 18"));
  EXPECT_THAT(broken(26, uint64_t{0}), HasSubstr("document array of 0 entries at offset 26"));
  EXPECT_THAT(broken(26, ~uint64_t{0}), HasSubstr("entries at offset 26"));
  EXPECT_THAT(broken(34, int32_t{-1}), HasSubstr("sequence 0 has length -1 at offset 34"));
  Copy legacy("multi_u16");
  legacy.index = std::string("TNTIDX\0\0", 8) + std::string(40, '\0');
  EXPECT_THAT(legacy.opening_error(), HasSubstr("TNTIDX"));
}

TEST(IndexedDataset, NamesTheBrokenEntryOfTheArrays) {
  // multi_u16: 9 sequences of 3 2 1 2 5 1 4 7 3 tokens, 6 bounds 0 2 3 4 8 9: pointers at 70,
  // bounds at 142.
  const auto broken = [](int64_t offset, int64_t value) {
    Copy copy("multi_u16");
    copy.put(offset, value);
    return copy.verify_error();
  };
  EXPECT_THAT(broken(70, 2), HasSubstr("first sequence starts at byte 2 (offset 70)"));
  EXPECT_THAT(
      broken(70 + 8 * 4, 18),
      HasSubstr("sequence 4 is said to start at byte 18 (offset 102); the lengths before it "
                "give 16"));
  EXPECT_THAT(broken(70 + 8 * 8, 1000),
              HasSubstr("the last sequence starts at byte 1000 (offset 134)"));
  EXPECT_THAT(broken(142, 1), HasSubstr("starts with 1 at offset 142"));
  EXPECT_THAT(broken(142 + 8, 4),
              HasSubstr("document 1 is said to end at sequence 3 (offset 158)"));
  EXPECT_THAT(broken(142 + 8 * 5, 8), HasSubstr("ends with 8 at offset 182"));
}

TEST(IndexedDataset, NeverReadsOutsideItsBytes) {
  Copy copy("multi_u16");
  copy.put<int64_t>(70 + 8 * 4, int64_t{1} << 40);
  const IndexedDataset dataset(copy.prefix());
  EXPECT_THAT(message_of<UsageError>([&] { dataset.read(4); }),
              HasSubstr("sequence 4 is said to lie"));
  copy.put<int64_t>(70 + 8 * 4, -2);
  const IndexedDataset negative(copy.prefix());
  EXPECT_THAT(message_of<UsageError>([&] { negative.read(4); }),
              HasSubstr("sequence 4 is said to lie"));
}

TEST(IndexedDataset, VerifyNamesTheIdBeyondTheVocabulary) {
  const Copy copy("single_u16");
  EXPECT_EQ(copy.verify_error(65231), "");
  // Document 0 holds 38772 55312 65230 ...
  EXPECT_THAT(
      copy.verify_error(65230),
      ::testing::AllOf(HasSubstr("data.bin: id 65230 at byte 4"),
                       HasSubstr("(document 0, sequence 0, offset 2)"), HasSubstr("0 to 65229")));
  Copy negative("single_i32");
  const int32_t id = -5;
  std::memcpy(negative.tokens.data(), &id, sizeof(id));
  EXPECT_THAT(negative.verify_error(), HasSubstr("id -5 at byte 0 (document 0"));
}

TEST(IndexedDataset, VerifyCountsWhatItSaw) {
  const DatasetSurvey survey = verify_indexed_dataset(kGolden + "indexed/empty_parts_u16");
  EXPECT_EQ(survey.num_documents, 6);
  EXPECT_EQ(survey.empty_documents, 1);
  EXPECT_EQ(survey.empty_sequences, 1);
  EXPECT_EQ(survey.num_tokens, 24);
  EXPECT_EQ(survey.longest_document, 6);
  EXPECT_EQ(survey.largest_id, 463);
  EXPECT_FALSE(survey.document_end.has_value());
}

TEST(IndexedDataset, ASparseFileBeyondFourGigabytesReads) {
  // 3 sequences of 2^30 uint16 ids and a last one of 2: offsets need more than 32 bits.
  const TestFolder folder;
  constexpr int64_t kLong = int64_t{1} << 30;
  std::string index(reinterpret_cast<const char*>(index_magic().data()), 9);
  const auto put = [&](auto value) {
    index.append(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  put(uint64_t{1});
  put(uint8_t{8});
  put(uint64_t{4});
  put(uint64_t{2});
  for (const int64_t length : {kLong, kLong, kLong, int64_t{2}}) put(static_cast<int32_t>(length));
  for (int64_t i = 0; i < 4; ++i) put(2 * kLong * i);
  put(int64_t{0});
  put(int64_t{4});
  folder.write("big.idx", index);
  folder.write("big.bin", "");
  std::filesystem::resize_file(folder.path("big.bin"), static_cast<uintmax_t>(6 * kLong + 4));
  {
    std::fstream file(folder.path("big.bin"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(6 * kLong);
    file.write("\x34\x12\x78\x56", 4);
  }
  const IndexedDataset dataset(folder.path("big"));
  EXPECT_EQ(dataset.num_tokens(), 3 * kLong + 2);
  EXPECT_THAT(dataset.read(3), ::testing::ElementsAre(0x1234, 0x5678));
  EXPECT_THAT(dataset.read(2, kLong - 1, 1), ::testing::ElementsAre(0));
  check_index_arrays(dataset);
}

TEST(IndexedDataset, MissingFilesGiveAHint) {
  const Copy copy("single_u16");
  const std::string prefix = copy.prefix();
  const auto open = [](const std::string& name) {
    return message_of<UsageError>([&] { const IndexedDataset dataset(name); });
  };
  EXPECT_THAT(open(prefix + ".bin"), HasSubstr("give the path without its ending: " + prefix));
  EXPECT_THAT(open(prefix + "x"), HasSubstr("an indexed dataset is a pair"));
  copy.folder.write("corpus_text_document.idx", copy.index);
  EXPECT_THAT(open(copy.folder.path("corpus")), HasSubstr("did you mean"));
}

TEST(IndexedDatasetWriter, LeavesNothingWithoutCommit) {
  const TestFolder folder;
  {
    IndexedDatasetWriter writer(folder.path("out"), TokenType::kUint16);
    writer.append_sequence(std::vector<int32_t>{1, 2, 3});
    writer.end_document();
    writer.prepare();
    EXPECT_FALSE(std::filesystem::exists(folder.path("out.idx")));
  }
  EXPECT_THAT(folder.names(), ::testing::IsEmpty());
}

TEST(IndexedDatasetWriter, ReplacesAnOlderDataset) {
  const Copy copy("multi_u16");
  const std::string prefix = copy.prefix();
  IndexedDatasetWriter writer(prefix, TokenType::kInt32);
  writer.append_sequence(std::vector<int32_t>{7});
  writer.end_document();
  EXPECT_EQ(IndexedDataset(prefix).num_sequences(), 9);
  writer.commit();
  EXPECT_EQ(IndexedDataset(prefix).num_sequences(), 1);
}

TEST(IndexedDatasetWriter, RefusesIdsThatDoNotFit) {
  const TestFolder folder;
  IndexedDatasetWriter writer(folder.path("out"), TokenType::kUint16);
  EXPECT_THAT(message_of<RunError>([&] {
                writer.append_sequence(std::vector<int32_t>{1, 65536});
              }),
              HasSubstr("id 65536 does not fit"));
  EXPECT_THAT(message_of<RunError>([&] { writer.append_sequence(std::vector<int64_t>{-1}); }),
              HasSubstr("id -1 does not fit"));
  EXPECT_THAT(message_of<UsageError>([&] {
                const IndexedDatasetWriter lost(folder.path("no/such/out"), TokenType::kUint16);
              }),
              HasSubstr("there is no folder"));
}

TEST(IndexedDataset, ReadsADatasetMadeByMegatron) {
  const char* named = std::getenv("MEGALITH_TEST_DATA");
  const std::string data = named != nullptr ? named : MEGALITH_SOURCE_DIR "/../shared/data";
  const std::string prefix = data + "/megatron-indexed/meg-gpt2-openwebtext_text_document";
  if (!std::filesystem::exists(prefix + ".idx")) GTEST_SKIP() << prefix << " is absent";
  const DatasetSurvey survey = verify_indexed_dataset(prefix, 5000);
  EXPECT_EQ(survey.num_documents, 1000);
  EXPECT_EQ(survey.num_sequences, 1000);
  EXPECT_EQ(survey.num_tokens, 1361845);
  EXPECT_EQ(survey.document_end, 4999);
  const IndexedDataset dataset(prefix);
  int64_t end_marks = 0;
  for (int64_t s = 0; s < dataset.num_sequences(); ++s) {
    const auto ids = dataset.read(s);
    end_marks += std::count(ids.begin(), ids.end(), 4999);
  }
  EXPECT_EQ(end_marks, 1000);
}

}  // namespace
}  // namespace megalith
