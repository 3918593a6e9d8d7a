"""Make untrusted text (values, names, errors) safe for terminals, pages and files."""
