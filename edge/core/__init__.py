"""Pure core: rules and arithmetic as functions of values; no I/O, no clock, no third party."""
