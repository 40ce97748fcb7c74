"""Image files, read and written: one table of file types, and a module for each reader."""
