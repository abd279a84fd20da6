# Debian packages only; scripts/install-dependencies lists them.
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)                                  # SHA-256 of columns; cpp-httplib is built with it
find_package(PkgConfig REQUIRED)
pkg_check_modules(PQ REQUIRED IMPORTED_TARGET libpq)            # the replication stream
pkg_check_modules(PQXX REQUIRED IMPORTED_TARGET libpqxx)        # ordinary SQL
pkg_check_modules(NATS REQUIRED IMPORTED_TARGET libnats)
pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)
find_package(spdlog REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp REQUIRED)
