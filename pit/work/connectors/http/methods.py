"""`http_request`: HTTP for tasks, with retries, files, and credentials that the task never sees.

The steps of a request stand in `http_request`. Next door: `plan` checks what is asked for,
`address` reads URLs, `credentials` secrets, `body` makes what is sent, `hops`
follows redirects, `client` talks, `answer` makes the result.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any
from urllib.parse import unquote_plus

from pit.errors import ConnectorFailed, MissingExtra, Refused
from pit.work.connectors import backoff
from pit.work.connectors.attended import attended
from pit.work.connectors.http.address import shown
from pit.work.connectors.http.answer import Answer, Unwelcome, glimpse, received
from pit.work.connectors.http.body import Body
from pit.work.connectors.http.client import Broken, Exchange
from pit.work.connectors.http.credentials import Credentials
from pit.work.connectors.http.hops import MOST, REDIRECTS, Hop
from pit.work.connectors.http.plan import HttpRequest, Plan, credentials, plan
from pit.work.connectors.loggers import silence
from pit.work.socket.call import Call, Method


def http_request(call: Call, params: HttpRequest) -> dict[str, Any]:
    """Sends a request until it is answered for good; the result is told in docs/connectors.md.

    Raises Refused for what may not be sent, ConnectorFailed for an answer that is not expected or
    does not come; neither holds the secret.
    """
    began = monotonic()
    _available()
    known = credentials(call, params)
    try:
        answer, attempts = _persevere(call, plan(call, params, known, began))
        with answer:
            if (saved := answer.publish()) is not None:
                call.facts.saved(call.caller, saved)
            told = _hidden_in(answer.told(attempts, monotonic() - began), known)
    except (Refused, ConnectorFailed) as error:
        raise _hidden(error, known) from None
    except RecursionError:
        raise ConnectorFailed(
            "the answer's JSON is nested too deeply", "Save it to a file: save_to"
        ) from None
    return told


def _available() -> None:
    try:
        import urllib3  # noqa: F401
    except ImportError:
        raise MissingExtra("http_request", "http") from None
    silence("urllib3")


# ----------------------------------------------------------------------------------- the attempts


def _persevere(call: Call, plan: Plan) -> tuple[Answer, int]:
    """The answer that counts, and at which attempt it came."""
    for attempt in range(1, plan.attempts + 1):
        try:
            answer = _attempt(call, plan)
            trouble, wish = answer.trouble(plan.doing), answer.retry_after
            if trouble is None:
                return answer, attempt
            again = answer.passing and plan.repeatable
        except Broken as error:
            trouble, wish = error, None
            again = error.retryable and (plan.repeatable or not error.sent)
        pause = max(wish or 0.0, backoff.delay(attempt, plan.base, plan.longest))
        if not again or attempt == plan.attempts or monotonic() + pause >= plan.until:
            raise trouble
        call.log(f"http_request: {_hidden(trouble, plan.credentials)}; again in {pause:.1f} s")
        if not call.wait(pause):
            raise trouble
    raise AssertionError("the last attempt returns or raises")


def _attempt(call: Call, plan: Plan) -> Answer:
    exchange = Exchange(plan.trust, plan.timeout)
    return attended(
        call,
        lambda: _travel(exchange, plan, call.reveals),
        stop=exchange.stop,
        drop=Answer.discard,
        until=plan.until,
        doing=plan.doing,
    )


def _travel(exchange: Exchange, plan: Plan, is_secret: Callable[[str], bool]) -> Answer:
    """One attempt, along its redirects."""
    hop = plan.first
    for redirects in range(MOST + 1):
        where, headers = hop.dressed()
        body = plan.body if hop.with_body else Body()
        with exchange.answer(hop.method, where, headers, body) as response:
            location = response.headers.get("Location")
            if plan.follow and response.status in REDIRECTS and location:
                with suppress(ConnectorFailed):
                    glimpse(response)
                hop = _onward(hop, hop.next(response.status, location), plan.body, is_secret)
                continue
            return received(response, hop, plan.wanted, redirects)
    raise ConnectorFailed(f"{plan.doing}: more than {MOST} redirects")


def _onward(hop: Hop, to: Hop, body: Body, is_secret: Callable[[str], bool]) -> Hop:
    """The hop that a redirect leads to; Refused where it would carry a secret to another host."""
    if not to.is_trusted_by(hop):
        what = ""
        if is_secret(to.address.url) or is_secret(unquote_plus(to.address.url)):
            what = "a secret in the URL"
        elif to.with_body and body.holds(is_secret):
            what = "a secret in the body of the request"
        if what:
            here, there = shown(hop.address.origin), shown(to.address.origin)
            raise Refused(
                f"{here} redirects to {there} with {what}",
                "Send it to that address directly if it may know the secret, "
                "or set follow_redirects to false",
            )
    return to


# --------------------------------------------------------------------------------------- secrecy


def _hidden(
    error: Refused | ConnectorFailed, known: Credentials | None
) -> Refused | ConnectorFailed:
    """The error without the secret, should the server have sent it back."""
    if known is None:
        return error
    if isinstance(error, Unwelcome):
        # Hidden before it is cut: half a secret would not be found.
        sentence, excerpt = known.hide(error.sentence), known.hide(error.excerpt)
        return Unwelcome(sentence, excerpt, passing=error.retryable)
    sentence, hint = known.hide(str(error)), known.hide(error.hint)
    if isinstance(error, ConnectorFailed):
        return ConnectorFailed(sentence, hint, retryable=error.retryable)
    return Refused(sentence, hint)


def _hidden_in(told: dict[str, Any], known: Credentials | None) -> dict[str, Any]:
    """A result without the secret."""
    return told if known is None else {n: _deep(v, known) for n, v in told.items()}


def _deep(value: Any, known: Credentials) -> Any:
    """A part of a result without the secret, in its names and values, at any depth."""
    if isinstance(value, str):
        return known.hide(value)
    if isinstance(value, dict):
        return {known.hide(name): _deep(each, known) for name, each in value.items()}
    if isinstance(value, list):
        return [_deep(each, known) for each in value]
    return value


METHODS = {
    "http_request": Method(params=HttpRequest, serve=http_request, doc="Send an HTTP request.")
}
