#include "megalith/data/numpy_file.hpp"

#include <gtest/gtest.h>

#include "megalith/core/error.hpp"
#include "tests/data/golden_json.hpp"

namespace megalith {
namespace {

using testing::MemoryFolder;

void write_bytes(const std::string& path, const std::string& bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

TEST(NumpyFile, HeaderIsWhatNumpyWrites) {
  // numpy.save of numpy.zeros(5, "int32"): 10 bytes, text, spaces to 128, line end.
  const std::string header = numpy_header(NumpyType::kInt32, {5});
  ASSERT_EQ(header.size(), 128U);
  EXPECT_EQ(header.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_EQ(header.substr(10, 57), "{'descr': '<i4', 'fortran_order': False, 'shape': (5,), }");
  EXPECT_EQ(header.substr(67, 60), std::string(60, ' '));
  EXPECT_EQ(header.back(), '\n');
  const std::string matrix = numpy_header(NumpyType::kUint32, {123456, 2});
  EXPECT_EQ(matrix.size(), 128U);
  EXPECT_NE(matrix.find("{'descr': '<u4', 'fortran_order': False, 'shape': (123456, 2), }"),
            std::string::npos);
}

TEST(NumpyFile, ReadsBackEveryType) {
  const MemoryFolder folder;
  const auto round_trip = [&](const IntegerArray& array) {
    const std::string path = folder.path("array.npy");
    write_numpy(path, array);
    const IntegerArray back = read_numpy(path);
    EXPECT_EQ(back.type(), array.type());
    EXPECT_EQ(back.shape(), array.shape());
    ASSERT_EQ(back.size(), array.size());
    for (int64_t i = 0; i < array.size(); ++i) EXPECT_EQ(back[i], array[i]);
  };
  round_trip(IntegerArray(std::vector<int16_t>{-32768, 0, 32767}));
  round_trip(IntegerArray(std::vector<int32_t>{INT32_MIN, -1, 0, INT32_MAX}, 2));
  round_trip(IntegerArray(std::vector<int64_t>{INT64_MIN, INT64_MAX}));
  round_trip(IntegerArray(std::vector<uint32_t>{0, UINT32_MAX}));
  round_trip(IntegerArray(std::vector<uint32_t>{}));
  round_trip(IntegerArray(std::vector<uint64_t>{0, 1, 2, INT64_MAX, 4, 5}, 3));
}

TEST(NumpyFile, RefusesEverythingElse) {
  const MemoryFolder folder;
  const std::string path = folder.path("array.npy");
  write_numpy(path, IntegerArray(std::vector<int32_t>{1, 2, 3}));
  const std::string good = read_text_file(path);
  const auto refuses = [&](std::string bytes) {
    write_bytes(path, bytes);
    EXPECT_THROW(read_numpy(path), UsageError);
  };
  for (const size_t size : {0UL, 5UL, 9UL, 60UL, 127UL, 128UL, good.size() - 1}) {
    refuses(good.substr(0, size));
  }
  refuses(good + "x");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string bytes = good;
    return bytes.replace(bytes.find(from), from.size(), to);
  };
  refuses(with("NUMPY", "NUMPX"));
  refuses(with("<i4", ">i4"));
  refuses(with("<i4", "<f4"));
  refuses(with("<i4", "<u2"));
  refuses(with("False", "True "));
  refuses(with("(3,)", "(4,)"));
  refuses(with("(3,), }       ", "(3, 1, 1), }  "));
  EXPECT_THROW(read_numpy(folder.path("absent.npy")), UsageError);
}

}  // namespace
}  // namespace megalith
