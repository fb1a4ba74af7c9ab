"""Tests of `pit/fs`."""
