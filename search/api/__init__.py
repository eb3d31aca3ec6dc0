"""The HTTP API, one app for all routes: access, limits, jobs, schemas. It uses `search.Engine` and
knows no other part of the package.
"""
