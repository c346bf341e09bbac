// Files of torch.save, and hostile ones: what is in them comes out, nothing runs, nothing crashes.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cstring>

#include "megalith/checkpoint/torch_file.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"
#include "support/golden.hpp"
#include "support/temporary_folder.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using Kind = PickleValue::Kind;
using namespace std::string_literals;

std::string golden_file(const std::string& layout) {
  const auto path = testing::golden_path("upstream-checkpoints/" + layout + "/iter_0000007");
  const auto rank = fs::exists(path / "mp_rank_00") ? "mp_rank_00" : "mp_rank_00_000";
  return (path / rank / "model_optim_rng.pt").string();
}

std::string bytes_of(const std::string& layout) { return read_text_file(golden_file(layout)); }

/// A pickle and the bytes that its texts point into.
struct Parsed {
  explicit Parsed(std::string written)
      : text(std::move(written)), pickle("test", std::as_bytes(std::span(text))) {}
  std::string text;
  Pickle pickle;
  const PickleValue& root() const { return pickle.root(); }
  const PickleValue* find(const PickleValue& parent, std::string_view key) const {
    return pickle.find(parent, key);
  }
};

Parsed parse(std::string text) { return Parsed(std::move(text)); }

std::string refusal(const std::string& text) {
  return error_of<UsageError>([&] { parse(text); });
}

/// A stream of torch.save around a pickle, without storages.
std::string stream_of(const std::string& pickle) {
  return "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s + "\x80\x02M\xe9\x03."s +
         "\x80\x02}."s + pickle + "\x80\x02]."s;
}

std::string text_of(const std::string& text) {
  std::string pickled = "X";
  const auto size = static_cast<uint32_t>(text.size());
  pickled.append(reinterpret_cast<const char*>(&size), sizeof size);
  return pickled + text;
}

/// A float storage of `count` elements (less than 2^31).
std::string storage_of(int32_t count) {
  std::string pickled =
      "(" + text_of("storage") + "ctorch\nFloatStorage\n" + text_of("0") + text_of("cpu") + "J";
  pickled.append(reinterpret_cast<const char*>(&count), sizeof count);
  return pickled + "tQ";
}

std::string tensor_of(const std::string& storage, const std::string& shape_and_strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + "K\x00"s + shape_and_strides +
         "\x89"
         "ccollections\nOrderedDict\n)RtR";
}

TEST(Pickle, NumbersTextsAndContainers) {
  const auto pickle = parse(
      "\x80\x02}(" + text_of("a") + "K\x05" + text_of("b") + "J\xff\xff\xff\xff" + text_of("c") +
      "G\x3f\xf8\x00\x00\x00\x00\x00\x00"s + text_of("d") + "\x88" + text_of("e") + "N" +
      text_of("f") + "]" + text_of("g") + "\x8a\x09\1\1\1\1\1\1\1\1\1" + "u.");
  const auto& root = pickle.root();
  EXPECT_EQ(pickle.find(root, "a")->integer, 5);
  EXPECT_EQ(pickle.find(root, "b")->integer, -1);
  EXPECT_EQ(pickle.find(root, "c")->real, 1.5);
  EXPECT_EQ(pickle.find(root, "d")->kind, Kind::kBool);
  EXPECT_EQ(pickle.find(root, "e")->kind, Kind::kNone);
  EXPECT_EQ(pickle.find(root, "f")->kind, Kind::kList);
  EXPECT_EQ(pickle.find(root, "g")->kind, Kind::kObject);  // more than 64 bits
  EXPECT_EQ(pickle.find(root, "h"), nullptr);
}

TEST(Pickle, ACallIsNotMade) {
  TemporaryFolder folder;
  const std::string mark = folder.path("mark");
  const auto pickle = parse("cos\nsystem\n(" + text_of("touch " + mark) + "tR.");
  EXPECT_EQ(pickle.root().kind, Kind::kObject);
  EXPECT_EQ(pickle.root().text, "os.system");
  EXPECT_FALSE(fs::exists(mark));
}

