"""From folders to the catalog: scan, diff, extract, commit. Also uploads, export, and the check."""
