"""The windows that the pages are looked at in: a desktop and a phone."""

WIDE, PHONE = (1440, 900), (390, 844)
