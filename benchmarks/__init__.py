"""Measurements: every figure of this project that is claimed is a ratio to a peer, taken in the same run.

Run them with `make bench`, or `python -m benchmarks [--only NAME] [--repeats N]`. A bench is one file
`bench_<name>.py` with a function `bench`: a context manager that sets up, warms up and yields a `Bench`.
"""