TEST(Pickle, TheStateOfAnObjectIsReadable) {
  const auto pickle = parse("cargparse\nNamespace\n)\x81}" + text_of("lr") + "K\x03sb.");
  EXPECT_EQ(pickle.root().text, "argparse.Namespace");
  EXPECT_EQ(pickle.find(pickle.root(), "lr")->integer, 3);
}

TEST(Pickle, NestingCostsNoStack) {
  const size_t depth = 500'000;
  const auto pickle = parse(std::string(depth, ']') + std::string(depth - 1, 'a') + ".");
  EXPECT_EQ(pickle.root().items.size(), 1U);
}

TEST(Pickle, MemoryIsBounded) {
  EXPECT_THAT(refusal(std::string(kMaxPickleValues + 1, 'N') + "."), HasSubstr("values"));
  EXPECT_THAT(refusal("N" + std::string(kMaxPickleValues + 1, '2') + "."), HasSubstr("stack"));
  EXPECT_THAT(refusal(std::string(kMaxPickleValues + 1, '(') + "."), HasSubstr("marks"));
  EXPECT_THAT(refusal("N" + std::string(kMaxPickleValues + 1, '\x94') + "."),
              HasSubstr("remembers"));
  EXPECT_THAT(refusal("\x8d\xff\xff\xff\xff\xff\xff\xff\xff."), HasSubstr("middle of a value"));
  EXPECT_THAT(refusal(text_of(std::string(kMaxPickleBytes, 'x')) + "."), HasSubstr("longer than"));
}

TEST(Pickle, DamageIsNamedWithItsPlace) {
  EXPECT_EQ(refusal("K\x05z."),
            "test: its pickle cannot be read: at byte 2: instruction 0x7a is none that PyTorch "
            "writes");
  EXPECT_THAT(refusal(""), HasSubstr("at byte 0: it ends there"));
  EXPECT_THAT(refusal("h\x05."), HasSubstr("refers to value 5"));
  EXPECT_THAT(refusal("0."), HasSubstr("more from the stack"));
  EXPECT_THAT(refusal("(K\x05R."), HasSubstr("more from the stack"));
  EXPECT_THAT(refusal("u."), HasSubstr("mark"));
  EXPECT_THAT(refusal("K\x05N."), HasSubstr("more or less than one value"));
  EXPECT_THAT(refusal("\x80\x09N."), HasSubstr("protocol 9"));
  EXPECT_THAT(refusal("NNa."), HasSubstr("no list"));
  EXPECT_THAT(refusal("}(Nu."), HasSubstr("no value"));
}

TEST(Pickle, TensorsStayInsideTheirStorage) {
  const std::string storage = storage_of(6);
  const std::string strides = "K\x03K\x01\x86";
  EXPECT_EQ(parse(tensor_of(storage, "K\x02K\x03\x86" + strides) + ".").pickle.tensors().size(),
            1U);
  EXPECT_THAT(refusal(tensor_of(storage, "K\x03K\x03\x86" + strides) + "."),
              HasSubstr("shape [3, 3] does not fit its storage of 6 elements"));
  // 2^31 x 2^31 x 2^31 of one element: nothing overflows, nothing is allocated.
  const std::string huge = "J\xff\xff\xff\x7f";
  const std::string zeros = "K\x00K\x00K\x00\x87"s;
  EXPECT_THAT(refusal(tensor_of(storage, huge + huge + huge + "\x87" + zeros) + "."),
              HasSubstr("does not fit its storage"));
  EXPECT_THAT(refusal(tensor_of(storage, "J\xff\xff\xff\xff\x85K\x01\x85") + "."),
              HasSubstr("no counts"));
  EXPECT_THAT(refusal(tensor_of(storage, "K\x02\x85" + strides) + "."), HasSubstr("strides"));
  EXPECT_THAT(refusal(tensor_of("N", "K\x02\x85K\x01\x85") + "."), HasSubstr("storage"));
}

