"""Active learning played through on labelled data: which strategy needs fewer labels."""
