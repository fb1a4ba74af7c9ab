"""Drawings of a DAG: its layout in layers, and pictures for pages and other programs."""
