"""Today's exchange rates from a web service, with a token that this script never sees."""

from pit.sdk import http_request

answer = http_request("/rates", query={"base": "EUR"}, secret="rates_api", save_to="rates.json")
print(f"{answer['size']} bytes of rates, at attempt {answer['attempts']}")
