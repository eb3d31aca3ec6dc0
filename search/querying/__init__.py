"""From a query to hits: its terms, the steps of a search, and the view of single pictures."""
