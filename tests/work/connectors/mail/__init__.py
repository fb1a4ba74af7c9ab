"""Tests of `send_mail` against a mail server on loopback."""
