"""Network families, one a file, each a `Generator` and a `Discriminator`."""
