#include "megalith/checkpoint/zip_file.hpp"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "megalith/checkpoint/pickle.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEnd = 0x06054b50,
                   kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56,
                 kLocatorBytes = 20;
constexpr size_t kMaxEntries = 1'000'000;

/// Little-endian numbers at checked places.
class Reader {
 public:
  Reader(const MappedFile& file, uint64_t begin, uint64_t size, const char* what) {
    const auto total = static_cast<uint64_t>(file.size());
    if (begin > total || size > total - begin) {
      throw UsageError("{}: truncated or damaged: the zip container's {} would lie beyond its end",
                       file.path(), what);
    }
    bytes_ = file.bytes().subspan(begin, size);
  }
  template <class T>
  T at(size_t place) const {
    T value;
    std::memcpy(&value, bytes_.data() + place, sizeof value);
    return value;
  }
  std::string_view text(size_t place, size_t size) const {
    return {reinterpret_cast<const char*>(bytes_.data()) + place, size};
  }

 private:
  std::span<const std::byte> bytes_;
};

/// Where the list of entries lies and how many there are.
struct Directory {
  uint64_t offset = 0, bytes = 0, count = 0;
};

uint64_t find_end(const MappedFile& file) {
  const auto size = static_cast<uint64_t>(file.size());
  constexpr uint64_t kLongestComment = 65535;
  if (size >= kEndBytes) {
    const uint64_t lowest = size - kEndBytes - std::min(size - kEndBytes, kLongestComment);
    for (uint64_t place = size - kEndBytes + 1; place-- > lowest;) {
      const Reader reader(file, place, kEndBytes, "end");
      if (reader.at<uint32_t>(0) == kEnd && place + kEndBytes + reader.at<uint16_t>(20) == size) {
        return place;
      }
    }
  }
  throw UsageError(
      "{}: truncated: it begins as a zip container and its list of entries, which stands at the "
      "end, is not there; copy the file again",
      file.path());
}

Directory find_directory(const MappedFile& file) {
  const uint64_t end_place = find_end(file);
  const Reader end(file, end_place, kEndBytes, "end");
  Directory directory{end.at<uint32_t>(16), end.at<uint32_t>(12), end.at<uint16_t>(10)};
  const bool is_long =
      end_place >= kLocatorBytes &&
      Reader(file, end_place - kLocatorBytes, kLocatorBytes, "locator").at<uint32_t>(0) ==
          kEnd64Locator;
  if (is_long) {
    const Reader locator(file, end_place - kLocatorBytes, kLocatorBytes, "locator");
    const Reader end64(file, locator.at<uint64_t>(8), kEnd64Bytes, "64-bit end");
    if (end64.at<uint32_t>(0) != kEnd64) {
      throw UsageError("{}: damaged: the zip container's 64-bit end is not where it should be",
                       file.path());
    }
    directory = {end64.at<uint64_t>(48), end64.at<uint64_t>(40), end64.at<uint64_t>(32)};
  }
  return directory;
}

/// One entry of the list.
struct Description {
  std::string name;
  uint16_t flags = 0, method = 0;
  uint32_t crc = 0;
  uint64_t stored_bytes = 0, bytes = 0, place = 0, end = 0;
};

/// Replaces the sizes that say "see the 64-bit field" by that field's.
void read_long_sizes(const Reader& header, size_t begin, size_t end, Description& entry) {
  constexpr uint32_t kSeeField = 0xffffffff;
  for (size_t place = begin; place + 4 <= end;) {
    const auto kind = header.at<uint16_t>(place);
    const size_t size = header.at<uint16_t>(place + 2);
    place += 4;
    if (size > end - place) return;
    if (kind == 1) {
      size_t next = place;
      for (uint64_t* value : {&entry.bytes, &entry.stored_bytes, &entry.place}) {
        if (*value != kSeeField || next + 8 > place + size) continue;
        *value = header.at<uint64_t>(next);
        next += 8;
      }
    }
    place += size;
  }
}

