"""Sequences that papers on recurrent nets learn, one kind a module."""
