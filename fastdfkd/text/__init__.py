"""Text from elsewhere (values, names, errors), made safe for terminals, pages and files."""
