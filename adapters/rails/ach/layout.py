"""Where each field of a Nacha record is: positions as the rules print them, counted from 1, both ends included.

Reader and writer share these tables, so that neither can know a position the other does not.
Source: Nacha Operating Rules, Appendix Three (ACH Record Format Specifications).
"""

RECORD_LENGTH = 94
BLOCKING_FACTOR = 10
PADDING = "9" * RECORD_LENGTH

Layout = dict[str, tuple[int, int]]
"""Field name to first and last position."""

FILE_HEADER: Layout = {
    "priority": (2, 3),
    "destination": (4, 13),
    "origin": (14, 23),
    "created_on": (24, 29),
    "created_at": (30, 33),
    "modifier": (34, 34),
    "record_size": (35, 37),
    "blocking_factor": (38, 39),
    "format": (40, 40),
    "destination_name": (41, 63),
    "origin_name": (64, 86),
    "reference": (87, 94),
}
BATCH_HEADER: Layout = {
    "service_class": (2, 4),
    "company_name": (5, 20),
    "company_data": (21, 40),
    "company_id": (41, 50),
    "entry_class": (51, 53),
    "description": (54, 63),
    "descriptive_date": (64, 69),
    "effective_on": (70, 75),
    "settlement_day": (76, 78),
    "originator_status": (79, 79),
    "odfi": (80, 87),
    "batch_number": (88, 94),
}
IAT_BATCH_HEADER: Layout = {
    "service_class": (2, 4),
    "iat_indicator": (5, 20),
    "exchange": (21, 22),
    "exchange_reference_kind": (23, 23),
    "exchange_reference": (24, 38),
    "country": (39, 40),
    "company_id": (41, 50),
    "entry_class": (51, 53),
    "description": (54, 63),
    "currency_from": (64, 66),
    "currency_to": (67, 69),
    "effective_on": (70, 75),
    "settlement_day": (76, 78),
    "originator_status": (79, 79),
    "odfi": (80, 87),
    "batch_number": (88, 94),
}
ENTRY: Layout = {
    "transaction_code": (2, 3),
    "rdfi": (4, 11),
    "check_digit": (12, 12),
    "account": (13, 29),
    "amount": (30, 39),
    "identification": (40, 54),
    "name": (55, 76),
    "discretionary": (77, 78),
    "addenda_indicator": (79, 79),
    "trace": (80, 94),
}
COUNTED_ENTRY: Layout = ENTRY | {"addenda_count": (55, 58), "name": (59, 74)}
"""CTX, TRX and ATX: the name gives up its first places to the number of addenda."""
SHARED_NETWORK_ENTRY: Layout = ENTRY | {
    "card_expires": (40, 43),
    "document": (44, 54),
    "card_account": (55, 76),
    "card_kind": (77, 78),
}
IAT_ENTRY: Layout = {
    "transaction_code": (2, 3),
    "rdfi": (4, 11),
    "check_digit": (12, 12),
    "addenda_count": (13, 16),
    "amount": (30, 39),
    "account": (40, 74),
    "ofac_gateway": (77, 77),
    "ofac_second": (78, 78),
    "addenda_indicator": (79, 79),
    "trace": (80, 94),
}
ADV_ENTRY: Layout = {
    "transaction_code": (2, 3),
    "rdfi": (4, 11),
    "check_digit": (12, 12),
    "account": (13, 27),
    "amount": (28, 39),
    "advice": (40, 48),
    "file": (49, 53),
    "operator_data": (54, 54),
    "name": (55, 76),
    "discretionary": (77, 78),
    "addenda_indicator": (79, 79),
    "operator": (80, 87),
    "julian_day": (88, 90),
    "sequence": (91, 94),
}
BATCH_CONTROL: Layout = {
    "service_class": (2, 4),
    "entry_addenda_count": (5, 10),
    "entry_hash": (11, 20),
    "debits": (21, 32),
    "credits": (33, 44),
    "company_id": (45, 54),
    "authentication": (55, 73),
    "odfi": (80, 87),
    "batch_number": (88, 94),
}
ADV_BATCH_CONTROL: Layout = {
    "service_class": (2, 4),
    "entry_addenda_count": (5, 10),
    "entry_hash": (11, 20),
    "debits": (21, 40),
    "credits": (41, 60),
    "operator_data": (61, 79),
    "odfi": (80, 87),
    "batch_number": (88, 94),
}
FILE_CONTROL: Layout = {
    "batch_count": (2, 7),
    "block_count": (8, 13),
    "entry_addenda_count": (14, 21),
    "entry_hash": (22, 31),
    "debits": (32, 43),
    "credits": (44, 55),
}
ADV_FILE_CONTROL: Layout = FILE_CONTROL | {"debits": (32, 51), "credits": (52, 71)}

_IAT_END = {"entry_sequence": (88, 94)}
ADDENDA: dict[str, Layout] = {
    "02": {
        "type": (2, 3),
        "reference_1": (4, 10),
        "reference_2": (11, 13),
        "terminal": (14, 19),
        "serial": (20, 25),
        "date": (26, 29),
        "authorization": (30, 35),
        "location": (36, 62),
        "city": (63, 77),
        "state": (78, 79),
        "trace": (80, 94),
    },
    "05": {"type": (2, 3), "information": (4, 83), "sequence": (84, 87), "entry_sequence": (88, 94)},
    "10": {
        "type": (2, 3),
        "transaction_type": (4, 6),
        "foreign_amount": (7, 24),
        "foreign_trace": (25, 46),
        "name": (47, 81),
        **_IAT_END,
    },
    "11": {"type": (2, 3), "name": (4, 38), "street": (39, 73), **_IAT_END},
    "12": {"type": (2, 3), "city": (4, 38), "country": (39, 73), **_IAT_END},
    "13": {"type": (2, 3), "name": (4, 38), "qualifier": (39, 40), "bank": (41, 74), "country": (75, 77), **_IAT_END},
    "14": {"type": (2, 3), "name": (4, 38), "qualifier": (39, 40), "bank": (41, 74), "country": (75, 77), **_IAT_END},
    "15": {"type": (2, 3), "receiver": (4, 18), "street": (19, 53), **_IAT_END},
    "16": {"type": (2, 3), "city": (4, 38), "country": (39, 73), **_IAT_END},
    "17": {"type": (2, 3), "information": (4, 83), "sequence": (84, 87), **_IAT_END},
    "18": {
        "type": (2, 3),
        "name": (4, 38),
        "qualifier": (39, 40),
        "bank": (41, 74),
        "country": (75, 77),
        "sequence": (84, 87),
        **_IAT_END,
    },
    "98": {
        "type": (2, 3),
        "code": (4, 6),
        "original_trace": (7, 21),
        "original_rdfi": (28, 35),
        "corrected": (36, 64),
        "trace": (80, 94),
    },
    "99": {
        "type": (2, 3),
        "code": (4, 6),
        "original_trace": (7, 21),
        "died_on": (22, 27),
        "original_rdfi": (28, 35),
        "information": (36, 79),
        "trace": (80, 94),
    },
}


def cut(layout: Layout, line: str) -> dict[str, str]:
    """The fields of a record, as they stand there, blanks and all. `line`: at least 94 characters."""
    return {name: line[first - 1 : last] for name, (first, last) in layout.items()}


def width(layout: Layout, name: str) -> int:
    first, last = layout[name]
    return last - first + 1
