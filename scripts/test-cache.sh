# Sourced: TEST_CACHE is the folder, outside the checkout, for what the tests need and what takes long to get.
TEST_CACHE=${VARVE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/varve-test}
