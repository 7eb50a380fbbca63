"""Decides what acts, when, and whether. The rooms are described in the README."""
