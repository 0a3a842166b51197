"""Why the store refuses a request."""

from refilm.errors import UserError


class NotFoundError(UserError):
    """There is no such job, file or character, or it was deleted."""


class QueueFullError(UserError):
    """The queue has its greatest length; a later request may succeed."""


class IdempotencyConflictError(UserError):
    """An idempotency key was used before, for another request."""
