"""Programs that measure and print figures: python -m benchmarks.NAME [--json FILE]."""
