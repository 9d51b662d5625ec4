# The commands of the README, for those who have `just`.

# Formatting, lints and all tests of the fast tier.
test:
    bash .ci/test

# The long tier of the reliability tests; prints its figures.
deep:
    bash .ci/deep

# Advisories, licences, bans and sources by cargo-deny (`cargo install cargo-deny --locked`); needs the network.
deny:
    cargo deny check
