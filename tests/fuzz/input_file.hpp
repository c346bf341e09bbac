// Puts the bytes of a fuzzer where a reader looks for them: in a file of a folder in memory, one
// folder a process, removed at its end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

#include "support/temporary_folder.hpp"

namespace megalith::testing {

/// Writes the file `name` anew and returns its path.
inline std::string input_file(const std::string& name, std::span<const uint8_t> bytes) {
  static const TemporaryFolder folder;
  const std::string path = folder.path(name);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return path;
}

}  // namespace megalith::testing
