"""Numbers that are written into recordings: the warnings that are told from here, and facts that others are made of."""

# trace::warning::Code
BLOCKING_CALL = 3
NEVER_AWAITED = 5
NEVER_RETRIEVED = 6
QUEUE_GROWS = 16
QUEUE_NOT_DRAINED = 17
CANCELLATION_SWALLOWED = 19
GENERATOR_NOT_CLOSED = 20
EXCEPTION_LOST = 21
EXCEPTIONS_IGNORED = 22
OUTLIVES_OWNER = 23
EXECUTOR_STARVED = 24

# trace::warning::fact, of a cancellation
TIMED_OUT, BARE_FUTURE, IS_AWAITED, AT_THE_END, INTERRUPTED = 1, 2, 4, 8, 16
