"""The figures that papers and the thesis print."""
