# A part of the tests, for R CMD check; all of them are in tests/r of the
# project and run by its `make test`.
library(testthat)
library(scRAE)

test_check("scRAE")