Description read_description(const MappedFile& file, uint64_t place) {
  const Reader fixed(file, place, kCentralBytes, "list of entries");
  if (fixed.at<uint32_t>(0) != kCentralHeader) {
    throw UsageError("{}: damaged: the zip container's list of entries is broken at byte {}",
                     file.path(), place);
  }
  const size_t name_bytes = fixed.at<uint16_t>(28), extra_bytes = fixed.at<uint16_t>(30);
  const size_t size = kCentralBytes + name_bytes + extra_bytes + fixed.at<uint16_t>(32);
  const Reader header(file, place, size, "list of entries");
  Description entry{.name = std::string(header.text(kCentralBytes, name_bytes)),
                    .flags = header.at<uint16_t>(8),
                    .method = header.at<uint16_t>(10),
                    .crc = header.at<uint32_t>(16),
                    .stored_bytes = header.at<uint32_t>(20),
                    .bytes = header.at<uint32_t>(24),
                    .place = header.at<uint32_t>(42),
                    .end = place + size};
  read_long_sizes(header, kCentralBytes + name_bytes, kCentralBytes + name_bytes + extra_bytes,
                  entry);
  return entry;
}

/// Where the bytes of an entry lie.
std::span<const std::byte> locate(const MappedFile& file, const Description& entry) {
  const std::string name = shown(entry.name);
  if ((entry.flags & 1) != 0) {
    throw UsageError("{}: entry '{}' is encrypted; such files are not read", file.path(), name);
  }
  if (entry.method != 0 || entry.stored_bytes != entry.bytes) {
    throw UsageError(
        "{}: entry '{}' is compressed (method {}); PyTorch stores entries as they are: unpack the "
        "container and pack it again without compression (zip -0), or save it anew with torch.save",
        file.path(), name, entry.method);
  }
  const Reader local(file, entry.place, kLocalBytes, "entries");
  if (local.at<uint32_t>(0) != kLocalHeader) {
    throw UsageError("{}: damaged: entry '{}' is not where the zip container's list says",
                     file.path(), name);
  }
  const uint64_t begin =
      entry.place + kLocalBytes + local.at<uint16_t>(26) + local.at<uint16_t>(28);
  const auto size = static_cast<uint64_t>(file.size());
  if (begin > size || entry.bytes > size - begin) {
    throw UsageError("{}: truncated or damaged: entry '{}' would end beyond the file's end",
                     file.path(), name);
  }
  return file.bytes().subspan(begin, entry.bytes);
}

}  // namespace

bool ZipFile::is_zip(const MappedFile& file) {
  return file.size() >= 4 && Reader(file, 0, 4, "start").at<uint32_t>(0) == kLocalHeader;
}

ZipFile::ZipFile(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {
  const Directory directory = find_directory(*file_);
  if (directory.count > kMaxEntries) {
    throw UsageError("{}: the zip container says that it has {} entries; at most {} are read",
                     file_->path(), directory.count, kMaxEntries);
  }
  const Reader whole(*file_, directory.offset, directory.bytes, "list of entries");
  uint64_t place = directory.offset;
  for (uint64_t i = 0; i < directory.count; ++i) {
    const Description entry = read_description(*file_, place);
    place = entry.end;
    const bool is_new =
        entries_.emplace(entry.name, Entry{entry.name, entry.crc, locate(*file_, entry)}).second;
    if (!is_new) {
      throw UsageError("{}: entry '{}' stands twice in the zip container", file_->path(),
                       shown(entry.name));
    }
  }
}

const ZipFile::Entry* ZipFile::find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

void ZipFile::check(const Entry& entry) const {
  auto sum = ::crc32_z(0, nullptr, 0);
  sum = ::crc32_z(sum, reinterpret_cast<const Bytef*>(entry.bytes.data()), entry.bytes.size());
  if (sum != entry.crc) {
    throw UsageError(
        "{}: damaged: the checksum of entry '{}' is {:08x}, written was {:08x}; copy the file "
        "again",
        file_->path(), shown(entry.name), sum, entry.crc);
  }
}

}  // namespace megalith
