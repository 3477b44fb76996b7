"""One module a case, each with ``rows(scale) -> Iterator[Row]``; ``benchmarks/run.py`` finds them by their files."""
