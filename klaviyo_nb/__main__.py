"""`python -m klaviyo_nb`: the same as the `klaviyo-nb` command."""

from klaviyo_nb.cli import main

if __name__ == "__main__":
    main()
