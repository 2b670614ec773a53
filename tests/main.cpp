#define CATCH_CONFIG_RUNNER  // Catch2 2: its implementation goes into this unit
#include "tests/catch.h"

int main(int argc, char* argv[]) { return Catch::Session().run(argc, argv); }
