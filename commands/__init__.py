"""The commands of the command line: each reads its options, calls the layers, prints."""
