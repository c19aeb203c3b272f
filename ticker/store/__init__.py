"""All that is kept in Redis or sent through it."""
