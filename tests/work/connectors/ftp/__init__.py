"""Tests of the methods `ftp_*` against servers on loopback."""
