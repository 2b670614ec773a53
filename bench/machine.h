#pragma once
#include <cstddef>
#include <string>

// What the machine can do at most, measured, with the threads in use now.

namespace stipple::bench {

double peak_flops();        // f32 multiply-adds from registers, two FLOP each, a second
double stream_bandwidth();  // bytes a second of a = b + s c over arrays larger than any cache (McCalpin's triad)

size_t peak_resident_bytes();      // of this process so far
std::string describe_processor();  // "AMD EPYC, 2 threads, v4"

}  // namespace stipple::bench
