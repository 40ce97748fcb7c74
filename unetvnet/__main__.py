"""`python -m unetvnet`: the command line."""

from unetvnet import main

if __name__ == "__main__":
    main()
