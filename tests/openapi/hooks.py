"""What schemathesis cannot read from the OpenAPI document: formats, and which refusals depend on the state.

`SEATLOCK_KEY` is the API key. The service has a schedule 1 whose seats are A-1-1 to A-20-30, and a long hold,
`SEATLOCK_HOLD`, of another schedule whose seats are A-1-1 to A-1-30.
"""

import datetime
import json
import os
import re
import zlib

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import RejectedPositiveData

# The rule for names (docs/errors.md) is more than a pattern can state.
LETTERS = "abzABZ019äöüßéñçłøя立見-_.~@/\"'#😀"
names = st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=1, max_size=4).map(" ".join)
schemathesis.openapi.format("name", names)
schemathesis.openapi.format("folded-name", names)

# The years 1970 and 9999 are left out, since an offset may move a time out of the range.
times = st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(9998, 12, 31))
offsets = st.sampled_from(["Z", "+01:00", "-11:30"])
schemathesis.openapi.format(
    "date-time", st.tuples(times, offsets).map(lambda pair: pair[0].isoformat() + pair[1])
)

IF_MATCH = re.compile(r'\*|"[0-9]{1,9}"')

# Codes in `errors` of requests that fit the schema: whether they are refused depends on the state, or on several
# fields together.
BY_STATE = {
    "any": {"other_history"},
    "create_schedule": {
        "out_of_range",  # sales_close_at before sales_open_at
        "section_repeated",
        "names_alike",
        "text_too_long",  # a label made of the name and the numbers
        "too_many_seats",  # of all sections together
        "gap_invalid",  # a gap behind the last seat of the rows
        "linked_alone",  # linked rows of one seat
    },
    "list_holds": {"missing"},  # only a customer's token may leave out customer_id
    "list_bookings": {"missing"},  # customer_id and schedule_id
    # Only a page with a publishable key may leave out customer_id.
    "create_hold": {"unknown_seat", "too_many_seats", "sales_closed", "missing"},
    "change_hold": {
        "empty",  # neither add nor remove has a seat
        "duplicate_seat",  # the same seat in add and in remove
        "unknown_seat",
        "not_in_hold",
        "more_problems",
        "too_many_seats",
        "sales_closed",
    },
    "create_booking": {"unknown_seat", "too_many_seats", "sales_closed"},
    "cancel_booking": {"unknown_seat", "not_in_booking"},
    "create_block": {"unknown_seat"},
    "create_api_key": {
        "name_taken",
        "too_many_keys",
        "in_the_past",  # expires_at
        "invalid_origin",  # a port above 65535, a wrong IPv6 address
        "more_problems",
    },
    "rotate_api_key": {"two_secrets"},  # and no `end`
    # The rules of a plan: docs/api.md and docs/errors.md.
    "put_seat_plan": {
        "conflicting",  # id_from with CSV
        "price_missing",
        "price_without_category",
        "no_seats",
        "label_missing",
        "label_repeated",
        "category_unknown",
        "position_invalid",
        "gap_invalid",
        "linked_alone",
        "linked_across_sections",
        "too_many_rows",
        "too_many_seats",
        "too_many_seats_in_row",
        "more_problems",
        "names_alike",
        "text_empty",
        "text_too_long",
        "control_character",
        "invisible_character",
        "undefined_character",
        "white_space",
        "not_nfc",
    },
}


