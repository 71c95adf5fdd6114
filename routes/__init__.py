"""The HTTP door: parse → call the Librarian → JSON."""
