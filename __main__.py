"""``python -m model_librarian``, and the command ``librarian``."""


def main() -> int:
    """Run one command; Ctrl+C ends it quietly also while it is still being loaded."""
    try:
        from .cli import main as run
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    raise SystemExit(main())
