"""The HTTP API: access control, limits, jobs, schemas, and the routes in a file per noun.

It works through `search.Engine` alone.
"""
