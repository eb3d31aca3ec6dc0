"""Generated pictures: variants of a query, their acceptance test, and augmented training sets."""
