"""A filter of deliveries is written into a request as the server reads it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest

from aintandem_notify.control.delivery_filters import FILTER_KEYS, filter_from_texts, texts_of_filter
from aintandem_notify.store import DeliveryFilter, DeliveryState

WHOLE: Final = DeliveryFilter(
    "slack.team",
    (DeliveryState.DEAD, DeliveryState.QUEUED),
    datetime(2026, 3, 1, 12, tzinfo=UTC),
    datetime(2026, 3, 2, tzinfo=UTC),
    "p*",
    "t1",
)


@pytest.mark.parametrize("given", [DeliveryFilter(), WHOLE, replace(WHOLE, states=(), until=None)])
def test_a_filter_is_read_as_it_was_written(given: DeliveryFilter) -> None:
    assert filter_from_texts(texts_of_filter(given)) == given


def test_every_key_is_written_and_accepted() -> None:
    assert texts_of_filter(WHOLE).keys() == FILTER_KEYS
