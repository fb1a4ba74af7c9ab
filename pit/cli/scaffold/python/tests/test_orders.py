"""Run with: uv run --with pytest pytest"""

from package_name import orders


def test_an_order_without_amount_is_left_out() -> None:
    rows = [
        {"order_id": "1", "region": "north", "amount": "2.50"},
        {"order_id": "2", "region": "north", "amount": ""},
    ]
    assert [row["order_id"] for row in orders.clean(rows)] == ["1"]


def test_totals_begin_with_the_largest() -> None:
    rows = [
        {"region": "North", "amount": "1"},
        {"region": "South", "amount": "2.5"},
        {"region": "North", "amount": "1"},
    ]
    assert orders.totals(rows) == [
        {"region": "South", "orders": "1", "amount": "2.50"},
        {"region": "North", "orders": "2", "amount": "2.00"},
    ]
