"""HTTP for tasks: the method `http_request`."""
