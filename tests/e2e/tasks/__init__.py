"""What everyday work takes in the viewer, counted: `make tasks`; the page is docs/tasks.md."""
