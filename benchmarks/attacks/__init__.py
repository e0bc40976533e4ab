"""Attacks on files, folders and matrices, one file for each kind; ``attack.py`` beside this folder runs them."""
