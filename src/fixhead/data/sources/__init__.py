"""One file per format: each finds its files, checks them, and hands over images and labels."""
