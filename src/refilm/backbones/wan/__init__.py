"""Wan 2.1 (Wan Team 2025, arXiv:2503.20314)."""
