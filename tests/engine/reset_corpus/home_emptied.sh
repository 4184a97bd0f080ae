# everything in the home is deleted, but the work
# symptom: environment
set -e
find ~ -mindepth 1 -maxdepth 1 ! -name work -exec rm -rf {} +
