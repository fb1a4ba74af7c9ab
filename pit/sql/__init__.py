"""Databases: URL, text and path in; rows, files and statements out."""
