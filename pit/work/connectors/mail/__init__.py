"""Mail: the method `send_mail`."""
