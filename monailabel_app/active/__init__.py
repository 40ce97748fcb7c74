"""Active learning in the server: samples, scores in the background, and rankings."""
