// Whether something can be written at a path, asked before hours of work that end in writing it.
//
// Permission bits do not tell (root, read-only mounts, /proc), so a folder with a unique name is
// made beside the place and removed at once. Nothing else is left or changed.
#pragma once

#include <optional>
#include <string>

namespace megalith {

/// What stands in the way of files in the folder `path`, which may have to be made first; nothing
/// when they can be written.
std::optional<std::string> why_no_folder(const std::string& path);

/// What stands in the way of writing the file `path`; its folder must be there.
std::optional<std::string> why_no_file(const std::string& path);

}  // namespace megalith
