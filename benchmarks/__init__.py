"""What docs/benchmarks.md, the README and the notes quote; never part of the test run."""
