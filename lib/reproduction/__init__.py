"""Published studies run again: their printed figures, our runs, and the page that compares them."""
