"""Side-by-side measurements against other implementations; see docs/benchmarks.md."""
