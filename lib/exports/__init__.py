"""What is taken away from an answer: tables, pictures with outlines, ROIs, and other formats."""
