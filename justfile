# The commands of the README, for those who have `just`.

# Formatting, lints and all tests of the fast tier.
test:
    bash .ci/test

# The long tier of the reliability tests; prints its figures.
deep:
    bash .ci/deep
