#pragma once
#include <filesystem>
#include <functional>
#include <string>

namespace stipple {

// Unpacks the files of a tar archive (POSIX ustar), in gzip or plain, below a folder that exists. Errors: a wrong
// checksum, an archive that is cut off, links and devices, names that lead out of the folder. `cancelled` is asked
// before every file.
void unpack_tar(const std::string& archive, const std::filesystem::path& folder,
                const std::function<bool()>& cancelled = {});

}  // namespace stipple
