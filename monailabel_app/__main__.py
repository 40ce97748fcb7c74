"""`python -m monailabel_app`: the command line."""

from monailabel_app.cli import main

if __name__ == "__main__":
    main()
