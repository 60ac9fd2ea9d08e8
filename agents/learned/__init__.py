"""Policies that were trained, as agents."""