TEST(TorchFile, AStorageThatIsNotThereIsNamed) {
  TemporaryFolder folder;
  const TorchFile file(folder.write(
      "a.pt", stream_of(tensor_of(storage_of(INT32_MAX), "J\xff\xff\xff\x7f\x85K\x01\x85") + ".")));
  EXPECT_THAT(error_of<UsageError>([&] { file.tensor(file.pickle().tensors().front()); }),
              HasSubstr("its storage '0' is not in the file"));
}

TEST(TorchFile, ZipAndStreamHoldWhatTheScriptPutThere) {
  for (const char* layout : {"core-llama", "v1-stream"}) {
    const TorchFile file(golden_file(layout));
    const auto& root = file.pickle().root();
    EXPECT_EQ(file.pickle().find(root, "iteration")->integer, 7);
    const auto* args = file.pickle().find(root, "args");
    EXPECT_EQ(file.pickle().find(*args, "tokenizer_type")->text, "NullTokenizer");
    EXPECT_EQ(file.pickle().find(*args, "attn_mask_type")->kind, Kind::kObject);
    const auto* generator = file.pickle().find(root, "torch_rng_state");
    const auto state = file.tensor(file.pickle().tensor(*generator));
    EXPECT_TRUE(at::equal(state, at::arange(16, at::kByte))) << layout;
  }
}

TEST(TorchFile, DamageOfTheContainerIsNamed) {
  TemporaryFolder folder;
  const std::string whole = bytes_of("core-llama");
  const auto refused = [&](const std::string& bytes) {
    return error_of<UsageError>([&] {
      const TorchFile file(folder.write("a.pt", bytes));
      for (const auto& tensor : file.pickle().tensors()) file.tensor(tensor);
    });
  };
  EXPECT_THAT(refused(whole.substr(0, whole.size() / 2)), AllOf(HasSubstr("a.pt: truncated")));
  EXPECT_THAT(refused(""), HasSubstr("is empty"));
  EXPECT_THAT(refused("<html>"), HasSubstr("not a file that torch.save wrote"));
  std::string changed = whole;
  changed[whole.find("/data/0") + 1000] ^= 1;  // in some storage
  EXPECT_THAT(refused(changed), HasSubstr("damaged: the checksum of entry"));
  changed = whole;
  const size_t listed = whole.find("PK\x01\x02");
  changed[listed + 10] = 8;  // the method of the first entry
  EXPECT_THAT(refused(changed), AllOf(HasSubstr("data.pkl' is compressed (method 8)")));
  changed = whole;
  changed[listed + 8] |= 1;
  EXPECT_THAT(refused(changed), HasSubstr("encrypted"));
  const std::string stream = bytes_of("v1-stream");
  EXPECT_THAT(refused(stream.substr(0, stream.size() - 5)), HasSubstr("truncated: it ends in"));
}

/// Every prefix, and every file with one byte changed: refused or read, never worse.
TEST(TorchFile, NoPrefixAndNoChangedByteCrashes) {
  TemporaryFolder folder;
  for (const char* layout : {"core-pipeline", "version2-bf16-stream"}) {
    const std::string whole = bytes_of(layout);
    size_t num_refused = 0;
    const auto try_bytes = [&](const std::string& bytes) {
      const std::string path = folder.write("a.pt", bytes);
      try {
        const TorchFile file(path);
        for (const auto& tensor : file.pickle().tensors()) file.tensor(tensor).sum();
      } catch (const UsageError&) {
        ++num_refused;
      }
    };
    for (size_t size = 0; size < whole.size(); size += 61) try_bytes(whole.substr(0, size));
    EXPECT_GE(num_refused, whole.size() / 61);
    for (size_t place = 0; place < whole.size(); place += 17) {
      std::string changed = whole;
      changed[place] = static_cast<char>(changed[place] ^ (1 << place % 8));
      try_bytes(changed);
    }
  }
}

}  // namespace
}  // namespace megalith