def operation_id(case):
    return case.operation.definition.raw.get("operationId")


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Accepts a refusal that no schema could state, if its code is listed."""
    if isinstance(failure, AcceptedNegativeData):
        # Unknown headers are ignored (RFC 9110 §5.1).
        return not any("schemathesis-unknown" in name.lower() for name in case.headers or {})
    if not isinstance(failure, RejectedPositiveData):
        return True
    problem = response.json()
    if problem["code"] in ("idempotency_key_reused", "hold_changed"):
        return False
    operation = operation_id(case)
    if operation == "change_hold" and not IF_MATCH.fullmatch(case.headers.get("If-Match", "*")):
        return False  # schemathesis has its own values of this header, which may contradict the schema
    if operation == "put_seat_plan":
        prices = case.query.get("price")
        if problem["errors"][0]["pointer"] == "price" and isinstance(prices, list) and len(prices) > 1:
            return False  # two prices for the same seats
        if case.media_type == "text/csv" and problem["code"] == "validation_failed":
            return False  # a text of another form
    expected = BY_STATE["any"] | BY_STATE.get(operation, set())
    return not {error["code"] for error in problem.get("errors", [{"code": None}])} <= expected


# The ids that responses have carried, and the operations that have succeeded.
ids = {"hold": [], "booking": [], "block": [], "booking_request": [], "api_key": []}
succeeded = set()

OF_ID = {
    "read_hold": "hold",
    "extend_hold": "hold",
    "change_hold": "hold",
    "release_hold": "hold",
    "read_booking": "booking",
    "cancel_booking": "booking",
    "lift_block": "block",
    "read_booking_request": "booking_request",
    "stream_booking_request": "booking_request",
    "read_api_key": "api_key",
    "revoke_api_key": "api_key",
    "rotate_api_key": "api_key",
}


@schemathesis.hook
def after_call(context, case, response):
    """Records what a success has created, and in `succeeded.txt` each operation that has succeeded."""
    operation = operation_id(case)
    if response.status_code >= 400:
        return
    if operation not in succeeded:
        succeeded.add(operation)
        with open("succeeded.txt", "a", encoding="utf-8") as listed:
            listed.write(operation + "\n")
    if operation == "revoke_api_key" and case.path_parameters["id"] in ids["api_key"]:
        ids["api_key"].remove(case.path_parameters["id"])
    created = operation.removeprefix("create_")
    if response.status_code == 202:
        created = "booking_request"
    if created in ids:
        ids[created].append(response.json()["id"])


@schemathesis.hook
def map_case(context, case):
    """Names seats, holds and bookings that exist, so that every operation succeeds at some time."""
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive:
        return case
    operation = operation_id(case)
    parts = [case.path_parameters, case.query, case.body if isinstance(case.body, dict) else None]
    number = zlib.crc32(json.dumps([operation, parts], sort_keys=True, default=str).encode())
    known = ids.get(OF_ID.get(operation), [])
    if operation in ("change_hold", "extend_hold"):
        known = [os.environ["SEATLOCK_HOLD"]]
    if operation == "rotate_api_key":
        known = known[-1:]
    if operation == "revoke_api_key":
        known = known[:-1]  # the newest one is kept to be rotated
    if known and number % 4:
        known = known[number % len(known)]
        if operation == "lift_block":
            case.path_parameters.update(id=known.split("-")[0], block=known)
        else:
            case.path_parameters["id"] = known
    if not isinstance(case.body, dict):
        return case
    if operation == "create_schedule" and number % 2:
        section = {"name": "A", "rows": 20, "seats_per_row": 30, "price": number % 10_000}
        case.body["seat_plan"] = {"sections": [section]}
        case.body["sales_open_at"] = case.body["sales_close_at"] = None
    if operation == "create_hold" and number % 8:
        case.body.pop("ttl_s", None)
    if operation == "create_api_key" and number % 4:
        case.body["expires_at"] = None
    if operation == "change_hold" and number % 4:
        case.body["add"] = [f"A-1-{number % 30 + 1}"]
        case.body.pop("remove", None)
        case.headers.pop("If-Match", None)
    if operation in ("create_hold", "create_booking", "create_block") and case.body.get("seats"):
        count = min(len(case.body["seats"]), 3)
        seats = [(number + index) % 600 for index in range(count)]
        case.body["seats"] = [f"A-{seat // 30 + 1}-{seat % 30 + 1}" for seat in seats]
        if number % 3 == 0:
            case.headers["Prefer"] = "respond-async"
        if number % 4 and "schedule_id" in case.body:
            case.body["schedule_id"] = 1
    return case
